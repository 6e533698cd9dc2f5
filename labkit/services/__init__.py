"""A private RabbitMQ and a private PostgreSQL: how they are started, found again, broken and ended.

Import from the modules: what is used before anything is installed (`errors`, `inherited`,
`running`, `software`) needs the standard library alone.
"""
