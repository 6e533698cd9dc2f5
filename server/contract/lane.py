"""A fast lane for messages, beside aio-pika on the same connection.

aio-pika opens connections and channels, declares queues, keeps up the heartbeat, and notices when
all that breaks. But a message costs it several tasks, locks and futures on its way. So the frames
of messages and acknowledgements take another way: they are picked out of what the broker sends
before aiormq reads it, and what is written within one turn of the event loop goes out in one piece.

                    ┌─ messages, confirms ──► Lane ──► its owner's callbacks
    socket ──► Tap ─┤
                    └─ all other frames ──► aiormq ──► aio-pika

Decision 12 has the figures.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from aiormq.connection import TransportFactory
from aiormq.exceptions import AMQPConnectionError
from yarl import URL

from server.contract import frames
from server.contract.properties import Properties, read_properties

HEARTBEAT_AFTER = 1.0
"""Seconds. aiormq sees none of the messages: so often it is shown that the broker is alive."""

OnDelivery = Callable[["Delivered"], None]
OnConfirm = Callable[[int, bool, bool], None]
"""(tag, whether all before it are meant, too, whether the broker has taken it)"""


class Delivered:
    """A message that the broker has delivered. Its names are aio-pika's."""

    __slots__ = ("_lane", "_properties", "body", "redelivered", "tag")

    def __init__(
        self, lane: "Lane", tag: int, redelivered: bool, properties: Properties, body: bytes
    ) -> None:
        self._lane = lane
        self._properties = properties
        self.body = body
        self.redelivered = redelivered
        self.tag = tag

    @property
    def headers(self) -> dict[str, Any]:
        return self._properties.headers or {}

    def __getattr__(self, name: str) -> Any:
        """``correlation_id``, ``reply_to``, ``user_id`` …: AMQP's names of the properties."""
        return getattr(self._properties, name)

    def ack(self) -> None:
        self._lane.ack(self.tag)

    def reject(self, *, requeue: bool) -> None:
        self._lane.reject(self.tag, requeue=requeue)


class Lane:
    """The messages of one channel. It is lost with its channel, which aio-pika tells.

    What is written goes out at the end of this turn of the event loop, or with ``flush``; what is
    written to a connection that is lost goes nowhere.
    """

    def __init__(self, channel: int, frame_max: int, transport: asyncio.WriteTransport) -> None:
        self.on_delivery: OnDelivery = _ignore
        self.on_confirm: OnConfirm = _ignore
        self.on_return: Callable[[Properties], None] = _ignore
        """Called before the confirm of a message for which there is no queue."""
        self._channel = channel
        self._frame_max = frame_max
        self._transport = transport
        self._written: list[bytes] = []
        self._acked = Acknowledgements(channel)
        self._flush_is_due = False
        self._method = b""
        self._size = 0
        self._properties = Properties()
        self._body: list[bytes] = []

    def publish(
        self, queue: str, properties: Properties, body: bytes, *, mandatory: bool = False
    ) -> None:
        """Raises ``ValueError`` for properties that cannot be written."""
        self._write(
            frames.publish(
                self._channel,
                queue,
                properties,
                body,
                mandatory=mandatory,
                frame_max=self._frame_max,
            )
        )

    def ack(self, tag: int) -> None:
        """All that was published before gets there before."""
        self._acked.add(tag)
        self._flush_soon()

    def reject(self, tag: int, *, requeue: bool) -> None:
        self._acked.leave_out(tag)
        self._write(frames.reject(self._channel, tag, requeue=requeue))

    def flush(self) -> None:
        """Write now what waits to be written: first the messages, and then the acknowledgements."""
        self._flush_is_due = False
        self._written.extend(self._acked.take())
        written, self._written = b"".join(self._written), []
        if written and not self._transport.is_closing():
            self._transport.write(written)

    def _write(self, written: bytes) -> None:
        self._written.append(written)
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._flush_is_due:
            self._flush_is_due = True
            asyncio.get_running_loop().call_soon(self.flush)

    def take(self, kind: int, payload: bytes) -> bool:
        """Whether a frame that the broker has sent on this channel is ours."""
        if kind == frames.METHOD:
            return self._take_method(payload)
        if not self._method:  # the content of an answer to aio-pika, to basic.get
            return False
        if kind == frames.HEADER:
            self._size, self._properties = read_properties(payload)
        else:
            self._body.append(payload)
            self._size -= len(payload)
        if self._size <= 0:
            self._complete()
        return True

    def _take_method(self, payload: bytes) -> bool:
        match payload[:4]:
            case frames.DELIVER | frames.RETURN:
                self._method = payload
            case frames.ACK | frames.NACK as name:
                self.on_confirm(*frames.confirm(payload), name == frames.ACK)
            case _:
                return False
        return True

    def _complete(self) -> None:
        method, self._method = self._method, b""
        body, self._body = b"".join(self._body), []
        if method.startswith(frames.RETURN):
            self.on_return(self._properties)
        else:
            tag, redelivered = frames.delivery(method)
            self.on_delivery(Delivered(self, tag, redelivered, self._properties, body))


