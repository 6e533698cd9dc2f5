"""A connection that is cut at the very moment at which some bytes have got through."""

import asyncio
import contextlib
from concurrent.futures import Future

from labkit import deadline
from labkit.errors import BadArgument

HIT_TIMEOUT = 0.5
"""Seconds that the other side has for its answer, which is then thrown away."""


class Tripwire:
    """Cuts the first connection over which ``pattern`` goes: it arrives, and its answer does not.

    Set with ``Proxy.cut_after``; it belongs to the proxy's thread, but for ``tripped``.
    """

    LONGEST = 256

    def __init__(self, pattern: bytes) -> None:
        if not 0 < len(pattern) <= self.LONGEST:
            raise BadArgument(f"The pattern has {len(pattern)} bytes: 1 to {self.LONGEST} will do.")
        self._pattern = pattern
        self._tripped: Future[None] = Future()

    async def tripped(self, within: float = 10.0) -> None:
        """Returns when the connection is cut. Raises ``NotSettled`` after ``within`` seconds."""
        async with deadline.within(within, "what was to cut the connection never came by."):
            await asyncio.shield(asyncio.wrap_future(self._tripped))

    def has_tripped(self) -> bool:
        return self._tripped.done()

    def is_in(self, before: bytes, data: bytes) -> bool:
        """Whether it ends in ``data``, wherever it begins."""
        overlap = len(self._pattern) - 1
        return self._pattern in before[max(0, len(before) - overlap) :][:overlap] + data

    async def until_answered(self, answered: asyncio.Event) -> None:
        """The answer proves that the other side has done it; not everything has one."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(answered.wait(), HIT_TIMEOUT)

    def tell(self) -> None:
        self._tripped.set_result(None)
