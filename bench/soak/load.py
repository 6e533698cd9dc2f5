"""What four clients ask for: reads and writes of both versions, duplicates, and poison.

Poison, too, is written down in the ledger.
"""

import asyncio
import itertools
import random
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import aio_pika
from aio_pika import DeliveryMode

from labkit import Ledger
from labkit.client.caller import Caller
from labkit.faults.messages import POISONS
from server.contract.connection import connect
from server.contract.errors import ApiError
from server.contract.topology import REQUESTS

PER_SECOND = 25.0
"""Calls that one client begins in a second, on average."""
IN_FLIGHT = 32
"""Calls of one client that wait at a time: while nothing is answered, not more is asked."""
TIMEOUTS = (1.0, 5.0, 30.0, 30.0)
"""Seconds that callers wait: some give up soon, some wait for a broker that is being restarted."""
TURNS_THE_PAGE = 0.5
"""Part of the lists that have a page after this one."""
DUPLICATES, POISON = 0.10, 0.02
"""Parts of all calls."""
CALL_TIMEOUT = 30.0
"""Seconds until a broker has confirmed a message."""
AGAIN = 3
"""How often a caller who does not know the outcome asks again, with the same key."""
REMEMBERED = 500
"""Rows that a client may still change, read or delete; older ones it forgets."""

Data = dict[str, Any]


@dataclass(frozen=True)
class Ask:
    """One thing to be done."""

    action: str
    version: str
    data: Data
    key: str | None = None


@dataclass
class Shelf:
    """Ids of rows that are there, as far as their maker knows."""

    books_v1: deque[int] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    books_v2: deque[int] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    authors: deque[int] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def of(self, version: str, noun: str) -> deque[int]:
        if noun == "author":
            return self.authors
        return self.books_v1 if version == "v1" else self.books_v2


class Mix:
    """An endless, seeded sequence of things to ask for."""

    def __init__(self, name: str, dice: random.Random, shelf: Shelf) -> None:
        self._name = name
        self._dice = dice
        self._shelf = shelf
        self._numbers = itertools.count(1)

    def next(self) -> Ask:
        version, noun = self._dice.choice([("v1", "book"), ("v2", "book"), ("v2", "author")])
        known = self._shelf.of(version, noun)
        verbs: list[Callable[[str, str, deque[int]], Ask]]
        verbs = [self._create, self._update, self._delete, self._get, self._list]
        verb = self._dice.choices(verbs, weights=[35, 25, 10, 20, 10])[0] if known else self._create
        return verb(version, noun, known)

    def _create(self, version: str, noun: str, known: deque[int]) -> Ask:
        name = self._new_name()
        if noun == "author":
            return Ask("create_author", version, {"name": name, "country": "UK"}, name)
        if version == "v1":
            return Ask("create_book", version, {"title": name, "author": "Nobody"}, name)
        author = self._dice.choice(self._authors)
        return Ask("create_book", version, {"title": name, "author_id": author}, name)

    def _update(self, version: str, noun: str, known: deque[int]) -> Ask:
        name = self._new_name()
        field_name = "name" if noun == "author" else "title"
        data = {"id": self._dice.choice(known), field_name: name}
        return Ask(f"update_{noun}", version, data, name)

    def _delete(self, version: str, noun: str, known: deque[int]) -> Ask:
        row_id = self._dice.choice(known)
        return Ask(f"delete_{noun}", version, {"id": row_id}, self._new_name())

    def _get(self, version: str, noun: str, known: deque[int]) -> Ask:
        return Ask(f"get_{noun}", version, {"id": self._dice.choice(known)})

    def _list(self, version: str, noun: str, known: deque[int]) -> Ask:
        data: Data = {"limit": 10}
        if (version, noun) == ("v2", "book"):
            filters: list[Data] = [{}, {"sort": "-id"}, {"sort": "title"}]
            data |= self._dice.choice([*filters, {"author_id": self._dice.choice(self._authors)}])
        return Ask(f"get_{noun}s", version, data)

    @property
    def _authors(self) -> Sequence[int]:
        return self._shelf.authors or [1]

    def _new_name(self) -> str:
        return f"{self._name} {next(self._numbers)}"


class Client:
    """Asks at its own pace, whether it is answered or not; who does not know asks again."""

    def __init__(
        self, number: int, callers: list[Caller], amqp_url: str, ledger: Ledger, seed: str
    ) -> None:
        """``callers`` are those of all clients: a duplicate may come over another connection."""
        self._ledger = ledger
        self._poisons = (f"poison {seed}.{number}.{n}" for n in itertools.count(1))
        self._mine = callers[number]
        self._callers = callers
        self._amqp_url = amqp_url
        self._dice = random.Random(f"{seed} client {number}")  # noqa: S311  (no secret)
        self._shelf = Shelf()
        self._mix = Mix(f"{seed}.{number}", self._dice, self._shelf)
        self._calls: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop`` is set, and every call has ended."""
        while not stop.is_set():
            await asyncio.sleep(self._dice.expovariate(PER_SECOND))
            if len(self._calls) < IN_FLIGHT:
                task = asyncio.create_task(self._one())
                self._calls.add(task)
                task.add_done_callback(self._calls.discard)
        await asyncio.gather(*self._calls)

    async def _one(self) -> None:
        luck = self._dice.random()
        if luck < POISON:
            await send_poison(self._amqp_url, self._dice, self._ledger, next(self._poisons))
            return
        ask = self._mix.next()
        if luck > POISON + DUPLICATES:
            await self._ask(self._mine, ask)
        elif self._dice.random() < 0.5:
            await asyncio.gather(self._ask(self._mine, ask), self._ask(self._other(), ask))
        else:
            await self._ask(self._mine, ask)
            await self._ask(self._other(), ask)

    def _other(self) -> Caller:
        return self._dice.choice(self._callers)

    async def _ask(self, caller: Caller, ask: Ask) -> None:
        patience = self._dice.choice(TIMEOUTS)
        for _ in range(AGAIN):
            try:
                data = await caller.call(
                    ask.action,
                    ask.data,
                    version=ask.version,
                    idempotency_key=ask.key,
                    timeout=patience,
                )
            except ApiError as error:
                if error.is_definite:
                    return
            else:
                self._learn(ask, data)
                if self._dice.random() < TURNS_THE_PAGE and (following := _next(data)) is not None:
                    await self._ask(caller, replace(ask, data=ask.data | {"cursor": following}))
                return

    def _learn(self, ask: Ask, data: Data) -> None:
        verb, _, noun = ask.action.partition("_")
        known = self._shelf.of(ask.version, noun)
        if verb == "create" and data["id"] not in known:
            known.append(data["id"])
        elif verb == "delete" and data["id"] in known:
            known.remove(data["id"])


def _next(data: Data) -> str | None:
    """The cursor of the page after this one, if it is one."""
    return data.get("next")


async def send_poison(amqp_url: str, dice: random.Random, ledger: Ledger, name: str) -> None:
    """One message that cannot be worked on; none if the broker is away just now.

    The ledger has it, and looks for it in the dead letter queue. Without a confirm it may be
    anywhere. What kills each worker that takes it is one of the faults.
    """
    poison = POISONS[dice.choice(list(POISONS))]
    properties = {"reply_to": "nobody", "correlation_id": name, **poison.properties}
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
