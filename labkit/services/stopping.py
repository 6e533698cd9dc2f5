"""Stopping a broker or a database, as each of them wants it.

Apart from what starts them, because a guard does nothing else, and is to be there at once.
"""

import asyncio
import signal

from labkit.services.home import Home
from labkit.services.process import find

RABBITMQ, EPMD, POSTGRESQL = "rabbitmq", "epmd", "postgresql"
"""What their processes are called in their records."""


async def broker(home: Home, *, graceful: bool = True) -> None:
    """Node and port mapper. Not graceful: at once, for a node whose data may go."""
    for name in (RABBITMQ, EPMD):  # in this order: a stopping node still talks to its epmd
        if (process := find(name, home.run_dir)) is not None:
            deadline = 20 if graceful and name == RABBITMQ else 0
            await process.stop(signal.SIGTERM, deadline)


async def database(home: Home, *, graceful: bool = True) -> None:
    """Open connections are closed, and either way nothing committed is lost.

    Not graceful spares the checkpoint; the next start then recovers from the log.
    """
    if (process := find(POSTGRESQL, home.run_dir)) is not None:
        await process.stop(signal.SIGINT if graceful else signal.SIGQUIT, deadline=30)


async def both(home: Home, *, graceful: bool = True) -> None:
    await asyncio.gather(broker(home, graceful=graceful), database(home, graceful=graceful))
