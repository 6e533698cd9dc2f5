"""What several tests need: waiting to a deadline, a worker in this process or one of its own."""

import ast
import asyncio
import contextlib
import io
import itertools
import json
import os
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from labkit.exercises.exercise import Exercise
from labkit.services import ports
from server.application.dispatcher import Dispatcher
from server.application.hooks import Observer, no_observer
from server.contract.envelope import Reply, Request
from server.contract.topology import DEAD_LETTERS, REQUESTS
from server.persistence.database import Database
from server.settings import Settings
from server.transports.amqp.worker import Worker
from server.transports.http import app, listener

ROOT = Path(__file__).resolve().parents[1]
BOOK = {"title": "1984", "author": "George Orwell", "year": 1949, "isbn": "978-0451524935"}


def at(url: str, path: str) -> str:
    """The URL of another virtual host or database on the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{path}"))


def as_client(settings: Settings) -> str:
    """The URL of the settings' virtual host for the user that sends requests."""
    return at(os.environ["AMQP_URL"], urlsplit(settings.amqp_url).path[1:])


def as_server(settings: Settings) -> Settings:
    """The same, as the user that a worker is: a right that it lacks is to be noticed."""
    url = at(os.environ["SERVER_AMQP_URL"], urlsplit(settings.amqp_url).path[1:])
    return settings.model_copy(update={"amqp_url": url})


def as_environment(given: dict[str, Any]) -> dict[str, str]:
    """Settings as variables; what is not set is none."""
    return {name.upper(): str(value) for name, value in given.items() if value is not None}


async def paste(exercise: Exercise) -> None:
    """Runs what ``solution()`` prints, as a cell does in which only ``lab`` is known."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exercise.solution()
    assert "noqa" not in printed.getvalue()
    cell = compile(printed.getvalue(), "cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if (running := eval(cell, {"lab": exercise.lab})) is not None:
        await running


async def eventually(condition: Callable[[], Awaitable[Any]], within: float = 10.0) -> Any:
    """The first true result of ``condition``; fails after ``within`` seconds."""
    deadline = time.monotonic() + within
    while not (result := await condition()):
        assert time.monotonic() < deadline, f"not true within {within} s"
        await asyncio.sleep(0.02)
    return result


def until(condition: Callable[[], Any], within: float = 10.0) -> Any:
    """The same without a loop."""
    deadline = time.monotonic() + within
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not true within {within} s"
        time.sleep(0.02)
    return result


def running_in(folder: Path) -> list[str]:
    """The pids of other processes that were started with it in their command or environment."""
    mark = os.fsencode(str(folder))
    others = [pid for pid in os.listdir("/proc") if pid.isdigit() and pid != str(os.getpid())]
    found = []
    for pid, name in itertools.product(others, ("cmdline", "environ")):
        with suppress(OSError):  # it has just ended, or is none of ours
            if mark in Path("/proc", pid, name).read_bytes():
                found.append(pid)
    return found


@asynccontextmanager
async def worker_here(
    settings: Settings, dispatcher: Dispatcher, observe: Observer = no_observer
) -> AsyncIterator[asyncio.Task[None]]:
    """A worker in this process, ready when entered, drained when left."""
    stop = asyncio.Event()
    worker = asyncio.create_task(Worker(as_server(settings), dispatcher, observe).run(stop))
    try:
        async with wire(settings) as client:
            await eventually(lambda: client.consumers(REQUESTS))
        yield worker
    finally:
        stop.set()
        await worker


class Caller:
    """Asks the application itself, without a transport."""

    def __init__(self, dispatcher: Dispatcher, api_key: str) -> None:
        self._dispatcher = dispatcher
        self.api_key = api_key
        self._ids = iter(range(1, 1000))

    async def __call__(
        self, action: str, data: dict[str, Any] | None = None, **fields: Any
    ) -> Reply:
        request = {
            "id": str(next(self._ids)),
            "version": "v1",
            "action": action,
            "data": data or {},
            "auth": self.api_key,
        }
        return await self._dispatcher.execute(Request.model_validate(request | fields))


@asynccontextmanager
async def rest_here(
    settings: Settings, dispatcher: Dispatcher, database: Database
) -> AsyncIterator[str]:
    """The REST edge in this process, drained when left; its URL."""
    stop = asyncio.Event()
    here = settings.model_copy(update={"rest_port": ports.any_free()})
    server = asyncio.create_task(
        listener.serve(app.create_app(dispatcher, database, here), here, stop)
    )

    async def listens() -> bool:
        assert not server.done()
        return not ports.is_free(here.rest_port)

    try:
        await eventually(listens)
        yield f"http://127.0.0.1:{here.rest_port}"
    finally:
        stop.set()
        await server


class WorkerProcess:
    """``python -m server worker``, or ``rest``, as in production."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.log: list[dict[str, Any]] = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.log.append(json.loads(line))

    async def ready(self) -> None:
        async def is_ready() -> bool:
            assert self.process.returncode is None, self.log
            return bool(self.events("ready"))

        await eventually(is_ready, within=30)

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.log if line["event"] == name]

    async def ended(self) -> int:
        """Its exit code, when it has ended by itself."""
        return await asyncio.wait_for(self.process.wait(), 20)

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal; the exit code, once the log is read to its end."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        code = await asyncio.wait_for(self.process.wait(), 20)
        await self._reading
        return code


