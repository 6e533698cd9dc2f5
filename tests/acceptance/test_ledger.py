"""The ledger of a real run: a right server is acquitted, and what went wrong is named."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aio_pika
import asyncpg
import pytest

from labkit import Lab, Ledger
from labkit.__main__ import main
from labkit.client.errors import ReplyTimeout
from labkit.errors import NoLedger
from server.contract.errors import ApiError
from server.contract.topology import DEAD_LETTERS, REQUESTS
from tests.support import BOOK, eventually

DUNE = {"title": "Dune", "author": "Frank Herbert", "year": 1965}


@pytest.fixture
async def lab(place: str) -> AsyncIterator[Lab]:
    async with Lab.open(place, retry_delays="0.05,0.1") as lab:
        yield lab


async def test_a_run_with_all_kinds_of_answers_is_acquitted(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = Ledger(lab)
    client = ledger.watch(await lab.client())
    author = await client.call("create_author", {"name": "Orwell"}, version="v2")
    isbn = {"title": "1984", "author_id": author["id"], "isbn": "0-452-28423-6"}
    second = await client.call("create_book", isbn, version="v2")
    book = await client.call("create_book", DUNE, idempotency_key="dune")
    changed = {"id": book["id"], "year": 1966, "isbn": None}
    same = [client.call("update_book", changed, idempotency_key="u") for _ in range(3)]
    await asyncio.gather(*same)
    await client.call("get_books")
    refused = [
        ("create_book", BOOK | {"title": "1985"}, "v1", "dune"),
        ("create_book", isbn | {"title": "Again"}, "v2", None),
        ("delete_author", {"id": author["id"]}, "v2", "has-books"),
        ("delete_author", {"id": author["id"]}, "v2", "has-books"),
        ("create_book", {"title": 5}, "v1", None),
        ("update_book", {"id": 99, "year": 1}, "v1", None),
        ("burn_book", {"id": 1}, "v1", None),
    ]
    for action, data, version, key in refused:
        with pytest.raises(ApiError):
            await client.call(action, data, version=version, idempotency_key=key)
    await client.call("delete_book", {"id": second["id"]}, version="v2")
    verdict = await ledger.verdict()
    assert verdict.ok, verdict
    assert repr(verdict).startswith("Nothing lost, nothing doubled")
    assert verdict.counts["accepted"] == verdict.counts["replied"] == 15
    table = ledger.operations()
    assert table["outcome"].value_counts().to_dict() == {"ok": 8, "refused": 7}
    assert set(table["where"]) == {"replied"}
    saved = ledger.save(tmp_path / "run.json.gz")
    assert repr(Ledger.load(saved)) == repr(verdict)
    assert await asyncio.to_thread(main, ["ledger", str(saved), "--operations"]) == 0
    assert "Nothing lost" in capsys.readouterr().out


async def test_cancelled_timed_out_and_parked_calls_are_accounted_for(lab: Lab) -> None:
    ledger = Ledger(lab)
    client = ledger.watch(await lab.client())
    await client.call("create_book", DUNE)
    await lab.stop_workers()
    call = asyncio.create_task(client.call("create_book", DUNE | {"title": "Dune Messiah"}))

    async def waits() -> bool:
        return bool((await lab.queues()).loc[REQUESTS, "ready"] == 1)

    await eventually(waits)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    with pytest.raises(ReplyTimeout):
        await client.call("create_book", DUNE | {"title": "Too late"}, timeout=1.5)
    await lab.start_workers()
    assert (await client.call("ping")) == {"pong": True}
    verdict = await ledger.verdict()
    assert verdict.ok, verdict
    assert len(lab.log()) == 4, "the worker before is in it, too"
    assert (verdict.counts["replied"], verdict.counts["reply lost"]) == (2, 2)
    assert ledger.operations()["code"].tolist() == ["", "cancelled", "timeout", ""]
    assert sorted((await lab.rows("books_v1"))["title"]) == ["Dune", "Dune Messiah"]


async def test_requests_of_others_do_not_confuse_it_and_can_be_recorded(lab: Lab) -> None:
    ledger = Ledger(lab)
    client = ledger.watch(await lab.client())
    await client.call("create_book", DUNE)
    request = {"id": "raw", "version": "v1", "action": "create_book", "auth": lab.api_key}
    async with await aio_pika.connect(lab.amqp_url) as connection:
        channel = await connection.channel()
        replies = await channel.declare_queue(exclusive=True)
        for body in (b"poison", b"[" * 100_000, json.dumps(request | {"data": BOOK}).encode()):
            message = aio_pika.Message(body, reply_to=replies.name)
            await channel.default_exchange.publish(message, REQUESTS)
            answered = await eventually(lambda: replies.get(fail=False, no_ack=True))
    stranger = await lab.client()
    await stranger.call("create_book", BOOK, idempotency_key="a stranger's")
    found = (await ledger.verdict()).violations
    assert found["invariant"].tolist() == ["I8", "I8"]
    assert "a stranger's" in found["seen"][1]
    ledger.record(request | {"data": BOOK}, answered.body)
    ledger.record(request | {"id": "never", "data": BOOK | {"title": "Never sent"}})
    ledger.others(keys=["a stranger's"])
    assert (await ledger.verdict()).ok
    assert (await lab.queues()).loc[DEAD_LETTERS, "ready"] == 2


async def test_dead_letters_that_an_operator_took_away_are_accounted_for(
    lab: Lab, tmp_path: Path
) -> None:
    """Each in its way; what was taken by no operator of the lab's is missing."""
    ledger = Ledger(lab)
    client = ledger.watch(await lab.client())
    await ledger.begin()
    async with failing(lab):
        for name in ("replayed", "edited", "archived", "purged"):
            reply = await client.request("create_book", DUNE | {"title": name}, request_id=name)
            assert reply.parked
    assert (await ledger.verdict()).counts["replied"] == 4
    await lab.dead_letters.replay(ids="replayed")
    await lab.dead_letters.edit("edited", data=DUNE | {"title": "with other data"})
    await lab.dead_letters.archive(tmp_path / "letters", ids="archived")
    await lab.dead_letters.purge(DEAD_LETTERS)
    verdict = await ledger.verdict()
    assert verdict.ok, verdict
    assert sorted((await lab.rows("books_v1"))["title"]) == ["replayed", "with other data"]


