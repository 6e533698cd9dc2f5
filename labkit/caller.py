"""What the clients of every transport have in common: opened, asked, closed."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Self

from server.errors import from_wire

LONGEST_TIMEOUT = 24 * 3600
"""Seconds. Every call has a deadline."""


@dataclass(frozen=True)
class Reply:
    """A whole reply: the four fields of its body, and whether it is a replay."""

    correlation_id: str
    status: str
    data: Any
    error: dict[str, Any] | None
    replayed: bool = False
    """True if this outcome was reached earlier, by a request with the same key or id."""
    body: bytes = field(default=b"", repr=False, compare=False)
    """As it came."""


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
        timeout: float | None = None,  # noqa: ASYNC109  (it is also told to the server)
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
        if not 0 < seconds <= LONGEST_TIMEOUT:
            raise ValueError(f"timeout is {seconds}: give seconds, more than 0, at most a day.")
        return seconds

    async def __aenter__(self) -> Self:
        return await self.connect()

    async def __aexit__(self, *_: object) -> None:
        await self.close()
