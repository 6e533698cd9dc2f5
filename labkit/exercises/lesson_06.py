"""Exercises of ``06_retries_and_dead_letters``."""

import asyncio
import json
from typing import Any

import aio_pika
import pandas as pd

from labkit import deadline
from labkit.exercises.exercise import Assessment, Exercise, not_attempted, right, wrong
from server.contract.envelope import BY_REQUEST_ID
from server.contract.topology import DEAD_LETTERS, REQUESTS

DUNE: dict[str, Any] = {"title": "Dune", "author": "Frank Herbert", "year": 1965}
EMMA: dict[str, Any] = {"title": "Emma", "author": "Jane Austen", "year": 1815}
ULYSSES: dict[str, Any] = {"title": "Ulysses", "author": "James Joyce", "year": 1922}
LETTERS = [
    ("dune", DUNE),
    ("dune-again", DUNE),
    ("emma", EMMA),
    ("ulysses", ULYSSES | {"year": "nineteen twenty-two"}),
]
KEYS = {
    "dune": "make-dune",
    "dune-again": "make-dune",
    "emma": "make-emma",
    "ulysses": "make-ulysses",
}
UNCHANGED = {"dune", "dune-again", "emma"}
"""Requests that are done as they are; an edited one is another request."""
WANTED = {"Dune": 1965, "Emma": 1815, "Ulysses": 1922}


class FourLetters(Exercise):
    """In api.dlq are four letters: *Dune* twice, for its client was impatient, *Emma*, and
    *Ulysses*, whose client wrote the year in words. Have all three books in the library, once
    each, Ulysses with the year 1922, and no letter left: by these very requests, not by others.
    """

    tip = (
        "`dead.replay()` tells of each letter what became of it. What was refused stays, and says "
        "why in `dead.list()`; `dead.edit(id, data=...)` sends it with other data."
    )

    async def begin(self) -> None:
        """The letters are there, parked by the lab's server, and nothing else is."""
        await self.lab.reset()
        async with await aio_pika.connect(self.lab.amqp_url) as connection:
            channel = await connection.channel()
            for id, book in LETTERS:
                message = aio_pika.Message(self._request(id, book), correlation_id=id)
                await channel.default_exchange.publish(message, REQUESTS)
        async with deadline.within(20, "the letters did not arrive in api.dlq."):
            while await self._letters() < len(LETTERS):  # noqa: ASYNC110  (no event of ours)
                await asyncio.sleep(0.02)

    def _request(self, id: str, book: dict[str, Any]) -> bytes:
        request: dict[str, Any] = {"id": id, "version": "v1", "action": "create_book", "data": book}
        request |= {"auth": self.lab.api_key, "idempotency_key": KEYS[id]}
        return json.dumps(request).encode()

    async def _letters(self) -> int:
        return int((await self.lab.queues())["ready"].get(DEAD_LETTERS, 0))

    async def look(self) -> Assessment:
        books, letters = await self.lab.rows("books_v1"), await self._letters()
        if books.empty:
            return _nothing_done(letters)
        counts = books["title"].value_counts()
        if (counts > 1).any():
            return wrong(f"{counts.idxmax()} is there {counts.max()} times: under how many keys?")
        if letters:
            left = (await self.lab.dead_letters.list())[["id", "error"]].to_numpy().tolist()
            return wrong("In the dead letter queue there is still: " + _told(left))
        return await self._judge(books)

    async def _judge(self, books: pd.DataFrame) -> Assessment:
        found = dict(books[["title", "year"]].to_numpy().tolist())
        if found != WANTED:
            return wrong(f"No letter is left, and the library has {found}, not {WANTED}.")
        keys = await self.lab.rows("idempotency_keys")
        if missing := ", ".join(sorted(set(KEYS.values()) - set(keys["key"]))):
            return wrong(
                f"Three books, but nothing was done under the keys {missing} of the letters: a "
                "client that asks again makes another book. `await exercise.begin()`, once more."
            )
        done = set(keys.loc[keys["resource_type"] == BY_REQUEST_ID, "key"])
        if missing := ", ".join(sorted(UNCHANGED - done)):
            return wrong(
                f"Three books, but by other requests: those of the letters {missing} were never "
                "done. Their callers still wait. `await exercise.begin()`, once more."
            )
        return right("Four letters, three wishes, three books, and no call is still waiting.")

    async def answer(self) -> None:
        dead = self.lab.dead_letters
        await dead.replay()
        ulysses = {"title": "Ulysses", "author": "James Joyce", "year": 1922}
        await dead.edit("ulysses", data=ulysses)


def _nothing_done(letters: int) -> Assessment:
    if letters < len(LETTERS):
        return wrong(f"No book, and {letters} letters: what was purged? `await exercise.begin()`.")
    return not_attempted("Four letters are in api.dlq, and no book is in books_v1.")


def _told(letters: list[list[str]]) -> str:
    return ", ".join(f"{id} ({error})" for id, error in letters)
