"""The course as a static site: ``make site``."""
