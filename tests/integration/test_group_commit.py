"""Writes that share a transaction: each keeps what it is promised, whatever the others do."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from server.application.group_commit import GroupCommit
from server.application.idempotency import Claim
from server.contract.envelope import Reply
from server.contract.errors import InProgress, NotFound, Unavailable
from server.contract.limits import Limits
from server.contract.steps import Step
from server.persistence.database import Database
from server.settings import Settings

BATCH = Limits().commit_batch
MAKE = text("INSERT INTO books_v1 (title, author) VALUES (:title, 'A') RETURNING id")
RENAME = text("UPDATE books_v1 SET title = :title WHERE id = :row")


async def no_one(step: Step) -> None:
    """Hears of no step."""


def claim(name: str, **fields: Any) -> Claim:
    return Claim(1, "book_v1", name, f"asked for {name}", f"id of {name}", **fields)


class Writes:
    """Makes books by group commit, each under a claim with its title's name."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.group = GroupCommit(database)
        self.tried: list[str] = []

    async def make(self, title: str, trouble: Exception | None = None, **fields: Any) -> Reply:
        async def effect(transaction: AsyncConnection) -> Any:
            self.tried.append(title)
            made = (await transaction.execute(MAKE, {"title": title})).scalar_one()
            if trouble is not None:
                raise trouble
            return {"id": made}

        return await self.group.once(claim(title, **fields), effect, no_one)

    async def rename(self, row: int, title: str) -> Reply:
        async def effect(transaction: AsyncConnection) -> Any:
            await transaction.execute(RENAME, {"title": title, "row": row})
            return {"id": row}

        return await self.group.once(claim(title), effect, no_one)

    async def titles(self) -> list[str]:
        async with self._database.reading() as connection:
            found = await connection.execute(text("SELECT title FROM books_v1 ORDER BY title"))
            return list(found.scalars())

    async def replies(self) -> dict[str, str | None]:
        """Of all claims with a key."""
        async with self._database.reading() as connection:
            rows = await connection.execute(
                text("SELECT key, reply FROM idempotency_keys WHERE resource_type = 'book_v1'")
            )
            return {row.key: row.reply for row in rows}


@pytest.fixture
async def writes(database: Database, dispatcher: object) -> Writes:
    return Writes(database)


@contextmanager
def noted(database: Database) -> Iterator[list[str]]:
    """A line for each shared transaction of this database that is committed meanwhile."""
    seen: list[str] = []

    def note(connection: object) -> None:
        seen.append("commit")

    engine = database._shared.engine.sync_engine
    event.listen(engine, "commit", note)
    yield seen
    event.remove(engine, "commit", note)


@pytest.fixture
def commits(database: Database) -> Iterator[list[str]]:
    with noted(database) as seen:
        yield seen


async def test_writes_that_come_together_share_a_transaction(
    writes: Writes, commits: list[str]
) -> None:
    names = [f"{number:03}" for number in range(BATCH)]
    made = await asyncio.gather(*map(writes.make, names))
    assert len({reply.data["id"] for reply in made}) == BATCH
    assert await writes.titles() == names
    stored = await writes.replies()
    assert {name: stored[name] for name in names} == {
        name: reply.to_stored() for name, reply in zip(names, made, strict=True)
    }
    assert len(commits) == 1


async def test_more_than_fit_into_one_are_all_done(writes: Writes) -> None:
    names = [f"{number:03}" for number in range(3 * BATCH + 1)]
    await asyncio.gather(*map(writes.make, names))
    assert await writes.titles() == names


@pytest.mark.parametrize("trouble", [NotFound("no"), RuntimeError("a bug")])
async def test_the_trouble_of_one_is_not_the_others(writes: Writes, trouble: Exception) -> None:
    """Its effect is undone, and theirs is not; each is there once."""
    ends = await asyncio.gather(
        *map(writes.make, "abc"),
        writes.make("wrong", trouble),
        *map(writes.make, "xyz"),
        return_exceptions=True,
    )
    if isinstance(trouble, NotFound):  # it is refused, and that is kept
        assert isinstance(ends[3], Reply)
        assert ends[3].outcome == "not_found"
    else:
        assert ends[3] is trouble
        assert writes.tried.count("wrong") == 1  # whether it is tried again is its transport's
    assert all(isinstance(end, Reply) and end.error is None for end in [*ends[:3], *ends[4:]])
    assert await writes.titles() == list("abcxyz")
    assert ("wrong" in await writes.replies()) == isinstance(trouble, NotFound)


