"""Clients of the API: over RabbitMQ, over HTTP, and without ``await``."""
