"""HTTP: the same actions as resources."""
