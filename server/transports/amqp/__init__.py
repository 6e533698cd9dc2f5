"""RabbitMQ: consume, execute, reply, acknowledge; retry and dead-letter what fails."""
