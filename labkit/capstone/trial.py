"""One trial of a student's server: a lab of its own, processes of that server, and what is done to
them. A check is written with these words, so that it reads like the experiment that it is.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import aio_pika
import asyncpg
from aio_pika.abc import AbstractIncomingMessage

from labkit.broker.waiting import inside
from labkit.client.amqp import AsyncAPIClient
from labkit.client.caller import Reply
from labkit.client.errors import ReplyTimeout
from labkit.database import connect
from labkit.lab import Lab
from labkit.services.process import Process
from labkit.story import Recording
from server.contract.topology import DEAD_LETTERS, REQUESTS

ANSWERED = 5.0
"""Seconds in which a server that works answers; many times what it takes."""
RESTART = 2 * ANSWERED
"""Seconds for a call during which a server is started."""
LOOKS = 0.05
STARTED = 10.0

WAIT_FOR_LOCKS = """
SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
BOOK = {"title": "Dune", "author": "Frank Herbert"}


Answer = TypeVar("Answer")


class Broken(Exception):
    """The server does not do what this stage asks for; ``request_id`` is the request that shows it,
    whose story is shown.
    """

    def __init__(self, seen: str, request_id: str = "") -> None:
        super().__init__(seen)
        self.request_id = request_id


class Trial:
    """``path`` is the server's program, and ``lab`` is open, with queues and tables, but without
    workers.
    """

    def __init__(
        self,
        lab: Lab,
        path: Path,
        client: AsyncAPIClient,
        recording: Recording,
        seconds: float,
        say: Callable[[str], None],
    ) -> None:
        self.lab = lab
        self.client = client
        self.recording = recording
        self.seconds = seconds
        """How long a load lasts."""
        self.say = say
        """Shows the student what is being done."""
        self.servers: list[Process] = []
        self._calls: set[asyncio.Task[Any]] = set()
        self._path = path
        self._numbers = itertools.count(1)

    async def start(self, count: int = 1) -> Self:
        """So many servers more. Returns when each of them consumes."""
        before = await self.consumers()
        started = [self.lab.start_program(self._path) for _ in range(count)]
        self.servers += started

        async def consuming() -> bool:
            for server in started:
                if not server.alive():
                    last = server.log_tail(6) or "It said nothing."
                    raise Broken(f"It ended as soon as it was started. Its last output:\n{last}")
            return await self.consumers() >= before + count

        await self.until(consuming, "It does not consume from api.requests.", STARTED)
        return self

    async def consumers(self) -> int:
        """How many the broker has on ``api.requests`` at this moment."""
        return (await self._declared()).consumer_count or 0

    async def ready(self, queue: str = REQUESTS) -> int:
        """How many messages wait in it for a consumer at this moment."""
        return (await self._declared(queue)).message_count or 0

    async def _declared(self, queue: str = REQUESTS) -> Any:
        async with await aio_pika.connect(self.lab.amqp_url) as connection:
            return (await (await connection.channel()).get_queue(queue)).declaration_result

    async def letters(self) -> list[AbstractIncomingMessage]:
        """What is in the dead letter queue, where it stays."""
        return await inside(self.lab.amqp_url, DEAD_LETTERS)

    async def holds_letters(self, count: int) -> None:
        """Returns when the dead letter queue has so many."""

        async def so_many() -> bool:
            return await self.ready(DEAD_LETTERS) >= count

        await self.until(so_many, f"The dead letter queue api.dlq has fewer letters than {count}.")

    async def queues_of(self, request_id: str) -> list[str]:
        """The queues into which this request was published, in order, as the broker saw it."""
        await self.recording.stop()
        return self.recording.queues_of(request_id)

    async def until(
        self,
        true: Callable[[], Awaitable[bool]],
        else_seen: str,
        seconds: float = ANSWERED,
        request_id: str = "",
    ) -> None:
        """Raises ``Broken`` if it does not become true."""
        try:
            async with asyncio.timeout(seconds):
                while not await true():  # noqa: ASYNC110  (no event tells of it)
                    await asyncio.sleep(LOOKS)
        except TimeoutError:
            raise Broken(else_seen, request_id) from None

    def later(self, call: Coroutine[Any, Any, Answer]) -> asyncio.Task[Answer]:
        """The call is under way while something is done to the server; ends with the trial."""
        task = asyncio.create_task(call)
        self._calls.add(task)
        return task

    async def end(self) -> None:
        """Calls that still wait are cancelled: the outcome of the trial is known."""
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    def named(self, name: str) -> str:
        """An id for a request that can be read in its story."""
        return f"{name}-{next(self._numbers)}"

    async def ask(
        self,
        action: str,
        data: dict[str, Any] | None = None,
        *,
        id: str | None = None,
        seconds: float = ANSWERED,
        key: str | None = None,
        client: AsyncAPIClient | None = None,
    ) -> Reply:
        """Raises ``Broken`` if no reply comes within so many ``seconds``."""
        request_id = id or self.named(action)
        try:
            reply = await (client or self.client).request(
                action, data, idempotency_key=key, timeout=seconds, request_id=request_id
            )
        except ReplyTimeout as timeout:  # or a reply that cannot be read
            seen, _, _ = str(timeout).partition(". ")
            raise Broken(f"{request_id}: {seen}.", request_id) from None
        if (reply.status == "ok") != (reply.error is None):
            seen = f"The reply has the status {reply.status!r} and the error {reply.error!r}."
            raise Broken(f"{request_id}: {seen}", request_id)
        return reply

    async def ok(self, action: str, data: dict[str, Any] | None = None, **options: Any) -> Any:
        """The data of its reply. Raises ``Broken`` if that is an error."""
        request_id = options.pop("id", None) or self.named(action)
        reply = await self.ask(action, data, id=request_id, **options)
        if (code := _code(reply)) is not None:
            raise Broken(f"The reply to {request_id!r} is the error {code!r}, not ok.", request_id)
        return reply.data

    async def refused(
        self, code: str, action: str, data: dict[str, Any] | None = None, **options: Any
    ) -> None:
        """Raises ``Broken`` unless the reply is this error."""
        request_id = options.pop("id", None) or self.named(action)
        reply = await self.ask(action, data, id=request_id, **options)
        found = _code(reply)
        if found != code:
            said = f"the error {found!r}" if found else f"ok, with {json.dumps(reply.data)}"
            seen = f"The reply to {request_id!r} is {said}; it has to be the error {code!r}."
            raise Broken(seen, request_id)

    async def send(self, body: bytes, request_id: str) -> None:
        """A message that no client of ours would send. Returns when the broker has confirmed it."""
        async with await aio_pika.connect(self.lab.client_amqp_url) as connection:
            channel = await connection.channel()
            message = aio_pika.Message(body, correlation_id=request_id, message_id=request_id)
            await channel.default_exchange.publish(message, REQUESTS)

    async def books(self, title: str = "") -> int:
        """How many books of this title there are, or of any."""
        rows = await self.lab.rows("books_v1")
        return int((rows["title"] == title).sum()) if title else len(rows)

    @asynccontextmanager
    async def locked(
        self, table: str = "books_v1", mode: str = "ACCESS EXCLUSIVE"
    ) -> AsyncIterator[asyncpg.Connection]:
        """Meanwhile who changes the table waits in PostgreSQL: long enough to do things to them."""
        connection = await connect(self.lab.database_url)
        transaction = connection.transaction()
        await transaction.start()
        try:
            await connection.execute(f"LOCK TABLE {table} IN {mode} MODE")
            yield connection
        finally:
            await transaction.rollback()
            await connection.close()

    async def waiting(
        self, connection: asyncpg.Connection, count: int = 1, request_id: str = ""
    ) -> list[int]:
        """Returns, with PostgreSQL's process ids, when so many wait for the lock."""
        found: list[int] = []

        async def so_many() -> bool:
            await connection.execute("SELECT pg_stat_clear_snapshot()")
            found[:] = [row["pid"] for row in await connection.fetch(WAIT_FOR_LOCKS)]
            return len(found) >= count

        at_once = f"{count} requests at once do" if count > 1 else "The request does"
        seen = f"{at_once} not get as far as PostgreSQL, where they would meet a locked table."
        await self.until(so_many, seen, request_id=request_id)
        return found

    async def terminate(self, connection: asyncpg.Connection, pids: list[int]) -> None:
        """These connections to the database are cut, and their transactions undone."""
        await connection.fetch("SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) pid", pids)


def _code(reply: Reply) -> str | None:
    """Of its error; None if it is ok."""
    return None if reply.error is None else str(reply.error["code"])
