"""PostgreSQL: connections, transactions, tables."""
