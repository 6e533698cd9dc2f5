"""uvicorn as this server runs it: until it has to stop, with limits, and with our log."""

import asyncio
import math
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import uvicorn
from fastapi import FastAPI

from server.contract.log_events import DRAINED, READY
from server.settings import Settings
from server.transports.http.protocol import Protocol

log = structlog.get_logger()

KEEP_ALIVE = 75
"""Seconds that an idle connection stays open: longer than clients keep it, so that it is they who
close it, and not we while a request is on its way."""


async def serve(app: FastAPI, settings: Settings, stop: asyncio.Event) -> None:
    """Serve until ``stop`` is set and every request in hand is answered, or its time is up.

    Raises ``SystemExit`` if the address cannot be had.
    """
    with _listen(settings.rest_host, settings.rest_port) as listener:
        config = uvicorn.Config(
            app,
            http=Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=math.ceil(settings.drain_timeout),
        )
        await _Server(config, stop).serve([listener])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
        # Inherited by every connection. Without it a short answer, sent as head and body, waits
        # for the client's delayed acknowledgement of the head: 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        raise SystemExit(
            f"Cannot listen on {host}, port {port}: {error.strerror}. "
            "Set REST_PORT to another port, or to 0 for any that is free."
        ) from error


class _Server(uvicorn.Server):
    """Stopped by an event: signals are the business of the process, not of a library in it."""

    def __init__(self, config: uvicorn.Config, stop: asyncio.Event) -> None:
        super().__init__(config)
        self._stop = stop

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        host, port, *_ = self.servers[0].sockets[0].getsockname()
        log.info(READY, url=f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or self._stop.is_set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self.server_state.tasks:
            log.info("draining", requests=len(self.server_state.tasks))
        await super().shutdown(sockets)
        log.info(DRAINED)
