"""The system under study: a library's books, served over RabbitMQ and kept in PostgreSQL."""
