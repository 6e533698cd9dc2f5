"""``once()``, with two transactions whose interleaving the test controls."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from server.application.idempotency import Claim, collect, once
from server.contract.envelope import Reply
from server.contract.errors import InProgress, KeyReused, NotFound, Unavailable
from server.contract.steps import Step
from server.persistence.database import Database
from server.persistence.models import BookV1
from tests.support import eventually

CLAIM = Claim(1, "book_v1", key="create-1984-v1", fingerprint="f", request_id="7")
WITHOUT_KEY = CLAIM.by_id


async def unobserved(step: Step) -> None:
    pass


async def adds_a_book(transaction: AsyncConnection) -> dict[str, Any]:
    statement = insert(BookV1).values(title="1984", author="George Orwell").returning(BookV1.id)
    return {"id": (await transaction.execute(statement)).scalar_one()}


class Held:
    """An effect that adds a book, and then waits inside its transaction until it is let go."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.inside = asyncio.Event()
        self.release = asyncio.Event()
        self._then = then

    async def __call__(self, transaction: AsyncConnection) -> dict[str, Any]:
        data = await adds_a_book(transaction)
        self.inside.set()
        await self.release.wait()
        self._then()
        return data


def refuses() -> None:
    raise NotFound("no such shelf")


def breaks() -> None:
    raise Unavailable


async def titles(database: Database) -> list[str]:
    async with database.reading() as connection:
        return list((await connection.execute(select(BookV1.title))).scalars())


async def somebody_waits_for_a_lock(database: Database) -> bool:
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
        "AND datname = current_database()"
    )
    async with database.reading() as connection:
        return bool((await connection.execute(waiting)).scalar_one())


async def two_at_a_time(
    database: Database, first: Held, meanwhile: Callable[[], Awaitable[Any]] | None = None
) -> tuple[Any, Any]:
    """Start the first; once it is inside, the second; once that waits, let the first one go."""
    one = asyncio.create_task(once(database, CLAIM, first, unobserved))
    await first.inside.wait()
    two = asyncio.create_task(once(database, CLAIM, adds_a_book, unobserved))
    await eventually(lambda: somebody_waits_for_a_lock(database))
    if meanwhile is not None:
        await meanwhile()
    first.release.set()
    results = await asyncio.gather(one, two, return_exceptions=True)
    return results[0], results[1]


async def test_the_second_waits_and_gets_the_reply_of_the_first(database: Database) -> None:
    first, second = await two_at_a_time(database, Held())
    assert (first.data, first.replayed) == ({"id": 1}, False)
    assert (second.data, second.replayed) == ({"id": 1}, True)
    assert await titles(database) == ["1984"]


async def test_the_second_gets_the_refusal_of_the_first_whose_effect_is_undone(
    database: Database,
) -> None:
    first, second = await two_at_a_time(database, Held(then=refuses))
    assert first.outcome == second.outcome == "not_found"
    assert second.replayed
    assert await titles(database) == []


async def test_the_second_does_the_work_if_the_first_broke(database: Database) -> None:
    first, second = await two_at_a_time(database, Held(then=breaks))
    assert isinstance(first, Unavailable)
    assert second == Reply(data={"id": 2})  # a sequence does not go back; the row of 1 is gone
    assert await titles(database) == ["1984"]


async def test_the_second_does_the_work_if_the_first_lost_its_connection(
    database: Database,
) -> None:
    async def kill_the_first() -> None:
        holders = text(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE state = 'idle in transaction' AND datname = current_database()"
        )
        async with database.reading() as connection:
            assert (await connection.execute(holders)).scalar_one() == 1

    first, second = await two_at_a_time(database, Held(), meanwhile=kill_the_first)
    assert isinstance(first, Unavailable)
    assert not second.replayed
    assert await titles(database) == ["1984"]


async def test_the_second_is_told_in_progress_after_the_lock_timeout(database: Database) -> None:
    first = Held()
    one = asyncio.create_task(once(database, CLAIM, first, unobserved))
    await first.inside.wait()
    with pytest.raises(InProgress):
        await once(database, CLAIM, adds_a_book, unobserved)
    first.release.set()
    assert (await one).data == {"id": 1}
    assert await titles(database) == ["1984"]


async def test_another_request_under_the_same_key_is_refused(database: Database) -> None:
    await once(database, CLAIM, adds_a_book, unobserved)
    other = replace(CLAIM, fingerprint="another")
    with pytest.raises(KeyReused, match="create-1984-v1"):
        await once(database, other, adds_a_book, unobserved)
    assert await titles(database) == ["1984"]