async def test_when_most_are_refused_the_others_are_done_all_the_same(writes: Writes) -> None:
    bad = [writes.make(f"bad {number}", NotFound("no")) for number in range(10)]
    good = [writes.make(f"good {number}") for number in range(10)]
    work = [each for pair in zip(bad, good, strict=True) for each in pair]
    ends = await asyncio.gather(*work)
    assert [end.outcome for end in ends] == ["not_found", "ok"] * 10
    assert await writes.titles() == [f"good {number}" for number in range(10)]


async def test_what_was_done_before_is_answered_from_its_reply(writes: Writes) -> None:
    first = await writes.make("old")
    again, new = await asyncio.gather(writes.make("old"), writes.make("new"))
    assert (again.data, again.replayed) == (first.data, True)
    assert (new.outcome, new.replayed) == ("ok", False)
    assert await writes.titles() == ["new", "old"]


async def test_of_two_with_one_claim_one_is_done_and_the_other_gets_its_reply(
    writes: Writes,
) -> None:
    one, two = await asyncio.gather(writes.make("same"), writes.make("same"))
    assert one.data == two.data
    assert {one.replayed, two.replayed} == {False, True}
    assert await writes.titles() == ["same"]


async def test_a_claim_that_another_worker_holds_does_not_hold_up_the_others(
    writes: Writes, settings: Settings
) -> None:
    other = await asyncpg.connect(settings.database_url)
    try:
        transaction = other.transaction()
        await transaction.start()
        await other.execute(
            "INSERT INTO idempotency_keys (user_id, resource_type, key, fingerprint) "
            "VALUES (1, 'book_v1', 'held', 'f')"
        )
        held = asyncio.create_task(writes.make("held"))
        others = [asyncio.create_task(writes.make(title)) for title in "abc"]
        done, _ = await asyncio.wait([held, *others], return_when=asyncio.FIRST_COMPLETED)
        assert held not in done
        await asyncio.gather(*others)
        assert not held.done(), "it still waits, within its own lock timeout"
        with pytest.raises(InProgress):
            await held
        await transaction.rollback()
    finally:
        await other.close()
    assert (await writes.make("held")).outcome == "ok"
    assert await writes.titles() == ["a", "b", "c", "held"]


async def test_a_deadlock_with_another_worker_costs_no_write_its_outcome(
    writes: Writes, settings: Settings
) -> None:
    """The batch has the first row and wants the second, the other has it and wants the first."""
    rows = [(await writes.make(title)).data["id"] for title in ("one", "two")]
    has_first = asyncio.Event()

    async def change(name: str, row: int) -> Reply:
        async def effect(transaction: AsyncConnection) -> Any:
            await transaction.execute(RENAME, {"title": name, "row": row})
            has_first.set()

        return await writes.group.once(claim(name), effect, no_one)

    other = await asyncpg.connect(settings.database_url)
    try:
        async with other.transaction():
            await other.execute("UPDATE books_v1 SET author = 'B' WHERE id = $1", rows[1])
            batch = [asyncio.create_task(change(f"new {row}", row)) for row in rows]
            await has_first.wait()
            await other.execute("UPDATE books_v1 SET author = 'B' WHERE id = $1", rows[0])
        ends = await asyncio.gather(*batch)
    finally:
        await other.close()
    assert [end.outcome for end in ends] == ["ok", "ok"]
    assert await writes.titles() == sorted(f"new {row}" for row in rows)


@pytest.mark.parametrize(("batch", "shared"), [(1, 0), (2, 2)])
async def test_as_many_writes_share_a_transaction_as_the_setting_says(
    settings: Settings, dispatcher: object, batch: int, shared: int
) -> None:
    database = Database(settings.model_copy(update={"commit_batch": batch}))
    writes = Writes(database)
    with noted(database) as commits:
        await asyncio.gather(*map(writes.make, "abcd"))
    assert (await writes.titles(), len(commits)) == (list("abcd"), shared)
    await database.close()


