"""Services of one's own, for as long as a `with` block lasts."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from labkit.services import postgresql, rabbitmq
from labkit.services.environment import OWN, ROOT, api_key
from labkit.services.errors import Cancelled
from labkit.services.layout import Home, Tls
from labkit.services.process import recorded

STARTERS: tuple[Callable[[Home, threading.Event], dict[str, str]], ...] = (
    rabbitmq.up,
    postgresql.up,
)


@contextmanager
def private_services(
    home: Path, *, durable: bool = True, tls: Tls | None = None
) -> Iterator[dict[str, str]]:
    """A RabbitMQ and a PostgreSQL under `home`; yields AMQP_URL, SERVER_AMQP_URL, ADMIN_AMQP_URL,
    MANAGEMENT_URL, BROKER_HOME, DATABASE_URL and API_KEY.

    They end with the block, and also if this process dies in any way, kill -9 included: a guard
    outlives it. With `durable=True` the data stays in `home`, and the next block finds it again;
    else it survives a kill -9 but no power cut, and is gone at the end, which comes at once. With
    `tls` the broker speaks AMQP over nothing else.
    """
    with private_home(home, durable=durable, tls=tls) as (environment, _):
        yield environment


@contextmanager
def private_home(
    home: Path, *, durable: bool = True, tls: Tls | None = None
) -> Iterator[tuple[dict[str, str], Home]]:
    """The same, for tests that also break them: `mishaps` takes the second value."""
    place = Home(home.resolve(), durable=durable, tls=tls)
    place.make()
    with _guard(place):
        # An environment with these is no longer in the lab.
        yield _start(place) | {"API_KEY": api_key(place), OWN: ""}, place


def _start(home: Home) -> dict[str, str]:
    """Both, side by side. They start in threads, which no Ctrl-C can interrupt half-way."""
    cancel = threading.Event()
    with ThreadPoolExecutor() as pool:
        futures = [pool.submit(start, home, cancel) for start in STARTERS]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            cancel.set()  # no matter to those that are ready
    # A cancelled one only tells that the other failed.
    futures.sort(key=lambda future: isinstance(future.exception(), Cancelled))
    return {name: url for future in futures for name, url in future.result().items()}


@contextmanager
def _guard(home: Home) -> Iterator[None]:
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
        guard.wait()
        for process in ours:
            process.alive()  # the guard has ended our children, but only we can collect them
