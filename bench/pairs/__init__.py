"""Faults in pairs: a second one while the system recovers from the first."""
