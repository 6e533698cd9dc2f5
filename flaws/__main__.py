"""``python -m flaws``: a worker like ``python -m server worker``, with something wrong with it."""

import argparse
import asyncio
import os

from flaws.dies_at import dies_at
from flaws.servers import SERVERS
from server import logs, process
from server.database import Database
from server.settings import Settings
from server.steps import Step, nobody


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m flaws", description=__doc__)
    parser.add_argument("--flaw", choices=SERVERS, default="none")
    parser.add_argument("--dies-at", choices=list(Step), type=Step)
    options = parser.parse_args()
    observe = dies_at(options.dies_at) if options.dies_at else nobody

    async def flawed(database: Database, settings: Settings, stop: asyncio.Event) -> None:
        server = SERVERS[options.flaw]
        application = server.application(database, observe)
        await server.worker(settings, application, observe).run(stop)

    logs.configure()
    asyncio.run(process.serve(flawed, Settings.from_env(os.environ)))


if __name__ == "__main__":
    main()
