"""What every exercise can do: ``begin()``, ``check()``, ``hint()`` and ``solution()``."""

import asyncio
import inspect
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Self

import aio_pika
import asyncpg
import pandas as pd
from aio_pika.abc import AbstractIncomingMessage

from labkit import database
from labkit.broker.waiting import inside
from labkit.course.record import Record
from labkit.errors import NoSuchTable
from labkit.lab import Lab
from labkit.services.errors import ServiceError
from labkit.worker_settings import WorkerSettings
from server.contract.connection import connect
from server.contract.errors import ApiError

DROPS = """
SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname)
FROM pg_constraint WHERE contype = 'c' AND conrelid::regclass::text LIKE ANY ('{book%,author%}')
"""
"""One statement for each rule on these tables: the server's have none that is called a check."""


@dataclass(frozen=True)
class Assessment:
    """How an exercise stands. A notebook shows it as a line of text."""

    outcome: str
    """``not attempted``, ``wrong``, ``right`` or ``lab broken``."""
    text: str

    _SIGNS: ClassVar[dict[str, str]] = {
        "not attempted": "○ Not attempted yet.",
        "wrong": "✗ Not yet.",
        "right": "✓ Right.",
        "lab broken": "! The lab is broken, not your answer.",
    }

    def __repr__(self) -> str:
        return f"{self._SIGNS[self.outcome]} {self.text}"


def not_attempted(text: str) -> Assessment:
    return Assessment("not attempted", text)


def wrong(text: str) -> Assessment:
    """``text`` says what was seen, and what it probably comes from."""
    return Assessment("wrong", text)


def right(text: str) -> Assessment:
    return Assessment("right", text)


