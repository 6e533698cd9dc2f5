"""Requests become replies here, whatever transport they came over."""
