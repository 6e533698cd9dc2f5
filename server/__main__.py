"""``python -m server worker`` or ``rest``: one process of the server.

Settings come from the environment.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog

from server import auth, logs, rest
from server.amqp import Worker
from server.application import Application
from server.database import Database, SchemaMismatch
from server.errors import Unavailable
from server.idempotency import collect
from server.rate_limit import RateLimit
from server.settings import DEVELOPMENT_KEY, Settings
from server.topology import TopologyMismatch

log = structlog.get_logger()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m server", description=__doc__)
    parser.add_argument("role", choices=ROLES, help="what this process serves")
    role = parser.parse_args().role
    # REST speaks to no broker, so it is not asked for one.
    environ = {**os.environ, "AMQP_URL": "amqp://unused"} if role == "rest" else os.environ
    settings = Settings.from_env(environ)
    logs.configure()
    asyncio.run(serve(role, settings))


async def serve(role: str, settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C, then drain."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    database = Database(settings)
    try:
        await prepare(database, settings, stop)
        limit = RateLimit(settings.rate_limit, burst=5 * settings.rate_limit)
        async with collecting(database, settings):
            await ROLES[role](Application(database, limit=limit), database, settings, stop)
    except (TopologyMismatch, SchemaMismatch) as error:
        sys.exit(str(error))
    finally:
        await database.close()


async def worker(
    application: Application, database: Database, settings: Settings, stop: asyncio.Event
) -> None:
    """Serve RabbitMQ."""
    await Worker(settings, application).run(stop)


ROLES = {"worker": worker, "rest": rest.serve}


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


@asynccontextmanager
async def collecting(database: Database, settings: Settings) -> AsyncIterator[None]:
    """Meanwhile, idempotency keys past their retention are forgotten, a few times in it."""

    async def collect_again_and_again() -> None:
        while True:
            with suppress(Unavailable):
                if forgotten := await collect(database, settings.key_retention):
                    log.info("forgotten", idempotency_keys=forgotten)
            await asyncio.sleep(min(settings.key_retention / 4, 3600))

    collector = asyncio.create_task(collect_again_and_again())
    try:
        yield
    finally:
        collector.cancel()
        await asyncio.wait([collector])


if __name__ == "__main__":
    main()
