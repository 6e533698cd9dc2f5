"""A small TCP proxy that can fall ill: the network between two processes, for breaking it.

It has a thread and an event loop of its own, so that a cell which blocks the notebook does not
stop everybody's network.
"""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

from labkit.closing import in_thread
from labkit.errors import BadArgument
from labkit.faults.network.connection import Direction
from labkit.faults.network.relay import Address, Relay
from labkit.faults.network.tripwire import Tripwire
from labkit.services.ports import LOOPBACK
from server.contract import brokers

Result = TypeVar("Result")


class Proxy:
    """Listens on a free port of the loopback interface and passes everything on to the target; with
    more than one target, the nodes of a cluster, on one port for each.

    The owner that opens it closes it. Its ailments act at once, on open connections too, add up,
    and last until they are healed. Without a ``direction`` they are those of both. Every method may
    be called from any event loop.
    """

    def __init__(self, name: str, *targets: Address, seed: int = 0) -> None:
        """``seed`` decides the jitter: connection by connection it is the same again."""
        self.name = name
        self.ports: list[int] = []
        """One for each target, once it is open."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name=f"proxy {name}", daemon=True
        )
        self._relay = Relay(targets, seed)

    async def open(self) -> Self:
        self._thread.start()
        listening = asyncio.run_coroutine_threadsafe(self._relay.listen(), self._loop)
        self.ports = await in_thread(listening.result)
        return self

    async def close(self) -> None:
        """Cuts every connection. Closing twice is harmless."""
        await in_thread(self._end)

    def _end(self) -> None:
        if self._thread.is_alive():
            try:
                asyncio.run_coroutine_threadsafe(self._relay.stop(), self._loop).result()
            finally:
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._thread.join()
        self._loop.close()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def through(self, url: str) -> str:
        """The same URL, with the proxy's address instead of the target's; each, where the URL names
        as many brokers as there are targets.
        """
        addresses = zip(brokers.each(url), self.ports, strict=True)
        return ",".join(_at_port(address, port) for address, port in addresses)

    async def connections(self) -> int:
        """How many are open now."""
        return len(self._relay.connections)

    async def latency(
        self, seconds: float, jitter: float = 0.0, direction: Direction | None = None
    ) -> None:
        """Everything takes ``seconds`` longer in each direction, plus or minus up to ``jitter``.
        The order is kept, as TCP keeps it.
        """
        await self._in_thread(self._relay.change(direction, latency=seconds, jitter=jitter))

    async def bandwidth(self, bytes_per_second: float, direction: Direction | None = None) -> None:
        if bytes_per_second <= 0:
            raise BadArgument("No bytes per second is a black hole: black_hole().")
        await self._in_thread(self._relay.change(direction, bandwidth=bytes_per_second))

    async def black_hole(self, direction: Direction | None = None) -> None:
        """A cut cable: data vanishes without a sign, connections stay open, new ones are silent.

        What vanished never arrives. So a connection that lost something is cut by ``heal``.
        """
        await self._in_thread(self._relay.change(direction, black_hole=True))

    async def reset(self, *, once: bool = False) -> None:
        """An RST to both ends of all connections; and to new ones, unless it is only ``once``."""
        await self._in_thread(self._relay.reset(once))

    async def half_close(self, direction: Direction = "to client") -> None:
        """The receiver in this direction learns that no more will come (FIN); the other direction
        goes on. Connections that are opened later are well.
        """
        await self._in_thread(self._relay.half_close(direction))

    async def cut_after(self, pattern: bytes, direction: Direction = "to server") -> Tripwire:
        """Cut, once, the first connection over which these bytes go: they arrive; the answer is
        waited for, thrown away, and its receiver gets an RST instead.

        After ``b"COMMIT;"`` to PostgreSQL it is a lost acknowledgement of a commit.
        """
        tripwire = Tripwire(pattern)
        await self._in_thread(self._relay.set_tripwire(direction, tripwire))
        return tripwire

    async def heal(self) -> None:
        """All is well again, and no tripwire is left. Connections that lost something are cut."""
        await self._in_thread(self._relay.heal())

    async def _in_thread(self, work: Coroutine[Any, Any, Result]) -> Result:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))


def _at_port(url: str, port: int) -> str:
    address = urlsplit(url)
    login, at, _ = address.netloc.rpartition("@")
    return urlunsplit(address._replace(netloc=f"{login}{at}{LOOPBACK}:{port}"))
