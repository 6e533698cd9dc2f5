"""The synchronous face of the client, for scripts, widget callbacks and cells without ``await``.

In a notebook the kernel's own event loop is running already, and asyncio refuses to run a second
time inside it; nest-asyncio lifts that, there and nowhere else. Only the lab does this: a server
must never, because what was one step between two ``await`` could then be interrupted anywhere.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Self, TypeVar

from labkit.client.amqp import AsyncAPIClient
from labkit.client.caller import Reply
from labkit.client.errors import NotConnected

Result = TypeVar("Result")


class BlockingAPIClient:
    """``AsyncAPIClient`` without ``await``. Errors and results are the same.

    Each thread needs one of its own. In a script it has an event loop of its own, from
    ``connect()`` to ``close()``: close it, or use ``with``, and nothing is left behind.
    """

    def __init__(self, amqp_url: str, api_key: str | None = None, *, timeout: float = 10.0) -> None:
        """``timeout`` is the deadline of a call in seconds, unless the call gives its own.

        Raises ``ValueError`` for anything but an AMQP URL.
        """
        self._client = AsyncAPIClient(amqp_url, api_key, timeout=timeout)
        self._runner: asyncio.Runner | None = None

    def connect(self) -> Self:
        """Harmless if it is connected. Raises ``BrokerAway``."""
        if self._runner is None and not _is_running():
            self._runner = asyncio.Runner()
        try:
            self._run(self._client.connect())
        except BaseException:
            self._end_loop()
            raise
        return self

    def close(self) -> None:
        """Harmless if it is closed."""
        try:
            with suppress(NotConnected):
                self._run(self._client.close())
        finally:
            self._end_loop()

    def __enter__(self) -> Self:
        return self.connect()

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(
        self,
        action: str,
        data: dict[str, Any] | None = None,
        *,
        version: str = "v1",
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> Any:
        """The reply's data. Raises the ``ApiError`` that the reply names, or as ``request``."""
        return self._run(
            self._client.call(
                action, data, version=version, idempotency_key=idempotency_key, timeout=timeout
            )
        )

    def request(
        self,
        action: str,
        data: dict[str, Any] | None = None,
        *,
        version: str = "v1",
        idempotency_key: str | None = None,
        timeout: float | None = None,
        request_id: str | None = None,
    ) -> Reply:
        """The whole reply, whether it says ok or error; ``timeout`` in seconds.

        Raises ``NotConnected``, ``ReplyTimeout``, ``Unroutable``, ``QueueFull``, ``ValueError``.
        """
        return self._run(
            self._client.request(
                action,
                data,
                version=version,
                idempotency_key=idempotency_key,
                timeout=timeout,
                request_id=request_id,
            )
        )

    def _run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        if _is_running():
            import nest_asyncio  # changes asyncio when it is applied: only where it has to be

            loop = asyncio.get_running_loop()
            nest_asyncio.apply(loop)
            return loop.run_until_complete(coroutine)
        if self._runner is None:
            coroutine.close()
            raise NotConnected
        return self._runner.run(coroutine)

    def _end_loop(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()


def _is_running() -> bool:
    """Whether this code is called from within an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
