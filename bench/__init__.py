"""What is claimed to be fast, measured: ``make bench``. Ratios within one run, on real services."""