@pytest.mark.parametrize("scope", [{"resource_type": "book_v2"}, {"key": "another"}])
async def test_a_key_holds_within_its_scope(database: Database, scope: dict[str, Any]) -> None:
    await once(database, CLAIM, adds_a_book, unobserved)
    reply = await once(database, replace(CLAIM, **scope), adds_a_book, unobserved)
    assert not reply.replayed
    assert len(await titles(database)) == 2


@pytest.mark.parametrize("order", [(CLAIM, WITHOUT_KEY), (WITHOUT_KEY, CLAIM)])
async def test_a_request_is_the_same_one_with_its_key_and_without(
    database: Database, order: tuple[Claim, Claim]
) -> None:
    for claim in (*order, *order):
        reply = await once(database, claim, adds_a_book, unobserved)
        assert reply.data == {"id": 1}
    assert await titles(database) == ["1984"]


@pytest.mark.parametrize("order", [(CLAIM, WITHOUT_KEY), (WITHOUT_KEY, CLAIM)])
async def test_so_it_is_while_the_first_one_is_running(
    database: Database, order: tuple[Claim, Claim]
) -> None:
    first = Held()
    one = asyncio.create_task(once(database, order[0], first, unobserved))
    await first.inside.wait()
    other = asyncio.create_task(once(database, order[1], adds_a_book, unobserved))
    await eventually(lambda: somebody_waits_for_a_lock(database))
    first.release.set()
    assert (await one).data == (await other).data
    assert await titles(database) == ["1984"]


async def test_another_request_under_the_same_id_is_refused_unless_it_has_a_key(
    database: Database,
) -> None:
    await once(database, WITHOUT_KEY, adds_a_book, unobserved)
    with pytest.raises(KeyReused, match="id '7'"):
        await once(database, replace(WITHOUT_KEY, fingerprint="other"), adds_a_book, unobserved)
    assert not (
        await once(database, replace(CLAIM, fingerprint="other"), adds_a_book, unobserved)
    ).replayed
    assert len(await titles(database)) == 2


async def test_an_unexpected_error_takes_the_claim_with_it(database: Database) -> None:
    async def bug(transaction: AsyncConnection) -> None:
        await adds_a_book(transaction)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await once(database, CLAIM, bug, unobserved)
    assert not (await once(database, CLAIM, adds_a_book, unobserved)).replayed
    assert await titles(database) == ["1984"]


async def test_the_steps_are_announced_in_order(database: Database) -> None:
    steps: list[Step] = []

    async def note(step: Step) -> None:
        steps.append(step)

    await once(database, CLAIM, adds_a_book, note)
    assert steps == [Step.CLAIMED, Step.APPLIED, Step.COMMITTED]


async def test_keys_are_collected_after_their_retention_and_not_before(
    database: Database,
) -> None:
    await once(database, CLAIM, adds_a_book, unobserved)
    assert await collect(database, retention=3600) == 0
    assert (await once(database, CLAIM, adds_a_book, unobserved)).replayed
    await asyncio.sleep(0.02)
    assert await collect(database, retention=0.01) == 2, "its key, and its id"
    assert not (await once(database, CLAIM, adds_a_book, unobserved)).replayed


async def test_collecting_leaves_alone_what_a_transaction_holds(database: Database) -> None:
    await once(database, CLAIM, adds_a_book, unobserved)
    lock = text("SELECT * FROM idempotency_keys FOR UPDATE")
    async with database.transaction() as holder:
        await holder.execute(lock)
        assert await collect(database, retention=1e-6) == 0


async def test_an_id_that_leads_to_a_key_that_is_forgotten_is_free_again(
    database: Database,
) -> None:
    """Its key is older than itself, if it was repeated under a new id: so it goes earlier."""
    repeated = replace(CLAIM, request_id="8")
    await once(database, CLAIM, adds_a_book, unobserved)
    await once(database, repeated, adds_a_book, unobserved)
    async with database.transaction() as transaction:
        forget = "DELETE FROM idempotency_keys WHERE resource_type = 'book_v1'"
        await transaction.execute(text(forget))
    async with asyncio.timeout(10):
        reply = await once(database, repeated.by_id, adds_a_book, unobserved)
        again = await once(database, repeated.by_id, adds_a_book, unobserved)
    assert not reply.replayed
    assert again.data == reply.data
    assert await titles(database) == ["1984", "1984"]
