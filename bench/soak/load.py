"""Clients that carry out their plans. What they ask for is in the ledger, and their poison, too."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import aio_pika
from aio_pika import DeliveryMode

from bench.soak.plan import Ask, Made, Plan, Planned, Twice
from labkit import Ledger
from labkit.client.caller import Caller
from labkit.faults.messages import POISONS
from server.contract.connection import connect
from server.contract.errors import ApiError
from server.contract.topology import REQUESTS

IN_FLIGHT = 32
"""Calls of one client that wait at a time: while nothing is answered, not more is asked."""
CALL_TIMEOUT = 30.0
"""Seconds until a broker has confirmed a message."""
AGAIN = 3
"""How often a caller who does not know the outcome asks again, with the same key."""


class Client:
    """Asks at its own pace, whether it is answered or not; who does not know asks again.

    A call of the plan is left out while too many wait, or its row is not known to be there.
    """

    def __init__(
        self, number: int, callers: list[Caller], amqp_url: str, ledger: Ledger, seed: str
    ) -> None:
        """``callers`` are those of all clients: a duplicate may come over another connection."""
        self._plan: Iterator[Planned] = iter(Plan(f"{seed}.{number}", len(callers)))
        self._name = f"{seed}.{number}"
        self._ledger = ledger
        self._mine = callers[number]
        self._callers = callers
        self._amqp_url = amqp_url
        self._made: dict[int, int] = {}
        """Ids of rows, by the number of the call that made each."""
        self._calls: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop`` is set, and every call has ended."""
        while not stop.is_set():
            planned = next(self._plan)
            await asyncio.sleep(planned.pause)
            if len(self._calls) < IN_FLIGHT:
                task = asyncio.create_task(self._one(planned))
                self._calls.add(task)
                task.add_done_callback(self._calls.discard)
        await asyncio.gather(*self._calls)

    async def _one(self, planned: Planned) -> None:
        if planned.poison is not None:
            name = f"poison {self._name}.{planned.number}"
            await send_poison(self._amqp_url, planned.poison, self._ledger, name)
        elif planned.ask is not None and (ask := self._resolved(planned.ask)) is not None:
            await self._ask_as_often_as_planned(planned, ask)

    async def _ask_as_often_as_planned(self, planned: Planned, ask: Ask) -> None:
        asked = self._ask(self._mine, planned, ask)
        if planned.twice is None:
            await asked
            return
        again = self._ask(self._callers[planned.other], planned, ask)
        if planned.twice is Twice.AT_ONCE:
            await asyncio.gather(asked, again)
        else:
            await asked
            await again

    def _resolved(self, ask: Ask) -> Ask | None:
        """With the ids that the server gave; None if one of them is not known."""
        data = {
            name: self._made.get(value.by) if isinstance(value, Made) else value
            for name, value in ask.data.items()
        }
        return None if None in data.values() else replace(ask, data=data)

    async def _ask(self, caller: Caller, planned: Planned, ask: Ask) -> None:
        for _ in range(AGAIN):
            try:
                data = await caller.call(
                    ask.action,
                    ask.data,
                    version=ask.version,
                    idempotency_key=ask.key,
                    timeout=planned.patience,
                )
            except ApiError as error:
                if error.is_definite:
                    return
            else:
                await self._go_on(caller, planned, ask, data)
                return

    async def _go_on(self, caller: Caller, planned: Planned, ask: Ask, data: Any) -> None:
        """Remember the row that was made, or turn the page."""
        if ask.action.startswith("create_"):
            self._made[planned.number] = data["id"]
        elif ask.pages > 1 and (cursor := data.get("next")) is not None:
            following = replace(ask, data=ask.data | {"cursor": cursor}, pages=ask.pages - 1)
            await self._ask(caller, planned, following)


async def send_poison(amqp_url: str, kind: str, ledger: Ledger, name: str) -> None:
    """One message that cannot be worked on; none if the broker is away just now.

    The ledger has it, and looks for it in the dead letter queue. Without a confirm it may be
    anywhere. What kills each worker that takes it is one of the faults.
    """
    poison = POISONS[kind]
    properties = {"reply_to": "gone", "correlation_id": name, **poison.properties}
    message = aio_pika.Message(
        poison.body, message_id=name, delivery_mode=DeliveryMode.PERSISTENT, **properties
    )
    accepted = False
    with suppress(Exception):  # aiormq raises all kinds when a connection breaks
        async with asyncio.timeout(CALL_TIMEOUT), await connect(amqp_url) as connection:
            channel = await connection.channel()
            await channel.default_exchange.publish(message, REQUESTS)
            accepted = True
    ledger.poison(name, accepted=accepted)
