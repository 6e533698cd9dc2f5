"""What every server process does around its serving: prepare, watch for signals, clean up."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import structlog

from server.application.idempotency import collect
from server.contract.errors import Unavailable
from server.contract.topology import TopologyMismatch
from server.persistence.database import Database, SchemaMismatch
from server.security import authentication
from server.security.authentication import KeyRevoked
from server.settings import DEVELOPMENT_KEY, Settings

log = structlog.get_logger()

CLOSING = 5.0
"""Seconds for closing connections, after the deliveries in hand had theirs."""

Role = Callable[[Database, Settings, asyncio.Event], Awaitable[None]]
"""Serves on this database until the event is set, and then drains."""


def run(role: Role, settings: Settings) -> None:
    """Serve in an event loop of its own: uvloop's, where there is one."""
    with asyncio.Runner(loop_factory=_new_event_loop) as runner:
        runner.run(serve(role, settings))


def _new_event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def serve(role: Role, settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C, then drain. Raises ``SystemExit`` for what waiting does not
    help.

    A second signal changes nothing: draining has its own deadline.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop_in_time() -> None:
        stop.set()
        loop.call_later(settings.drain_timeout + CLOSING, _give_up)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop_in_time)
    database = Database(settings)
    try:
        await _prepare(database, settings, stop)
        _spare_what_stays()
        async with _collecting(database, settings):
            await role(database, settings, stop)
    except (TopologyMismatch, SchemaMismatch, KeyRevoked) as error:
        sys.exit(str(error))
    finally:
        await database.close()


def _spare_what_stays() -> None:
    """The collector of cycles need not look through modules and classes, again and again: the
    slowest of a hundred requests waited a quarter less.
    """
    gc.collect()
    gc.freeze()


def _give_up() -> None:
    """A broker or a database that says nothing must not keep us. To die here is as safe as to be
    killed: whatever is not acknowledged is delivered again.
    """
    log.error("stopped_forcibly", why="the broker or the database does not answer")
    os._exit(1)


async def _prepare(database: Database, settings: Settings, stop: asyncio.Event) -> None:
    """Tables and the configured key are there; waits for a database that is not up yet."""
    if settings.api_key == DEVELOPMENT_KEY:
        log.warning("development_key_in_use", advice="set API_KEY")
    while not stop.is_set():
        try:
            await database.create_tables()
            async with database.transaction() as transaction:
                await authentication.prepare(transaction, settings.api_key)
            return
        except Unavailable as error:
            log.warning("database_unreachable", error=str(error.__cause__), retry_in=1)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 1)


@asynccontextmanager
async def _collecting(database: Database, settings: Settings) -> AsyncIterator[None]:
    """Meanwhile, idempotency keys past their retention are forgotten, a few times in it."""

    async def again_and_again() -> None:
        while True:
            with suppress(Unavailable):
                if forgotten := await collect(database, settings.key_retention):
                    log.info("keys_collected", count=forgotten)
            await asyncio.sleep(min(settings.key_retention / 4, 3600))

    collector = asyncio.create_task(again_and_again())
    try:
        yield
    finally:
        collector.cancel()
        await asyncio.wait([collector])
