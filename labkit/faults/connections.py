"""Connections that are closed from the other end: by the broker's operator, or the database's."""

import asyncio
import time

import asyncpg

from labkit.broker import Broker
from labkit.errors import FaultImpossible

LISTED_WITHIN = 5.0
"""Seconds. The management API lists a connection some moments after it was opened."""

TERMINATE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'library-server'
"""


async def close_amqp(broker: Broker, vhost: str, user: str) -> None:
    """All those of this user of the broker, who is told why. Raises ``FaultImpossible``."""
    deadline = time.monotonic() + LISTED_WITHIN
    while not await broker.close_connections(vhost, user):
        if time.monotonic() > deadline:
            raise FaultImpossible(f"No connection of the user {user!r} is open.")
        await asyncio.sleep(0.1)


async def terminate_backends(database_url: str) -> None:
    """Every process of PostgreSQL that works for the lab's server. Raises ``FaultImpossible``."""
    connection = await asyncpg.connect(database_url)
    try:
        if not await connection.fetch(TERMINATE):
            raise FaultImpossible("The lab's server has no connection to the database.")
    finally:
        await connection.close()
