"""Exercises of ``06_retries_and_dead_letters``."""

import asyncio
import json
from typing import Any, ClassVar

import aio_pika
import pandas as pd

from labkit import deadline
from labkit.database import connect
from labkit.exercises.exercise import Assessment, Exercise, not_attempted, right, wrong
from labkit.lab import Lab
from labkit.worker_settings import WorkerSettings
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


async def dead_lettered(lab: Lab, books: dict[str, dict[str, Any]], keys: dict[str, str]) -> None:
    """A letter for each: requests to create these, by id, whose clients forgot ``reply_to``."""
    async with await aio_pika.connect(lab.amqp_url) as connection:
        channel = await connection.channel()
        for id, book in books.items():
            request: dict[str, Any] = {"id": id, "version": "v1", "action": "create_book"}
            request |= {"data": book, "auth": lab.api_key, "idempotency_key": keys[id]}
            message = aio_pika.Message(json.dumps(request).encode(), correlation_id=id)
            await channel.default_exchange.publish(message, REQUESTS)
    async with deadline.within(20, f"the letters did not arrive in {DEAD_LETTERS}."):
        while (await lab.queues())["ready"].get(DEAD_LETTERS, 0) < len(books):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


class FourLetters(Exercise):
    """In api.dlq are four letters: *Dune* twice, for its client was impatient, *Emma*, and
    *Ulysses*, whose client wrote the year in words. Have all three books in the library, once
    each, Ulysses with the year 1922, and no letter left: by these very requests, not by others.
    """

    title = "Four letters"
    stars, minutes = 3, 8
    tips = (
        "`dead.replay()` says of each letter what became of it.",
        "What was refused stays, and says why in `dead.list()`.",
        "`dead.edit(id, data=...)` sends a letter's request with other data.",
    )

    async def prepare(self) -> None:
        """The letters are there, dead-lettered by the lab's server, and nothing else is."""
        await dead_lettered(self.lab, dict(LETTERS), KEYS)

    async def _letters(self) -> int:
        return await self.ready(DEAD_LETTERS)

    async def look(self) -> Assessment:
        books, letters = await self.lab.rows("books_v1"), await self._letters()
        if books.empty:
            return _nothing_done(letters)
        counts = books["title"].value_counts()
        if (counts > 1).any():
            return wrong(f"{counts.idxmax()} is there {counts.max()} times: under how many keys?")
        if letters:
            left = (await self.lab.dead_letters.list())[["id", "error"]].to_numpy().tolist()
            return wrong("In the dead letter queue there is still: " + _listed(left))
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
        if missing := ", ".join(sorted(UNCHANGED - await _done(self.lab))):
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


def _listed(letters: list[list[str]]) -> str:
    return ", ".join(f"{id} ({error})" for id, error in letters)


async def _done(lab: Lab) -> set[str]:
    """Ids of the requests that have made something."""
    keys = await lab.rows("idempotency_keys")
    return set(keys.loc[keys["resource_type"] == BY_REQUEST_ID, "key"])


class OneLetter(Exercise):
    """In api.dlq are three letters: *dune*, *emma* and *ulysses*. Replay *emma*, and only *emma*:
    her book has to be there, and the other two letters, too.
    """

    title = "Just one letter"
    stars, minutes = 1, 2
    tips = (
        "`dead.list()` shows their ids, and `dead.replay` takes what selects some of them.",
        "By `ids`, `error`, `action` …: `dead.replay(ids=['...'])`.",
    )

    async def prepare(self) -> None:
        books = {"dune": DUNE, "emma": EMMA, "ulysses": ULYSSES}
        await dead_lettered(self.lab, books, {id: f"make-{id}" for id in books})

    async def look(self) -> Assessment:
        titles = (await self.lab.rows("books_v1"))["title"].tolist()
        letters = sorted((await self.lab.dead_letters.list())["id"])
        if not titles and len(letters) == 3:
            return not_attempted("Three letters are in api.dlq, and there is no book.")
        if titles != ["Emma"]:
            return wrong(f"The library has {titles}. `await exercise.begin()`, once more.")
        if letters != ["dune", "ulysses"]:
            return wrong(f"Emma is there; but the letters left are {letters}: was it replayed?")
        if "emma" not in await _done(self.lab):
            return wrong(
                "Emma is there, but not by the request of her letter, which is gone: its caller "
                "still waits. `await exercise.begin()`, once more, and replay."
            )
        return right("One letter is done, and two wait for a decision.")

    async def answer(self) -> None:
        await self.lab.dead_letters.replay(ids=["emma"])


