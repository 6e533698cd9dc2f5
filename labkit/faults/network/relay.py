"""Listens, and passes every connection on to a target, as healthy as its ailments allow."""

import asyncio
import random
from collections.abc import Iterable, Sequence
from functools import partial

from labkit.faults.network.connection import Ailments, Direction, ProxiedConnection, Stream, reset
from labkit.faults.network.tripwire import Tripwire
from labkit.services.ports import LOOPBACK

Address = tuple[str, int]
"""Host and port."""
DIRECTIONS: tuple[Direction, ...] = ("to server", "to client")


class Relay:
    """Lives in one event loop; ``Proxy`` gives it one of its own."""

    def __init__(self, targets: Sequence[Address], seed: int) -> None:
        self._targets = targets
        self.connections: set[ProxiedConnection] = set()
        self._seed = seed
        self._accepted = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._ailments = {direction: Ailments() for direction in DIRECTIONS}
        self._refuses = False
        self._servers: list[asyncio.Server] = []
        self._passable = asyncio.Event()
        self._passable.set()

    async def listen(self) -> list[int]:
        """Returns the port of each target."""
        for target in self._targets:
            accept = partial(self._accept, target)
            self._servers.append(await asyncio.start_server(accept, LOOPBACK, 0))
        return [server.sockets[0].getsockname()[1] for server in self._servers]

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
        self._cut(self.connections)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(
        self, target: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._accepted += 1
        task = asyncio.create_task(self._serve((reader, writer), target, self._accepted))
        self._tasks.add(task)
        task.add_done_callback(partial(self._done, writer))

    def _done(self, writer: asyncio.StreamWriter, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not writer.is_closing():  # it was cancelled before it had begun
            reset(writer)

    async def _serve(self, client: Stream, target: Address, number: int) -> None:
        try:
            server = await self._reach(target)
        except OSError:  # the target's own refusal, too
            reset(client[1])
            return
        except asyncio.CancelledError:
            reset(client[1])
            raise
        chance = random.Random(f"{self._seed} {number}")  # noqa: S311  (it protects nothing)
        ailments = (self._ailments["to server"], self._ailments["to client"])
        connection = ProxiedConnection(client, server, ailments, chance)
        self.connections.add(connection)
        try:
            await connection.run()
        finally:
            self.connections.discard(connection)

    async def _reach(self, target: Address) -> Stream:
        """Raises ``OSError`` if there is no way to it. In a black hole not even a refusal comes
        back.
        """
        if not self._passable.is_set():
            await self._passable.wait()
            raise ConnectionResetError
        if self._refuses:
            raise ConnectionRefusedError
        return await asyncio.open_connection(*target)

    async def change(self, direction: Direction | None, **ailments: float) -> None:
        for each in DIRECTIONS if direction is None else (direction,):
            for name, value in ailments.items():
                setattr(self._ailments[each], name, value)
        if any(each.black_hole for each in self._ailments.values()):
            self._passable.clear()

    async def reset(self, once: bool) -> None:
        self._refuses = not once
        self._cut(self.connections)

    async def half_close(self, direction: Direction) -> None:
        for connection in self.connections:
            connection.pump(direction).close_half()

    async def set_tripwire(self, direction: Direction, tripwire: Tripwire) -> None:
        self._ailments[direction].tripwires.append(tripwire)

    async def heal(self) -> None:
        for each in self._ailments.values():
            each.heal()
        self._refuses = False
        self._passable.set()
        self._cut(connection for connection in self.connections if connection.has_hole)

    def _cut(self, connections: Iterable[ProxiedConnection]) -> None:
        for connection in list(connections):
            connection.cut()
