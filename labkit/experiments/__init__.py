"""Measurements: taken in turns within one run, and drawn."""
