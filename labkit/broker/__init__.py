"""RabbitMQ as its operator sees it: queues, rates, permissions, a look at messages."""
