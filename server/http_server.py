"""uvicorn as this server runs it: until it is told to stop, with limits, and with our log."""

import asyncio
import math
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from server.contract import Reply
from server.errors import Malformed
from server.problem import problem
from server.settings import Settings

log = structlog.get_logger()

KEEP_ALIVE = 75
"""Seconds that an idle connection stays open: longer than clients keep it, so that it is they who
close it, and not we while a request is on its way."""
LARGEST_HEAD = 64 * 1024
"""Bytes of a request before its body."""


async def serve(app: FastAPI, settings: Settings, stop: asyncio.Event) -> None:
    """Serve until ``stop`` is set and every request in hand is answered, or its time is up.

    Raises ``SystemExit`` if the address cannot be had.
    """
    with _listen(settings.rest_host, settings.rest_port) as listener:
        config = uvicorn.Config(
            app,
            http=_Protocol,
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
        log.info("ready", url=f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or self._stop.is_set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self.server_state.tasks:
            log.info("draining", requests=len(self.server_state.tasks))
        await super().shutdown(sockets)
        log.info("drained")


class _Protocol(HttpToolsProtocol):
    """httptools reads a head of any length into memory, and uvicorn answers what is no HTTP with
    plain text: here a head has a limit, and every answer the same form.
    """

    _beside_body = 0
    """Bytes of this request that are not its body: the head, a chunked body's framing, trailers."""

    def data_received(self, data: bytes) -> None:
        self._beside_body += len(data)
        super().data_received(data)
        if self._beside_body > LARGEST_HEAD and not self.transport.is_closing():
            self.send_400_response(f"The request's head is larger than {LARGEST_HEAD} bytes.")

    def on_body(self, body: bytes) -> None:
        self._beside_body -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._beside_body = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        answer = problem(Reply.refusal(Malformed(msg)), "")
        head = [b"%s: %s\r\n" % header for header in answer.raw_headers]
        closing = b"connection: close\r\n\r\n"
        self.transport.write(b"".join([b"HTTP/1.1 400 Bad Request\r\n", *head, closing]))
        self.transport.write(bytes(answer.body))
        self.transport.close()
