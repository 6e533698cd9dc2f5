"""`python -m labkit.services.guard HOME durable|forgetful`: stop what runs there, at end of input.

The process that starts services holds the other end of the pipe. When it closes it, or is gone,
however suddenly, they are stopped.
"""

import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from labkit.services import ownership, postgresql, rabbitmq
from labkit.services.layout import Home


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    path, how = sys.argv[1:]
    sys.stdin.buffer.read()
    home = Home(Path(path), durable=how == "durable")
    with ThreadPoolExecutor() as pool:
        stops = [
            pool.submit(service.down, home, graceful=home.durable)
            for service in (rabbitmq, postgresql)
        ]
    for stop in stops:
        stop.result()
    if not home.durable:
        ownership.discard(home)  # as root it may be elsewhere, where it would stay


if __name__ == "__main__":
    main()
