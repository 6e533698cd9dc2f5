"""RabbitMQ as its operator sees it: queues, rates, a look at messages."""