class Exercise(ABC):
    """One question. It looks at what the student's code did to the lab, never at the code.

    A subclass has the question as its docstring, ``tips``, ``look()``, and an ``answer()`` whose
    body is the solution: it is shown to the student, and run by the tests.
    """

    title: ClassVar[str]
    stars: ClassVar[int]
    """How hard it is, from 1 to 3."""
    minutes: ClassVar[int]
    tips: ClassVar[tuple[str, ...]]
    """Each says a little more than the one before."""
    workers: ClassVar[int | None] = 1
    """How many right workers there are at its beginning; None for those that are there."""
    queues: ClassVar[tuple[str, ...]] = ()
    """That the student makes: those of an earlier attempt are deleted at the beginning."""
    exchanges: ClassVar[tuple[str, ...]] = ()
    """The same."""
    settings: ClassVar[WorkerSettings] = {}
    """Of these workers."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._put_at = datetime.now(UTC)
        self._tips_shown = 0

    @classmethod
    def label(cls) -> str:
        """Its name in a student's record: ``01/OneStays``."""
        return f"{cls.__module__[-2:]}/{cls.__name__}"

    async def begin(self) -> Self:
        """Put the question: the lab is open, whole and empty, whatever other cells, and earlier
        attempts, have left there; and what the question speaks of is in it.
        """
        await self.lab.reopen()
        await self.lab.faults.undo()
        if self.workers is not None:
            await self.lab.have_workers(self.workers, **self.settings)
        await self._have_tables()
        await self._drop_added_rules()
        await self._delete_what_was_made()
        await self.lab.reset()
        await self.prepare()
        self._put_at = datetime.now(UTC)
        return self

    async def _have_tables(self) -> None:
        """Also in a lab in which no worker was ever started."""
        try:
            await self.lab.rows("books_v1")
        except NoSuchTable:
            await self.lab.admin("users", "list")

    async def _drop_added_rules(self) -> None:
        """Those that the lesson, or an exercise that was left unsolved, has put on the tables."""
        connection = await database.connect(self.lab.database_url)
        try:
            for (drop,) in await connection.fetch(DROPS):
                await connection.execute(drop)
        finally:
            await connection.close()

    async def _delete_what_was_made(self) -> None:
        async with await connect(self.lab.amqp_url) as connection:
            channel = await connection.channel()
            for queue in self.queues:
                await channel.queue_delete(queue)
            for exchange in self.exchanges:
                await channel.exchange_delete(exchange)

    async def prepare(self) -> None:  # noqa: B027  (most have nothing to prepare)
        """Put what the question speaks of into the empty lab."""

    @property
    def since(self) -> datetime:
        """What happened before is no attempt: when it was put, or the lab emptied after that."""
        emptied = self.lab.emptied_at
        return self._put_at if emptied is None else max(self._put_at, emptied)

    def calls(self, action: str | None = None) -> pd.DataFrame:
        """What the servers logged since, of this action or of all: see ``lab.log``."""
        log = self.lab.log()
        ended = pd.to_datetime(log["time"], utc=True, format="ISO8601")
        return log[(ended > self.since) & ((log["action"] == action) | (action is None))]

    async def publish(self, queue: str, *bodies: bytes, **properties: Any) -> None:
        """Into a new durable queue: one of this name, with those who consume from it, goes."""
        async with await connect(self.lab.amqp_url) as connection:
            channel = await connection.channel()
            await channel.queue_delete(queue)
            await channel.declare_queue(queue, durable=True)
            messages = [aio_pika.Message(body, **properties) for body in bodies]
            await asyncio.gather(*(channel.default_exchange.publish(m, queue) for m in messages))

    async def inside(self, queue: str) -> list[AbstractIncomingMessage]:
        """All messages that wait in it, by their order; they are put back where they were."""
        return await inside(self.lab.amqp_url, queue)

    async def ready(self, queue: str) -> int:
        """How many messages wait in it; 0 if there is no such queue."""
        return int((await self.lab.queues())["ready"].get(queue, 0))

    async def ready_now(self, queue: str) -> int:
        """The same, as the queue itself says; it has to be there."""
        async with await connect(self.lab.amqp_url) as connection:
            channel = await connection.channel()
            declared = await channel.declare_queue(queue, passive=True)
        return declared.declaration_result.message_count or 0

    def __repr__(self) -> str:
        return f"{self._heading()}\n\n{inspect.cleandoc(self.__doc__ or '')}"

    def _repr_markdown_(self) -> str:
        return f"**{self._heading()}**\n\n{inspect.cleandoc(self.__doc__ or '')}"

    def _heading(self) -> str:
        return f"{in_stars(self.stars)} {self.title} · {self.minutes} min"

    @abstractmethod
    async def look(self) -> Assessment:
        """What the lab looks like now."""

    @abstractmethod
    async def answer(self) -> None:
        """A solution."""

    async def check(self) -> Assessment:
        """How it stands, which the student's record keeps."""
        try:
            found = await self.look()
        except (ApiError, ServiceError, OSError, asyncpg.PostgresError) as error:
            again = "Then `await exercise.begin()`."
            return Assessment("lab broken", f"{type(error).__name__}: {error} {again}")
        Record.own().note_attempt(self.label(), found.outcome)
        return found

    def hint(self) -> None:
        """Print the next hint; after the last one, all of them."""
        print_tip(self.tips, self._tips_shown)
        self._tips_shown += 1

    def solution(self) -> None:
        """Print the body of ``answer()``: pasted into a cell, it solves the exercise."""
        lines = inspect.getsource(self.answer).splitlines()[1:]
        for_a_cell = (line.partition("  # noqa")[0].replace("self.lab", "lab") for line in lines)
        print(textwrap.dedent("\n".join(for_a_cell)))  # noqa: T201


def in_stars(count: int) -> str:
    """How hard it is, of three."""
    return "★" * count + "☆" * (3 - count)


def print_tip(tips: Sequence[str], shown: int) -> None:
    """The one after those that were ``shown``; after the last one, all of them."""
    if shown >= len(tips):
        print("\n".join(tips))  # noqa: T201  (for the student to read)
    else:
        left = len(tips) - shown - 1
        print(tips[shown] + (f" ({left} more)" if left else ""))  # noqa: T201


def overlapping(calls: pd.DataFrame) -> int:
    """How many of these, rows of ``lab.log``, began before one that began earlier had ended."""
    ended = pd.to_datetime(calls["time"], utc=True, format="ISO8601")
    began = (ended - pd.to_timedelta(calls["ms"], unit="ms")).sort_values()
    return int((began < ended.reindex(began.index).cummax().shift()).sum())