class TheCause(Exercise):
    """Someone has forbidden all books by Jane Austen: the table `books_v1` has a constraint
    `censorship`. Three requests have ended in api.dlq because of it. Remove the **cause**, and have
    the three books made by the requests that are there.
    """

    title = "Fix the cause, not the letters"
    stars, minutes = 2, 6
    settings: ClassVar[WorkerSettings] = {"retry_delays": "0.1"}
    tips = (
        "`dead.groups()` shows that they have one cause. The constraint goes with SQL.",
        "`asyncpg.connect(lab.database_url)`, and `ALTER TABLE books_v1 DROP CONSTRAINT "
        "censorship`. Then replay.",
    )

    async def prepare(self) -> None:
        await self._sql(f"ALTER TABLE books_v1 ADD {RULE}")
        client = await self.lab.client()
        books = [{"title": title, "author": "Jane Austen"} for title in AUSTEN]
        ids = [title.lower() for title in AUSTEN]
        calls = (
            client.request("create_book", b, request_id=i) for b, i in zip(books, ids, strict=True)
        )
        await asyncio.gather(*calls)

    async def _sql(self, statement: str) -> None:
        connection = await connect(self.lab.database_url)
        await connection.execute(statement)
        await connection.close()

    async def look(self) -> Assessment:
        titles = sorted((await self.lab.rows("books_v1"))["title"])
        letters = await self.ready(DEAD_LETTERS)
        if not titles and letters == 3:
            return not_attempted("Three letters are in api.dlq, and there is no book.")
        if titles != sorted(AUSTEN):
            return wrong(f"There are {titles}, and {letters} letters; three books are wanted.")
        if letters or not {title.lower() for title in AUSTEN} <= await _done(self.lab):
            return wrong(
                "The books are there, but not by the requests of the letters: their callers wait "
                "still. `await exercise.begin()`, once more, and replay."
            )
        return right("One cause removed, three letters done.")

    async def answer(self) -> None:
        import asyncpg

        database = await asyncpg.connect(self.lab.database_url)
        await database.execute("ALTER TABLE books_v1 DROP CONSTRAINT censorship")
        await database.close()
        await self.lab.dead_letters.replay()


RULE = "CONSTRAINT censorship CHECK (author <> 'Jane Austen')"
AUSTEN = ["Emma", "Persuasion", "Sanditon"]


class OneOfThousands(Exercise):
    """In the queue `intake` are 3,000 messages, and exactly one of them is no JSON: poison, which
    kills every consumer that believes in JSON. Move it into a queue named `quarantine`, as it is,
    and leave the other 2,999 in `intake`.
    """

    title = "Poison among thousands"
    stars, minutes, queues = 3, 10, ("quarantine",)
    tips = (
        "A dead letter queue is a queue that you publish to, before you acknowledge the original.",
        "Take them one after the other with `queue.get()` on one channel, keep what is fine "
        "unacknowledged, and close the channel in the end.",
    )

    async def prepare(self) -> None:
        await self.publish("intake", *(NO_JSON if n == 1733 else _order(n) for n in range(3000)))

    async def look(self) -> Assessment:
        queues = await self.lab.queues()
        left = int(queues["ready"]["intake"])
        if held := int(queues["unacked"]["intake"]):
            return wrong(f"A consumer still holds {held} messages of intake: close its channel.")
        if "quarantine" not in queues.index:
            return not_attempted("There is no queue named quarantine.")
        moved = [message.body for message in await self.inside("quarantine")]
        if moved != [NO_JSON]:
            return wrong(f"In quarantine there are {len(moved)} messages; the poison alone should.")
        if left == 3000:
            return wrong("The poison was copied: its original is still in intake.")
        if left != 2999:
            return wrong(f"In intake there are {left} messages, and 2,999 should be.")
        if {message.body for message in await self.inside("intake")} != OTHERS:
            return wrong(
                "In intake there are 2,999 messages, but not those: the poison is still there, or "
                "another one is gone in its place. `await exercise.begin()`, once more."
            )
        return right("One in quarantine, 2,999 where they were.")

    async def answer(self) -> None:
        import json

        import aio_pika

        async with await aio_pika.connect(self.lab.amqp_url) as connection:
            channel = await connection.channel()
            await channel.declare_queue("quarantine", durable=True)
            intake = await channel.get_queue("intake")
            while (message := await intake.get(fail=False)) is not None:
                try:
                    json.loads(message.body)
                except ValueError:
                    copy = aio_pika.Message(message.body)
                    await channel.default_exchange.publish(copy, "quarantine")
                    await message.ack()
            await channel.close()


def _order(number: int) -> bytes:
    return json.dumps({"order": number}).encode()


NO_JSON = b'{"order": 1733'
OTHERS = {_order(number) for number in range(3000) if number != 1733}

EXERCISES = (OneLetter, TheCause, FourLetters, OneOfThousands)
