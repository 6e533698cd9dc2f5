"""What client and server agree on. It knows nothing of how either side does its part."""
