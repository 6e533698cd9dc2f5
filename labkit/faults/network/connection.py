"""One TCP connection through a proxy: two directions, each with what ails it.

client ──► Pump ──► server
client ◄── Pump ◄── server
"""

import asyncio
import contextlib
import math
import random
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import Literal

from labkit.faults.network.tripwire import Tripwire

CHUNK = 64 * 1024
CHUNKS_UNDER_WAY = 256
"""What may be delayed at a time in one direction; beyond that its sender has to wait."""
LOOKS_AGAIN = 0.02
"""Seconds after which a delay notices that it was healed."""
PIECES_A_SECOND = 20
"""How finely a narrow line passes its bytes on."""

Direction = Literal["to server", "to client"]
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Ailments:
    """What one direction suffers from; seconds, and bytes a second. Changes act at once."""

    latency: float = 0.0
    jitter: float = 0.0
    bandwidth: float = math.inf
    black_hole: bool = False
    tripwires: list[Tripwire] = field(default_factory=list)

    def heal(self) -> None:
        self.latency = self.jitter = 0.0
        self.bandwidth = math.inf
        self.black_hole = False
        self.tripwires.clear()


def reset(writer: asyncio.StreamWriter) -> None:
    """An RST instead of a goodbye; what was not passed on yet is gone."""
    with contextlib.suppress(OSError):
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


class Pump:
    """Passes bytes on in one direction, and in order."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        ailments: Ailments,
        chance: random.Random,
    ) -> None:
        self.lost = False
        """The stream has a hole: reading on would misunderstand everything behind it."""
        self.muted = False
        self.swallowed = asyncio.Event()
        """Something came while it was muted."""
        self.answer: Pump
        """The other direction."""
        self._reader, self._writer = reader, writer
        self._ailments = ailments
        self._chance = chance
        self._tail = b""
        self._under_way: asyncio.Queue[tuple[bytes, float, float]]
        self._under_way = asyncio.Queue(CHUNKS_UNDER_WAY)

    async def run(self) -> None:
        """Until the sender says goodbye. Raises ``OSError`` if one side resets the connection."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read())
            group.create_task(self._write())

    async def _read(self) -> None:
        data = b"first"
        while data:
            try:
                data = await self._reader.read(CHUNK)
            except OSError:
                if not self._ailments.black_hole:
                    raise
                data = b""  # it vanishes as everything does
            await self._under_way.put((data, time.monotonic(), self._chance.uniform(-1, 1)))

    async def _write(self) -> None:
        data = b"first"
        while data:
            data, arrived, chance = await self._under_way.get()
            await self._delay(arrived, chance)
            await (self._pass_on(data) if data else self._goodbye())

    async def _delay(self, arrived: float, chance: float) -> None:
        """The order is kept: who is quicker by chance waits for the one before."""
        while (left := arrived + self._latency(chance) - time.monotonic()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(left, LOOKS_AGAIN))

    def _latency(self, chance: float) -> float:
        return self._ailments.latency + self._ailments.jitter * chance

    async def _goodbye(self) -> None:
        if self._ailments.black_hole:
            self.lost = True
            await asyncio.Event().wait()  # for being cut
        self._writer.write_eof()

    async def _pass_on(self, data: bytes) -> None:
        tripped = self._tripped(data)
        if tripped is not None:
            self.answer.muted = True
        await self._narrowly(data)
        if tripped is not None:
            await tripped.until_answered(self.answer.swallowed)
            reset(self.answer._writer)
            tripped.tell()

    async def _narrowly(self, data: bytes) -> None:
        while data:
            width, piece = self._ailments.bandwidth, data
            if width < math.inf:
                piece = data[: max(1, int(width / PIECES_A_SECOND))]
                await asyncio.sleep(len(piece) / width)
            await self._send(piece)
            data = data[len(piece) :]

    async def _send(self, piece: bytes) -> None:
        if self.muted:
            self.swallowed.set()
        elif self._ailments.black_hole or self.lost:
            self.lost = True
        else:
            self._writer.write(piece)
            await self._writer.drain()

    def _tripped(self, data: bytes) -> Tripwire | None:
        """The pattern may come in two pieces."""
        before, self._tail = self._tail, (self._tail + data)[-Tripwire.LONGEST :]
        if self._ailments.black_hole:
            return None
        for tripwire in self._ailments.tripwires:
            if tripwire.is_in(before, data):
                self._ailments.tripwires.remove(tripwire)
                return tripwire
        return None

    def close_half(self) -> None:
        """A goodbye that the sender never said: what it still says goes nowhere."""
        self.lost = self.muted = True
        self._writer.write_eof()


class ProxiedConnection:
    """Borrows two open streams; both are closed at its end."""

    def __init__(
        self,
        client: Stream,
        server: Stream,
        ailments: tuple[Ailments, Ailments],
        chance: random.Random,
    ) -> None:
        to_server, to_client = ailments
        self.to_server = Pump(client[0], server[1], to_server, chance)
        self.to_client = Pump(server[0], client[1], to_client, chance)
        self.to_server.answer, self.to_client.answer = self.to_client, self.to_server
        self._writers = (client[1], server[1])
        self._task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Until both sides have said goodbye, or it is cut."""
        self._task = asyncio.current_task()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.to_server.run())
                group.create_task(self.to_client.run())
        except* OSError:
            self._abort()  # one side was reset: the other hears of it in the same way
        finally:
            for writer in self._writers:
                writer.close()

    def pump(self, direction: Direction) -> Pump:
        return self.to_server if direction == "to server" else self.to_client

    @property
    def has_hole(self) -> bool:
        return self.to_server.lost or self.to_client.lost

    def cut(self) -> None:
        """Both sides get an RST."""
        self._abort()
        if self._task is not None:
            self._task.cancel()

    def _abort(self) -> None:
        for writer in self._writers:
            reset(writer)
