"""Services of one's own, for as long as an `async with` block lasts."""

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from labkit.closing import in_thread
from labkit.services import postgresql, rabbitmq
from labkit.services.environment import OWN, ROOT, api_key
from labkit.services.home import Home, Tls
from labkit.services.process import recorded
from labkit.services.running import side_by_side


@asynccontextmanager
async def private_services(
    home: Path, *, durable: bool = True, tls: Tls | None = None, brokers: int = 1
) -> AsyncIterator[dict[str, str]]:
    """A RabbitMQ and a PostgreSQL under `home`; yields AMQP_URL, SERVER_AMQP_URL, ADMIN_AMQP_URL,
    MANAGEMENT_URL, BROKER_HOME, DATABASE_URL and API_KEY.

    They end with the block, and also if this process dies in any way, kill -9 included: a guard
    outlives it. With `durable=True` the data stays in `home`, and the next block finds it again;
    else it survives a kill -9 but no power cut, and is gone at the end, which comes at once. With
    `tls` the broker speaks AMQP over nothing else. `brokers` is how many nodes it has, of one
    cluster; each address then names all of them.

    Raises `MissingSoftware`, `NotReady` with the end of a log, or another `ServiceError`.
    """
    async with private_home(home, durable=durable, tls=tls, brokers=brokers) as (environment, _):
        yield environment


@asynccontextmanager
async def private_home(
    home: Path, *, durable: bool = True, tls: Tls | None = None, brokers: int = 1
) -> AsyncIterator[tuple[dict[str, str], Home]]:
    """The same, for tests that also break them: `failures` takes the second value."""
    made = Home(home.resolve(), durable=durable, tls=tls, brokers=brokers)
    made.make()
    async with _guard(made):
        async with side_by_side() as group:
            starts = [group.create_task(service.up(made)) for service in (rabbitmq, postgresql)]
        environment = starts[0].result() | starts[1].result()
        # An environment with these is no longer in the lab.
        yield environment | {"API_KEY": api_key(made), OWN: ""}, made


@asynccontextmanager
async def _guard(home: Home) -> AsyncIterator[None]:
    """A process that stops the services when its standard input closes, be it by us or our end."""
    how = "durable" if home.durable else "forgetful"
    guard = subprocess.Popen(
        [sys.executable, "-m", "labkit.services.guard", str(home.path), how],
        stdin=subprocess.PIPE,
        cwd=ROOT,
        start_new_session=True,
    )
    try:
        yield
    finally:
        ours = recorded(home.run_dir)
        if guard.stdin is not None:
            guard.stdin.close()
        await in_thread(guard.wait)
        for process in ours:
            process.alive()  # the guard has ended our children, but only we can collect them
