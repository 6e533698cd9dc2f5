"""The floor: an echo with nothing between a socket and its answer.

A bare `asyncio.Protocol` on both sides. Everything that comes with one read is answered with one
write, and acknowledged with one multiple ack. The queue is the one of the Library API: quorum, with
persistent and confirmed requests. It is no client to use: it understands just these frames.
"""

import asyncio
import os
import struct
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

import load
import uvloop
from pamqp import commands, frame

QUEUE = "echo.floor"
CHANNEL = 1
DELIVER, ACK = (60, 60), (60, 80)
METHOD, HEADER, BODY = 1, 2, 3

Answer = Callable[[str, str, bytes], bytes | None]
"""(correlation id, reply_to, body) -> the frames of an answer"""


def short(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def framed(kind: int, payload: bytes) -> bytes:
    return struct.pack(">BHL", kind, CHANNEL, len(payload)) + payload + b"\xce"


def publish(queue: str, body: bytes, name: str, reply_to: str | None, mode: int) -> bytes:
    flags, properties = 0x1000 | 0x0400, bytes([mode]) + short(name)
    if reply_to:
        flags, properties = flags | 0x0200, properties + short(reply_to)
    method = struct.pack(">HHH", 60, 40, 0) + short("") + short(queue) + b"\0"
    header = struct.pack(">HHQH", 60, 0, len(body), flags) + properties
    return framed(METHOD, method) + framed(HEADER, header) + framed(BODY, body)


class Floor(asyncio.Protocol):
    """Hands each delivery to `answer`."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._rest = b""
        self._frames: asyncio.Queue[Any] = asyncio.Queue()
        self._tag = 0
        self._properties = ("", "")
        self.transport: Any

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(b"AMQP\x00\x00\x09\x01")

    def data_received(self, data: bytes) -> None:
        data, at, answers, last = self._rest + data, 0, [], 0
        while len(data) - at >= 8:
            kind, _, length = struct.unpack_from(">BHL", data, at)
            begin, end = at + 7, at + 8 + length
            if len(data) < end:
                break
            if kind == METHOD:
                self._method(data, begin, at, end)
            elif kind == HEADER:
                self._header(data, begin)
            elif kind == BODY:
                last = self._tag
                answers.append(self._answer(*self._properties, data[begin : begin + length]))
            at = end
        self._rest = data[at:]
        if written := b"".join(filter(None, answers)):
            ack = framed(METHOD, struct.pack(">HHQB", *ACK, last, 1))
            self.transport.write(written + ack)

    def _method(self, data: bytes, begin: int, at: int, end: int) -> None:
        name = struct.unpack_from(">HH", data, begin)
        if name == DELIVER:
            consumer = data[begin + 4]
            (self._tag,) = struct.unpack_from(">Q", data, begin + 5 + consumer)
        elif name != ACK:
            self._frames.put_nowait(frame.unmarshal(data[at:end])[2])

    def _header(self, data: bytes, begin: int) -> None:
        (flags,) = struct.unpack_from(">H", data, begin + 12)
        at = begin + 14 + (1 if flags & 0x1000 else 0)
        name = data[at + 1 : at + 1 + data[at]].decode()
        at += 1 + data[at]
        reply_to = data[at + 1 : at + 1 + data[at]].decode() if flags & 0x0200 else ""
        self._properties = name, reply_to

    async def call(self, command: Any, channel: int = CHANNEL) -> Any:
        self.transport.write(frame.marshal(command, channel))
        return await self._frames.get()

    async def open(self, url: str) -> None:
        parts = urlsplit(url)
        await self._frames.get()
        login = f"\0{unquote(parts.username or '')}\0{unquote(parts.password or '')}"
        tune = await self.call(commands.Connection.StartOk({}, "PLAIN", login, "en_US"), 0)
        ok = commands.Connection.TuneOk(tune.channel_max, tune.frame_max, 0)
        self.transport.write(frame.marshal(ok, 0))
        await self.call(commands.Connection.Open(unquote(parts.path[1:]) or "/"), 0)
        await self.call(commands.Channel.Open())


async def connected(answer: Answer) -> Floor:
    url = os.environ["AMQP_URL"]
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    _, floor = await loop.create_connection(lambda: Floor(answer), parts.hostname, parts.port)
    await floor.open(url)
    return floor


async def server() -> None:
    floor = await connected(lambda name, reply_to, body: publish(reply_to, body, name, None, 1))
    arguments = {"x-queue-type": "quorum"}
    await floor.call(commands.Queue.Declare(queue=QUEUE, durable=True, arguments=arguments))
    await floor.call(commands.Basic.Qos(prefetch_count=256))
    await floor.call(commands.Basic.Consume(queue=QUEUE))
    load.ready()
    await asyncio.Future()


async def client() -> None:
    loop = asyncio.get_running_loop()
    waiting: dict[str, asyncio.Future[bytes]] = {}

    def received(name: str, _: str, body: bytes) -> None:
        waiting.pop(name).set_result(body)

    floor = await connected(received)
    replies = (await floor.call(commands.Queue.Declare(queue="", exclusive=True))).queue
    await floor.call(commands.Confirm.Select())
    await floor.call(commands.Basic.Consume(queue=replies, no_ack=True))
    written: list[bytes] = []

    def flush() -> None:
        floor.transport.write(b"".join(written))
        written.clear()

    async def call(name: str) -> bytes:
        if not written:
            loop.call_soon(flush)
        waiting[name] = reply = loop.create_future()
        written.append(publish(QUEUE, load.BODY, name, replies, 2))
        return await reply

    await load.run(call)


uvloop.run(server() if sys.argv[1] == "server" else client())