@pytest.mark.parametrize("seconds", [-0.5, 0.5])
async def test_a_clock_that_was_set_before_the_first_call_accuses_no_one(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """As if PostgreSQL were on a machine whose clock differs."""
    right = time.time
    with monkeypatch.context() as patched:
        patched.setattr("labkit.ledger.clocks.time.time", lambda: right() + seconds)
        ledger = Ledger(lab)
    client = ledger.watch(await lab.client())
    for n in range(5):
        book = await client.call("create_book", DUNE | {"title": str(n)})
        await client.call("update_book", {"id": book["id"], "year": 1965})
        assert (await client.call("get_book", {"id": book["id"]}))["year"] == 1965
    verdict = await ledger.verdict()
    assert verdict.ok, verdict


async def test_a_worker_with_settings_of_its_own_is_judged_by_them(lab: Lab) -> None:
    """The lab's has three attempts, and this one six."""
    await lab.have_workers(1, retry_delays="0.06,0.07,0.08,0.09,0.11")
    ledger = Ledger(lab)
    client = ledger.watch(await lab.client())
    await ledger.begin()
    async with failing(lab):
        assert (await client.request("create_book", DUNE)).parked
    assert lab.log()["attempt"].max() == 6
    verdict = await ledger.verdict()
    assert verdict.ok, verdict


@pytest.mark.parametrize("purged", [False, True])
async def test_a_dead_letter_that_was_taken_in_passing_is_missed(lab: Lab, purged: bool) -> None:
    """Also after a purge, which found none any more."""
    ledger = Ledger(lab)
    client = ledger.watch(await lab.client())
    await ledger.begin()
    async with failing(lab):
        await client.request("create_book", DUNE, request_id="taken")
    async with await aio_pika.connect(lab.amqp_url) as connection:
        channel = await connection.channel()
        await (await channel.get_queue(DEAD_LETTERS)).purge()
    if purged:
        assert await lab.dead_letters.purge(DEAD_LETTERS) == 0
    (violation,) = (await ledger.verdict()).found
    assert (violation.invariant, violation.operation) == ("I5", "taken")


@asynccontextmanager
async def failing(lab: Lab) -> AsyncIterator[None]:
    """The database takes no book."""
    connection = await asyncpg.connect(lab.database_url)
    try:
        await connection.execute("ALTER TABLE books_v1 ADD CONSTRAINT never CHECK (id < 0)")
        yield
        await connection.execute("ALTER TABLE books_v1 DROP CONSTRAINT never")
    finally:
        await connection.close()


async def test_a_server_that_checks_and_then_stores_is_caught(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Lab.open(place, workers=0) as lab:
        await lab.start_workers(2, "flaws", "--flaw", "check-then-store")
        ledger = Ledger(lab)
        client = ledger.watch(await lab.client())
        for number in range(20):
            book = DUNE | {"title": f"Dune {number}"}
            same = [client.call("create_book", book, idempotency_key=f"{number}") for _ in "12"]
            await asyncio.gather(*same)
        verdict = await ledger.verdict()
        assert {"I2", "I4"} <= set(verdict.violations["invariant"])
        assert "twice in the database" in verdict.violations["seen"][0]
        assert "I2" in repr(verdict)
        assert "twice" in verdict._repr_html_()
        saved = ledger.save(tmp_path / "run.json.gz")
        assert await asyncio.to_thread(main, ["ledger", str(saved)]) == 1
        assert "I2" in capsys.readouterr().err


async def test_what_cannot_drain_is_a_violation_with_its_queue(lab: Lab) -> None:
    ledger = Ledger(lab)
    client = ledger.watch(await lab.client())
    await ledger.begin()
    await lab.stop_workers()
    with pytest.raises(ReplyTimeout):
        await client.call("create_book", DUNE, timeout=1.5)
    verdict = await ledger.verdict(within=1)
    assert verdict.violations["invariant"].tolist() == ["I5"]
    assert "api.requests still holds 1" in repr(verdict)
    assert verdict.counts["still queued"] == 1


async def test_the_ledger_makes_the_tables_if_no_worker_has(place: str) -> None:
    async with Lab.open(place, workers=0) as lab:
        ledger = Ledger(lab)
        await ledger.begin()
        await lab.start_workers()
        await ledger.watch(await lab.client()).call("create_book", DUNE)
        assert (await ledger.verdict()).ok


async def test_nothing_can_be_saved_or_loaded_that_was_not_judged(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(NoLedger, match="verdict"):
        Ledger(lab).save(tmp_path / "run")
    (tmp_path / "other").write_text("no run")
    with pytest.raises(NoLedger, match="no saved run"):
        Ledger.load(tmp_path / "other")
