"""Stopping a broker or a database, as each of them wants it.

Apart from what starts them, because a guard does nothing else, and is to be there at once.
"""

import asyncio
import signal

import psutil

from labkit.services.home import Home
from labkit.services.process import find

RABBITMQ, EPMD, POSTGRESQL = "rabbitmq", "epmd", "postgresql"
"""What their processes are called in their records."""
HELPERS_TIMEOUT = 2.0
"""Seconds. In a container in which no one collects dead processes they stay as zombies."""


async def broker(home: Home, *, graceful: bool = True) -> None:
    """Its nodes, and then the port mapper, to which a stopping node still talks. Not graceful: at
    once, for nodes whose data may go.
    """
    names = [path.stem for path in home.run_dir.glob(f"{RABBITMQ}*.json")]
    await asyncio.gather(*(node(home, name, graceful=graceful) for name in names))
    await node(home, EPMD, graceful=False)


async def node(home: Home, name: str, *, graceful: bool = True) -> None:
    """One of them; the others go on. Its helpers end by themselves, a moment after it."""
    if (process := find(name, home.run_dir)) is not None:
        helpers = process.children()
        await process.stop(signal.SIGTERM, deadline=30 if graceful else 0)
        await asyncio.to_thread(psutil.wait_procs, helpers, HELPERS_TIMEOUT)


async def database(home: Home, *, graceful: bool = True) -> None:
    """Open connections are closed, and either way nothing committed is lost.

    Not graceful spares the checkpoint; the next start then recovers from the log.
    """
    if (process := find(POSTGRESQL, home.run_dir)) is not None:
        await process.stop(signal.SIGINT if graceful else signal.SIGQUIT, deadline=30)


async def both(home: Home, *, graceful: bool = True) -> None:
    await asyncio.gather(broker(home, graceful=graceful), database(home, graceful=graceful))
