"""``python -m server worker`` or ``rest``: one process of the server.

Settings come from the environment.
"""

import argparse
import asyncio
import os
import sys

import structlog

from server import lifecycle, logging
from server.application.dispatcher import Dispatcher
from server.persistence.database import Database
from server.security.rate_limit import RateLimit
from server.settings import Settings

log = structlog.get_logger()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m server", description=__doc__)
    parser.add_argument("role", choices=ROLES, help="what this process serves")
    role = parser.parse_args().role
    # REST speaks to no broker, so it is not asked for one.
    environ = {**os.environ, "AMQP_URL": "amqp://unused"} if role == "rest" else os.environ
    settings = Settings.from_env(environ)
    if settings.metrics_port is None:
        logging.configure()
        lifecycle.run(ROLES[role], settings)
    else:
        _run_measured(role, settings, settings.metrics_port)


def _run_measured(role: str, settings: Settings, port: int) -> None:
    """With metrics. Exits with a sentence if their port is taken, or their library is not there."""
    try:
        from server.metrics import Metrics
    except ImportError:
        sys.exit("METRICS_PORT is set, and prometheus-client is not installed: install it.")
    metrics = Metrics()
    logging.configure(metrics.count)
    try:
        port = metrics.serve(settings.metrics_host, port)
    except OSError as error:
        sys.exit(f"METRICS_PORT {port} cannot be used ({error}): give another one, or 0 for any.")
    log.info("metrics", url=f"http://{settings.metrics_host}:{port}/metrics")

    async def measured(database: Database, settings: Settings, stop: asyncio.Event) -> None:
        from server.transports.amqp.depths import watching

        if role == "rest":  # it speaks to no broker
            await rest(database, settings, stop)
        else:
            async with watching(settings.amqp_url, metrics.depth):
                await worker(database, settings, stop)

    lifecycle.run(measured, settings)


async def worker(database: Database, settings: Settings, stop: asyncio.Event) -> None:
    """Serve RabbitMQ."""
    from server.transports.amqp.worker import Worker

    await Worker(settings, _dispatcher(database, settings)).run(stop)


async def rest(database: Database, settings: Settings, stop: asyncio.Event) -> None:
    """Serve HTTP. Each role imports its own transport: the other one's would slow its start."""
    from server.transports.http.app import serve

    await serve(_dispatcher(database, settings), database, settings, stop)


def _dispatcher(database: Database, settings: Settings) -> Dispatcher:
    limit = RateLimit(settings.rate_limit, burst=2 * settings.rate_limit)
    # Those that wait for others may fill half of what a worker holds at a time, and no more.
    return Dispatcher(database, limit=limit, room=settings.prefetch // 2)


ROLES = {"worker": worker, "rest": rest}


if __name__ == "__main__":
    main()
