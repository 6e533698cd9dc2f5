"""The two ways in: RabbitMQ and HTTP."""
