"""``lab.faults.network``: what can go wrong on the lines of a private lab.

notebook ──client-broker──► broker ◄──worker-broker── worker ──worker-database──► database
"""

import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field

from labkit.errors import FaultImpossible
from labkit.faults.fault import Fault, Journal, NotReached
from labkit.faults.network.connection import Direction
from labkit.faults.network.proxy import Proxy
from labkit.faults.network.tripwire import Tripwire


class Network:
    """``proxies`` has one for each link: ``client-broker``, ``worker-broker``, ``worker-database``.
    Healing a fault heals all that its link suffers from.

    Each method raises ``FaultImpossible`` for another link, and in a lab that is not private.
    """

    def __init__(self, proxies: Mapping[str, Proxy], journal: Journal) -> None:
        self._proxies = proxies
        self._journal = journal

    async def latency(
        self, link: str, seconds: float, jitter: float = 0.0, direction: Direction | None = None
    ) -> Fault:
        """Everything takes ``seconds`` longer in each direction, plus or minus up to ``jitter``."""
        proxy = self._proxy(link)
        return await self._ail("latency", proxy, proxy.latency(seconds, jitter, direction))

    async def bandwidth(
        self, link: str, bytes_per_second: float, direction: Direction | None = None
    ) -> Fault:
        """No more than that many bytes a second in each direction."""
        proxy = self._proxy(link)
        return await self._ail("bandwidth", proxy, proxy.bandwidth(bytes_per_second, direction))

    async def black_hole(self, link: str, direction: Direction | None = None) -> Fault:
        """A cut cable: data vanishes without a sign. Only silence shows it."""
        proxy = self._proxy(link)
        return await self._ail("black hole", proxy, proxy.black_hole(direction))

    async def reset(self, link: str, *, once: bool = False) -> Fault:
        """An RST to both ends of all connections: both know at once. New ones are refused
        until it is healed, unless it is only ``once``.
        """
        proxy = self._proxy(link)
        if not once:
            return await self._ail("reset", proxy, proxy.reset())
        await proxy.reset(once=True)
        return self._journal.at_once("reset", link)

    async def half_close(self, link: str, direction: Direction = "to client") -> Fault:
        """The receiver in this direction learns that no more will come; the other direction
        goes on. Healing cuts what is only half a connection.
        """
        proxy = self._proxy(link)
        return await self._ail("half close", proxy, proxy.half_close(direction))

    async def cut_after(
        self, link: str, pattern: bytes, direction: Direction = "to server"
    ) -> "Cut":
        """The first connection over which these bytes go is cut: they arrive, the answer does not.

        ``("worker-database", b"COMMIT;")`` is the commit of which it cannot be known whether it was
        done.
        """
        proxy = self._proxy(link)
        tripwire = await proxy.cut_after(pattern, direction)
        cut = Cut("cut", link, proxy.heal, at=None, tripwire=tripwire)
        self._journal.note(cut)
        return cut

    async def _ail(self, name: str, proxy: Proxy, begin: Awaitable[None]) -> Fault:
        await begin
        return self._journal.note(Fault(name, proxy.name, proxy.heal))

    def _proxy(self, link: str) -> Proxy:
        if link in self._proxies:
            return self._proxies[link]
        if not self._proxies:
            raise FaultImpossible(
                "The network of this lab is others' too: open it with private=True, and it gets "
                "lines of its own."
            )
        raise FaultImpossible(
            f"There is no link {link!r}. Choose one of: {', '.join(self._proxies)}."
        )


@dataclass
class Cut(Fault):
    """``at`` is None until the bytes have gone over the line. Healing before that takes it back."""

    tripwire: Tripwire = field(default=None, repr=False)  # type: ignore[assignment]

    def happened(self) -> bool:
        if self.at is None and self.tripwire.has_tripped():
            self.at = self.healed = time.time()
        return self.at is not None

    async def reached(self, within: float = 10.0) -> None:
        """Returns when the line is cut. Raises ``NotReached`` after ``within`` seconds."""
        try:
            await self.tripwire.tripped(within)
        except TimeoutError:
            raise NotReached(f"{self.name}: nothing like this went over {self.target}.") from None
        self.happened()
