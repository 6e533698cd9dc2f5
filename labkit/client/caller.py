"""What the clients of every transport have in common: opened, asked, closed."""

import asyncio
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from pydantic_core import from_json, to_json

from labkit.client.errors import NotConnected, WrongLoop
from labkit.errors import BadArgument
from server.contract.errors import from_wire

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from labkit.client.traces import CallTraces

LONGEST_TIMEOUT = 24 * 3600
"""Seconds. Every call has a deadline."""


@dataclass(frozen=True)
class Reply:
    """A whole reply: the four fields of its body, and what its headers say."""

    correlation_id: str
    status: str
    data: Any
    error: dict[str, Any] | None
    replayed: bool = False
    """True if this outcome was reached earlier, by a request with the same key or id."""
    body: bytes = field(default=b"", repr=False, compare=False)
    """As it came."""
    parked: bool = False
    """True if the request is in the dead letter queue now."""

    @property
    def outcome(self) -> str:
        """``ok``, or the error's code."""
        return "ok" if self.error is None else str(self.error["code"])

    def __post_init__(self) -> None:
        """Raises ``ValueError`` for an error that no program could act on."""
        error: object = self.error
        if error is not None and not (
            isinstance(error, dict) and isinstance(error.get("code"), str)
        ):
            raise ValueError("its error has no code")


class Caller(ABC):
    """``async with`` opens and closes it; in a notebook, where a block cannot span cells, it is
    ``await client.connect()`` and ``await client.close()``. Both are harmless twice.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout

    @abstractmethod
    async def connect(self) -> Self: ...

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    async def request(
        self,
        action: str,
        data: dict[str, Any] | None = None,
        *,
        version: str = "v1",
        idempotency_key: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  (the server gets it, too)
        request_id: str | None = None,
    ) -> Reply:
        """The whole reply, whether it says ok or error."""

    async def call(
        self,
        action: str,
        data: dict[str, Any] | None = None,
        *,
        version: str = "v1",
        idempotency_key: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> Any:
        """The reply's data. Raises the ``ApiError`` that the reply names, or as ``request``."""
        reply = await self.request(
            action, data, version=version, idempotency_key=idempotency_key, timeout=timeout
        )
        if reply.error is not None:
            raise from_wire(reply.error)
        return reply.data

    def _seconds(self, timeout: float | None) -> float:
        seconds = self._timeout if timeout is None else timeout
        if not isinstance(seconds, int | float) or not 0 < seconds <= LONGEST_TIMEOUT:
            raise BadArgument(f"timeout is {seconds!r}: give seconds, more than 0, at most a day.")
        return seconds

    async def __aenter__(self) -> Self:
        return await self.connect()

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class ConnectedCaller(Caller):
    """A caller with a connection, which lives in the event loop in which it was opened."""

    def __init__(self, timeout: float) -> None:
        super().__init__(timeout)
        self._is_open = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changing = asyncio.Lock()

    async def connect(self) -> Self:
        """Connecting twice is harmless, at the same time, too. Raises ``BrokerAway`` or
        ``ServerAway``; ``WrongLoop`` if it is connected in another event loop.
        """
        self._live_here()
        async with self._changing:
            if not self._is_open:
                await self._open()
                self._is_open = True
        return self

    async def close(self) -> None:
        """Calls that still wait raise ``ReplyTimeout``. Closing twice is harmless. Raises
        ``WrongLoop`` if it is connected in another event loop.
        """
        self._live_here()
        async with self._changing:
            if self._is_open:
                self._is_open = False
                await self._close()

    @abstractmethod
    async def _open(self) -> None:
        """Whole, or not at all: what it raises leaves nothing open."""

    @abstractmethod
    async def _close(self) -> None: ...

    def _live_here(self) -> None:
        """In the running event loop. What was open in one that is closed is gone with it."""
        here = asyncio.get_running_loop()
        if self._loop is here:
            return
        is_in_use = self._is_open or self._changing.locked()
        if is_in_use and self._loop is not None and not self._loop.is_closed():
            raise WrongLoop
        self._loop, self._is_open, self._changing = here, False, asyncio.Lock()

    def _require_open(self) -> None:
        """Raises ``NotConnected``; ``WrongLoop``, for what is awaited here would never come."""
        if not self._is_open:
            raise NotConnected
        if self._loop is not asyncio.get_running_loop():
            raise WrongLoop


def encoded(document: dict[str, Any]) -> bytes:
    """As JSON. Raises ``ValueError`` for what JSON has no way to write, with the field's path."""
    body = to_json(document)
    if b"NaN" in body or b"Infinity" in body:  # perhaps in a text
        _require_finite(from_json(body), "")
    return body


def _require_finite(value: Any, path: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise BadArgument(f"{path} is {value}: JSON has no such number. Send null, or nothing.")
    inner = dict(enumerate(value)) if isinstance(value, list) else value
    for name, each in inner.items() if isinstance(inner, dict) else ():
        _require_finite(each, f"{path}.{name}" if path else str(name))


def traces_of(tracer: "Tracer | None") -> "CallTraces | None":
    """Nothing of OpenTelemetry is imported without a tracer."""
    if tracer is None:
        return None
    from labkit.client.traces import CallTraces

    return CallTraces(tracer)
