"""Faults at a named step of one request: a worker that obeys orders."""
