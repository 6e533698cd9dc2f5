"""``python -m server worker`` or ``rest``: one process of the server.

Settings come from the environment.
"""

import argparse
import asyncio
import os
from functools import partial

from server import lifecycle
from server.application.dispatcher import ROOM, Dispatcher
from server.persistence.database import Database
from server.security.rate_limit import RateLimit
from server.settings import Settings
from server.telemetry import Telemetry


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m server", description=__doc__)
    parser.add_argument("role", choices=ROLES, help="what this process serves")
    role = parser.parse_args().role
    # REST speaks to no broker, so it is not asked for one.
    environ = {**os.environ, "AMQP_URL": "amqp://unused"} if role == "rest" else os.environ
    settings = Settings.from_env(environ)
    with Telemetry(role, settings) as telemetry:
        lifecycle.run(partial(ROLES[role], telemetry), settings)


async def worker(
    telemetry: Telemetry, database: Database, settings: Settings, stop: asyncio.Event
) -> None:
    """Serve RabbitMQ."""
    from server.transports.amqp.worker import Worker

    # Those that wait for others may fill half of what it holds at a time, and no more.
    dispatcher = _dispatcher(database, settings, telemetry, settings.prefetch // 2)
    serving = Worker(settings, dispatcher, telemetry.observe)
    telemetry.look_on_deliveries(serving)
    async with telemetry.watching_queues():
        await serving.run(stop)


async def rest(
    telemetry: Telemetry, database: Database, settings: Settings, stop: asyncio.Event
) -> None:
    """Serve HTTP. Each role imports its own transport: the other one's would slow its start."""
    from server.transports.http import listener
    from server.transports.http.app import create_app

    app = create_app(_dispatcher(database, settings, telemetry, ROOM), database, settings)
    telemetry.look_on_requests(app)
    await listener.serve(app, settings, stop)


def _dispatcher(
    database: Database, settings: Settings, telemetry: Telemetry, room: int
) -> Dispatcher:
    limit = RateLimit(settings.rate_limit, burst=2 * settings.rate_limit)
    return Dispatcher(database, telemetry.observe, limit, room=room)


ROLES = {"worker": worker, "rest": rest}


if __name__ == "__main__":
    main()