def worker_process(
    settings: Settings, role: str = "worker"
) -> AbstractAsyncContextManager[WorkerProcess]:
    return process_of(settings, "server", role)


@asynccontextmanager
async def process_of(
    settings: Settings, *program: str, **environment: str
) -> AsyncIterator[WorkerProcess]:
    """``python -m`` this program, ready when entered."""
    given = as_server(settings).model_dump()
    given["retry_delays"] = ",".join(map(str, settings.retry_delays))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", *program),
        cwd=ROOT,
        env={**os.environ, **as_environment(given), **environment},
        stdout=asyncio.subprocess.PIPE,
    )
    worker = WorkerProcess(process)
    try:
        await worker.ready()
        yield worker
    finally:
        await worker.end(signal.SIGKILL)


def dies_at(settings: Settings, step: str) -> AbstractAsyncContextManager[WorkerProcess]:
    """A worker that is killed as soon as a request gets to this step."""
    return process_of(settings, "labkit.faults.at_step.worker", "--dies-at", step)


class Wire:
    """A client that speaks plain AMQP and knows nothing of labkit: it sends whatever it is told."""

    def __init__(self, channel: aio_pika.abc.AbstractChannel, key: str) -> None:
        self._channel = channel
        self._key = key
        self.replies: aio_pika.abc.AbstractQueue

    async def open(self) -> "Wire":
        self.replies = await self._channel.declare_queue(exclusive=True)
        return self

    def body(self, action: str, data: dict[str, Any] | None = None, /, **fields: Any) -> bytes:
        request = {
            "id": str(uuid.uuid4()),
            "version": "v1",
            "action": action,
            "data": data or {},
            "auth": self._key,
            "idempotency_key": None,
        }
        return json.dumps(request | fields).encode()

    async def send(self, body: bytes, **properties: Any) -> None:
        properties = {"correlation_id": "c-1", "reply_to": self.replies.name} | properties
        message = aio_pika.Message(body, **properties)
        await self._channel.default_exchange.publish(message, REQUESTS)

    async def reply(
        self, queue: str | None = None, within: float = 10.0
    ) -> AbstractIncomingMessage:
        """The next message of the reply queue, or of another one."""
        source = self.replies if queue is None else await self._channel.get_queue(queue)
        message = await eventually(lambda: source.get(no_ack=True, fail=False), within)
        assert isinstance(message, AbstractIncomingMessage)
        return message

    async def ask(self, body: bytes, **properties: Any) -> dict[str, Any]:
        await self.send(body, **properties)
        answer: dict[str, Any] = json.loads((await self.reply()).body)
        return answer

    async def dead_letter(self) -> AbstractIncomingMessage:
        return await self.reply(DEAD_LETTERS)

    async def depth(self, queue: str) -> int:
        declared = await self._channel.declare_queue(queue, passive=True)
        return declared.declaration_result.message_count or 0

    async def consumers(self, queue: str) -> int:
        try:
            declared = await self._channel.declare_queue(queue, passive=True)
        except aio_pika.exceptions.ChannelNotFoundEntity:
            await self._channel.reopen()
            return 0
        return declared.declaration_result.consumer_count or 0


@asynccontextmanager
async def wire(settings: Settings) -> AsyncIterator[Wire]:
    async with (
        await aio_pika.connect(settings.amqp_url) as connection,
        connection.channel() as channel,
    ):
        yield await Wire(channel, settings.api_key).open()
