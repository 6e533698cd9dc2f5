"""``python -m server worker``: one process of the server. Settings come from the environment."""

import argparse
import asyncio
import os
import signal
import sys

import structlog

from server import auth, logs
from server.amqp import Worker
from server.application import Application
from server.database import Database
from server.errors import Unavailable
from server.settings import DEVELOPMENT_KEY, Settings
from server.topology import TopologyMismatch

log = structlog.get_logger()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m server", description=__doc__)
    parser.add_argument("role", choices=["worker"], help="what this process serves")
    parser.parse_args()
    settings = Settings.from_env(os.environ)
    logs.configure()
    asyncio.run(worker(settings))


async def worker(settings: Settings) -> None:
    """Serve RabbitMQ until SIGTERM or Ctrl-C, then drain."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    database = Database(settings)
    try:
        await prepare(database, settings, stop)
        await Worker(settings, Application(database)).run(stop)
    except TopologyMismatch as error:
        sys.exit(str(error))
    finally:
        await database.close()


async def prepare(database: Database, settings: Settings, stop: asyncio.Event) -> None:
    """Tables and the configured key are there; waits for a database that is not up yet."""
    if settings.api_key == DEVELOPMENT_KEY:
        log.warning("the API key is the development key of the documentation: set API_KEY")
    while not stop.is_set():
        try:
            await database.create_tables()
            async with database.transaction() as transaction:
                await auth.prepare(transaction, settings.api_key)
            return
        except Unavailable as error:
            log.warning("the database cannot be reached", error=str(error.__cause__), retry_in=1)
            await asyncio.sleep(1)


if __name__ == "__main__":
    main()
