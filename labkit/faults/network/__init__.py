"""A TCP proxy between two processes, and everything that can go wrong on a line."""
