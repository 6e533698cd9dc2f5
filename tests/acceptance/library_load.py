"""A few hundred requests of all kinds: what a library is used for, by several at a time."""

import asyncio
from contextlib import suppress
from typing import Any

import aio_pika

from labkit import Lab, Ledger
from labkit.client.caller import Caller
from server.contract.errors import ApiError
from server.contract.topology import REQUESTS

CLIENTS = 3
CALL_TIMEOUT = 1.5
"""Seconds: what is answered at all is answered in a fraction of that."""

Data = dict[str, Any]


class Reader:
    """One client, who asks for one thing after the other."""

    def __init__(self, client: Caller, name: str) -> None:
        self._client = client
        self._name = name
        self._books: list[int] = []

    async def round(self, number: int) -> None:
        name = f"{self._name} {number}"
        await self._version_1(name)
        await self._version_2(name)

    async def _version_1(self, name: str) -> None:
        if self._books:
            gone = {"id": self._books.pop(0)}
            for action in ("delete_book", "get_book", "delete_book"):
                await self._ask(action, gone)
        book = {"title": name, "author": "A", "year": 1900}
        made = await self._ask("create_book", book, key=name)
        await self._ask("create_book", book, key=name)
        await self._ask("create_book", {"title": f"{name} again", "author": "A"})
        row_id = (made or {}).get("id", 1)
        self._books.append(row_id)
        for changes in ({"year": 1950}, {"isbn": name[:20]}, {"title": f"{name} b", "author": "B"}):
            await self._ask("update_book", {"id": row_id, **changes}, key=f"{name} {changes}")
            await self._ask("get_book", {"id": row_id})
        await self._pages("get_books", "v1", {"limit": 3})
        await self._ask("update_book", {"id": 10**9, "year": 1})

    async def _version_2(self, name: str) -> None:
        author = await self._ask("create_author", {"name": name}, "v2", name)
        by = {"author_id": (author or {}).get("id", 1)}
        for genre in ("novel", "poem"):
            book = {"title": f"{genre} {name}", "genre": genre, "year": 1800, **by}
            made = await self._ask("create_book", book, "v2", f"{name} {genre}") or {"id": 1}
            await self._ask("update_book", {"id": made.get("id", 1), "year": 1850}, "v2")
            await self._ask("get_book", {"id": made.get("id", 1)}, "v2")
        for filters in ({"genre": "poem"}, {"title": "novel", "sort": "-title"}, {"author": name}):
            await self._pages("get_books", "v2", {"limit": 3, **filters})
        await self._ask("delete_author", {"id": by["author_id"]}, "v2", f"{name} no")
        await self._pages("get_authors", "v2", {"limit": 3})

    async def _pages(self, action: str, version: str, data: Data) -> None:
        """The first three."""
        cursor = None
        for _ in range(3):
            page = await self._ask(action, data | {"cursor": cursor}, version)
            if (cursor := (page or {}).get("next")) is None:
                return

    async def _ask(
        self, action: str, data: Data, version: str = "v1", key: str | None = None
    ) -> Any:
        """None for what was not answered ok."""
        with suppress(ApiError):
            return await self._client.call(
                action, data, version=version, idempotency_key=key, timeout=CALL_TIMEOUT
            )
        return None


async def send_poison(lab: Lab, ledger: Ledger, count: int) -> None:
    """Confirmed by the broker."""
    async with await aio_pika.connect(lab.amqp_url) as connection:
        channel = await connection.channel()
        replies = await channel.declare_queue(exclusive=True)
        for number in range(count):
            name = f"poison {number}"
            message = aio_pika.Message(
                b"no JSON", correlation_id=name, message_id=name, reply_to=replies.name
            )
            await channel.default_exchange.publish(message, REQUESTS)
            ledger.poison(name)


async def use(lab: Lab, ledger: Ledger, rounds: int = 2) -> None:
    """Everything that a library is used for; about a hundred requests in each round."""
    await ledger.begin()
    readers = [Reader(ledger.watch(await lab.client()), f"reader {n}") for n in range(CLIENTS)]
    await send_poison(lab, ledger, 6)
    for number in range(rounds):
        await asyncio.gather(*(reader.round(number) for reader in readers))
