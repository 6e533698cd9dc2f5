"""``lab.faults.messages``: a message that is lost, late, doubled, or broken on its way.

A worker that obeys does it, right after the broker has delivered a request, or right before a reply
is published. So it happens to one certain message, and to nothing else on the line.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import aio_pika

from labkit.errors import FaultImpossible
from labkit.faults.at_step.armed import ArmedFault
from labkit.faults.at_step.orders import Orders
from labkit.faults.fault import Fault, Journal
from server.contract.connection import connect
from server.contract.topology import REQUESTS

Kind = Literal["request", "reply"]


@dataclass(frozen=True)
class Poison:
    """A message that cannot be worked on."""

    body: bytes
    properties: Mapping[str, Any]


POISONS: Mapping[str, Poison] = {
    "no JSON": Poison(b"no JSON", {}),
    "cut": Poison(b'{"id": "poison", "version": "v1"', {}),
    "no UTF-8": Poison(b"\xff\xfe\x00", {}),
    "another content type": Poison(b"{}", {"content_type": "text/xml"}),
    "replies to the server": Poison(
        b'{"id": "poison", "version": "v1", "action": "ping"}', {"reply_to": REQUESTS}
    ),
    "deep": Poison(b"[" * 100_000, {}),
}


class Messages:
    """What can happen to a message of one lab, on the virtual host at ``amqp_url``.

    Each waits for the next message of its kind, or for that of ``request_id``, happens to it once,
    and returns at once: ``await fault.reached()`` when it has to have happened.
    """

    def __init__(
        self, orders: Orders, journal: Journal, amqp_url: str, chance: random.Random
    ) -> None:
        self._orders = orders
        self._journal = journal
        self._amqp_url = amqp_url
        self._chance = chance

    async def drop(self, kind: Kind, *, request_id: str | None = None) -> ArmedFault:
        """It is gone, though the broker had taken it. The ledger counts such a request as dropped:
        no retry of the server helps then, only one of the client.
        """
        return self._order("drop", kind, request_id)

    async def duplicate(self, kind: Kind, *, request_id: str | None = None) -> ArmedFault:
        """It comes twice."""
        return self._order("duplicate", kind, request_id)

    async def delay(
        self, kind: Kind, seconds: float, *, request_id: str | None = None
    ) -> ArmedFault:
        """It comes later, and those behind it overtake it."""
        return self._order("delay", kind, request_id, seconds)

    async def corrupt(self, kind: Kind, *, request_id: str | None = None) -> ArmedFault:
        """It comes without its end; chance decides how much is missing."""
        return self._order("corrupt", kind, request_id)

    def _order(
        self, what: str, kind: str, request_id: str | None, seconds: float = 0.0
    ) -> ArmedFault:
        if kind not in ("request", "reply"):
            raise FaultImpossible(f"There is no message {kind!r}. Choose one of: request, reply.")
        return self._orders.to_message(what, kind, request_id, seconds, self._chance.random())

    async def poison(self, kind: str | None = None, *, request_id: str | None = None) -> Fault:
        """A message that cannot be worked on goes into ``api.requests``: one of ``POISONS``."""
        kind = kind or self._chance.choice(list(POISONS))
        if kind not in POISONS:
            raise FaultImpossible(
                f"There is no poison {kind!r}. Choose one of: {', '.join(POISONS)}."
            )
        poison = POISONS[kind]
        async with await connect(self._amqp_url) as connection:
            channel = await connection.channel()
            properties = {"reply_to": "nobody", "correlation_id": request_id, **poison.properties}
            message = aio_pika.Message(poison.body, **properties)
            await channel.default_exchange.publish(message, REQUESTS)
        return self._journal.at_once(f"poison: {kind}", REQUESTS)

    @property
    def dropped(self) -> list[str]:
        """Ids of the requests that were dropped."""
        faults = [f for f in self._journal.faults if f.name == "drop request" and f.happened()]
        return [str(f.request_id) for f in faults if isinstance(f, ArmedFault)]
