"""The synchronous face of the client, for scripts, widget callbacks and cells without ``await``.

In a notebook the kernel's own event loop is running already, and asyncio refuses to run a second
time inside it; nest-asyncio lifts that. Only the lab does this: a server must never, because what
was one step between two ``await`` could then be interrupted anywhere.
"""

import asyncio
import atexit
import threading
from collections.abc import Coroutine
from typing import Any, Self, TypeVar

import nest_asyncio

from labkit.client.amqp import AsyncAPIClient
from labkit.client.caller import Reply

Result = TypeVar("Result")


def run(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """The coroutine's result, from code that cannot ``await``: inside a running loop or without.

    Without one, all calls of a thread share a loop: a connection lives on the loop that opened it.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        loop = _loop_of_this_thread()
    nest_asyncio.apply(loop)
    return loop.run_until_complete(coroutine)


_threads = threading.local()


def _loop_of_this_thread() -> asyncio.AbstractEventLoop:
    if not hasattr(_threads, "loop"):
        _threads.loop = asyncio.new_event_loop()
        atexit.register(_threads.loop.close)
    loop: asyncio.AbstractEventLoop = _threads.loop
    return loop


class BlockingAPIClient:
    """``AsyncAPIClient`` without ``await``. Errors, arguments and results are the same.

    Each thread needs one of its own.
    """

    def __init__(self, amqp_url: str, api_key: str | None = None, *, timeout: float = 10.0) -> None:
        self._client = AsyncAPIClient(amqp_url, api_key, timeout=timeout)

    def connect(self) -> Self:
        run(self._client.connect())
        return self

    def close(self) -> None:
        run(self._client.close())

    def __enter__(self) -> Self:
        return self.connect()

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, action: str, data: dict[str, Any] | None = None, **options: Any) -> Any:
        return run(self._client.call(action, data, **options))

    def request(self, action: str, data: dict[str, Any] | None = None, **options: Any) -> Reply:
        return run(self._client.request(action, data, **options))