class Acknowledgements:
    """Of one channel: as few frames as say the same.

    Deliveries are numbered from 1. Once all up to one are acknowledged, one frame says it of all.
    """

    def __init__(self, channel: int) -> None:
        self._channel = channel
        self._next = 1
        """The first delivery that may not be acknowledged yet."""
        self._new: list[int] = []
        self._settled: set[int] = set()
        """From there on, those that are, or were rejected, and the broker knows it."""

    def add(self, tag: int) -> None:
        self._new.append(tag)

    def leave_out(self, tag: int) -> None:
        self._settled.add(tag)

    def take(self) -> list[bytes]:
        """The frames for what is new."""
        if not self._new:
            return []
        new, self._new = set(self._new), []
        last = 0
        while self._next in new or self._next in self._settled:
            if self._next in new:
                last = self._next
            self._settled.discard(self._next)
            self._next += 1
        single = sorted(tag for tag in new if tag >= self._next)
        self._settled.update(single)
        together = [frames.acknowledge(self._channel, last, multiple=True)] if last else []
        return together + [frames.acknowledge(self._channel, tag, multiple=False) for tag in single]


class Tap(asyncio.StreamReader):
    """What aiormq reads from, without the frames that lanes take."""

    def __init__(self) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self.lanes: dict[int, Lane] = {}
        self._rest = b""
        self._shown_at = 0.0

    def feed_data(self, data: bytes) -> None:  # type: ignore[override]
        """What the socket has received. Only whole frames are passed on."""
        if self._rest:
            data = self._rest + data
        at = passed = 0
        left: list[bytes] = []
        while len(data) - at >= frames.OVERHEAD:
            kind, channel, length = frames.START.unpack_from(data, at)
            end = at + frames.OVERHEAD + length
            if end > len(data):
                break
            lane = self.lanes.get(channel)
            if lane is not None and lane.take(kind, data[at + frames.START.size : end - 1]):
                left.append(data[passed:at])
                passed = end
            at = end
        left.append(data[passed:at])
        self._rest = data[at:]
        self._pass_on(b"".join(left), is_busy=passed > 0)

    def _pass_on(self, data: bytes, *, is_busy: bool) -> None:
        now = asyncio.get_running_loop().time()
        if is_busy and not data and now - self._shown_at > HEARTBEAT_AFTER:
            data, self._shown_at = frames.AN_HEARTBEAT, now
        if data:
            super().feed_data(data)

    def feed_eof(self) -> None:
        if self._rest:
            super().feed_data(self._rest)
        super().feed_eof()


class Tapped(TransportFactory):
    """Connects as aiormq does, with a tap."""

    def __init__(self) -> None:
        self.tap: Tap
        self._transport: asyncio.Transport

    async def create(
        self, url: URL, **options: Any
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = options.pop("ssl_context_provider")
        tls = await context.get_context() if url.scheme == "amqps" else None
        loop = asyncio.get_running_loop()
        self.tap = Tap()
        protocol = asyncio.StreamReaderProtocol(self.tap, loop=loop)
        try:
            self._transport, _ = await loop.create_connection(
                lambda: protocol, url.host or "", url.port or 0, ssl=tls, **options
            )
        except OSError as error:
            raise AMQPConnectionError(*error.args) from error
        return self.tap, asyncio.StreamWriter(self._transport, protocol, self.tap, loop)

    def lane(self, channel: int, frame_max: int) -> Lane:
        """From now on, this channel's messages are the lane's."""
        lane = self.tap.lanes[channel] = Lane(channel, frame_max, self._transport)
        return lane


def _ignore(*_: object) -> None:
    """Of what comes before its owner listens, there is nothing."""
