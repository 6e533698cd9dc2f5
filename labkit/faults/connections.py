"""Connections that are closed from the other end: by the broker's operator, or the database's."""

import asyncio
import time

from labkit.broker.management import Broker
from labkit.database import connect
from labkit.errors import FaultImpossible

LISTED_AFTER = 1.25
"""Of the time between two counts of the broker: so late it lists a connection that was opened."""
LOOKS_AGAIN = 0.1
"""Seconds."""

TERMINATE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'library-server'
"""


async def close_amqp(broker: Broker, vhost: str, user: str) -> None:
    """All those that this user of the broker has now, also the newest; the broker says why.

    Raises ``FaultImpossible`` if they have none.
    """
    began, closed = time.time(), 0
    end = time.monotonic() + LISTED_AFTER * await broker.counts_every()
    while time.monotonic() < end:
        closed += await broker.close_connections(vhost, user, opened_before=began)
        await asyncio.sleep(LOOKS_AGAIN)
    if not closed:
        raise FaultImpossible(f"No connection of the user {user!r} is open.")


async def terminate_backends(database_url: str) -> None:
    """Every process of PostgreSQL that works for the lab's server. Raises ``FaultImpossible``."""
    connection = await connect(database_url)
    try:
        if not await connection.fetch(TERMINATE):
            raise FaultImpossible("The lab's server has no connection to the database.")
    finally:
        await connection.close()