@pytest.mark.parametrize("callers", [1, 2, 3, 8])
@pytest.mark.parametrize("pool_size", [2, 10])
async def test_no_write_is_left_waiting_by_the_transaction_that_just_ended(
    settings: Settings, dispatcher: object, pool_size: int, callers: int
) -> None:
    """A caller's next write comes at the very moment when its last one has its reply."""
    database = Database(settings.model_copy(update={"pool_size": pool_size}))
    writes = Writes(database)

    async def one_after_the_other(caller: int) -> None:
        for number in range(30):
            await writes.make(f"{caller} {number}")

    async with asyncio.timeout(20):
        await asyncio.gather(*map(one_after_the_other, range(callers)))
    assert len(await writes.titles()) == 30 * callers
    await database.close()


async def test_slow_writes_do_not_wait_for_each_other(writes: Writes) -> None:
    async def slow(transaction: AsyncConnection) -> Any:
        await transaction.execute(text("SELECT pg_sleep(0.2)"))

    async def several(name: str, number: int) -> float:
        begin = time.monotonic()
        works = (writes.group.once(claim(f"{name} {each}"), slow, no_one) for each in range(number))
        assert {reply.outcome for reply in await asyncio.gather(*works)} == {"ok"}
        return time.monotonic() - begin

    one_after_the_other = 12 * await several("one", 1)
    assert await several("twelve", 12) < one_after_the_other / 2


async def test_what_waited_behind_slow_writes_tries_no_shared_transaction_of_its_own(
    settings: Settings, dispatcher: object
) -> None:
    database = Database(settings.model_copy(update={"commit_batch": 4}))
    group = GroupCommit(database)
    begun: list[object] = []

    async def slow(transaction: AsyncConnection) -> Any:
        await transaction.execute(text("SELECT pg_sleep(0.2)"))

    event.listen(database._shared.engine.sync_engine, "begin", begun.append)
    works = (group.once(claim(f"slow {number}"), slow, no_one) for number in range(24))
    assert {reply.outcome for reply in await asyncio.gather(*works)} == {"ok"}
    assert len(begun) == database.sharing
    await database.close()


async def test_what_comes_again_is_done_by_itself(writes: Writes, commits: list[str]) -> None:
    assert (await writes.make("again", is_repeated=True)).outcome == "ok"
    assert commits == []


async def test_a_lost_connection_undoes_all_and_each_is_answered_so(writes: Writes) -> None:
    """Whether it was applied is known when it is asked for again."""

    async def cut(transaction: AsyncConnection) -> Any:
        await transaction.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    ends = await asyncio.gather(
        writes.make("a"),
        writes.group.once(claim("cut"), cut, no_one),
        writes.make("b"),
        return_exceptions=True,
    )
    assert all(isinstance(end, Unavailable) for end in ends)
    assert await writes.titles() == []
    assert (await writes.make("a")).outcome == "ok"


async def test_a_caller_that_has_gone_does_not_stop_the_others(writes: Writes) -> None:
    gone = asyncio.create_task(writes.make("gone"))
    stays = asyncio.create_task(writes.make("stays"))
    await asyncio.sleep(0)
    gone.cancel()
    assert (await stays).outcome == "ok"
    assert "stays" in await writes.titles()


async def test_a_statement_that_the_database_refuses_is_not_hidden(database: Database) -> None:
    """Without the table of claims: each fails, and none is tried for ever."""
    async with database.transaction() as connection:
        await connection.execute(text("CREATE TABLE IF NOT EXISTS books_v1 (id int)"))
        await connection.execute(text("DROP TABLE IF EXISTS idempotency_keys"))
    with pytest.raises(DBAPIError, match="idempotency_keys"):
        await Writes(database).make("a")


async def test_those_that_wait_for_a_row_keep_no_other_waiting(
    writes: Writes, settings: Settings
) -> None:
    """As many as transactions are shared at a time: each runner has set one of them aside."""
    rows = [(await writes.make(title)).data["id"] for title in "ab"]
    holder = await asyncpg.connect(settings.database_url)
    try:
        await holder.execute("BEGIN; SELECT FROM books_v1 FOR UPDATE")
        waiting = []
        for row in rows:  # each in a transaction of its own
            waiting.append(asyncio.create_task(writes.rename(row, f"new {row}")))
            await asyncio.sleep(0.03)
        await asyncio.sleep(0.3)  # they are set aside after a tenth of a second
        await asyncio.gather(*map(writes.make, "cd"))
        assert not any(task.done() for task in waiting)
    finally:
        await holder.close()
    await asyncio.gather(*waiting)
