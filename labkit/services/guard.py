"""`python -m labkit.services.guard HOME durable|forgetful`: stop what runs there, at end of input.

The process that starts services holds the other end of the pipe. When it closes it, or is gone,
however suddenly, they are stopped.
"""

import asyncio
import signal
import sys
from pathlib import Path

from labkit.services import ownership, stopping
from labkit.services.home import Home


async def _end(home: Home) -> None:
    await stopping.both(home, graceful=home.durable)
    if not home.durable:
        ownership.discard(home)  # as root it may be elsewhere, where it would stay


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    path, how = sys.argv[1:]
    sys.stdin.buffer.read()
    asyncio.run(_end(Home(Path(path), durable=how == "durable")))
