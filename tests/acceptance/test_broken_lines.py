"""A private lab whose lines, connections, memory and messages fail: and all is well again after.

One lab for all of these tests, since it starts a broker and a database.
"""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from labkit import Lab, Ledger, ReplyTimeout
from labkit.client.caller import Caller
from labkit.errors import FaultImpossible
from labkit.faults.fault import NotReached
from labkit.faults.messages import POISONS, Kind
from labkit.services import failures
from labkit.services.errors import ServiceError
from labkit.services.home import Home
from tests.support import BOOK, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def open_lab() -> AsyncIterator[Lab]:
    async with Lab.open("broken-lines", private=True, seed=7, retry_delays="0.1,0.5") as lab:
        yield lab


@pytest_asyncio.fixture(loop_scope="module")
async def lab(open_lab: Lab) -> AsyncIterator[Lab]:
    """In order when the test begins, and again when it ends."""
    await open_lab.reset()
    yield open_lab
    await open_lab.faults.undo()
    client = await open_lab.client()
    assert await client.call("ping", timeout=30) == {"pong": True}
    await client.close()


@pytest_asyncio.fixture(loop_scope="module")
async def client(lab: Lab) -> AsyncIterator[Caller]:
    client = await lab.client()
    yield client
    await client.close()


async def test_a_slow_line_takes_its_time_and_a_healed_one_does_not(
    lab: Lab, client: Caller
) -> None:
    async with await lab.faults.network.latency("client-broker", 0.2):
        began = time.monotonic()
        await client.call("ping")
        assert time.monotonic() - began >= 0.4
    await client.call("ping")
    assert lab.faults.timeline()["fault"].tolist()[-1] == "latency"


@pytest.mark.parametrize("link", ["client-broker", "worker-broker", "worker-database"])
async def test_a_request_survives_a_reset_of_any_line(lab: Lab, client: Caller, link: str) -> None:
    ledger = Ledger(lab)
    watched = ledger.watch(client)
    for number in range(3):
        hold = await lab.faults.hold(at="claimed")
        call = asyncio.create_task(
            watched.request("create_book", BOOK | {"title": f"{link} {number}"}, timeout=30)
        )
        await hold.reached()
        await lab.faults.network.reset(link, once=True)
        await hold.heal()
        assert (await call).status == "ok"
    assert (await ledger.verdict()).ok


async def test_in_a_black_hole_nothing_is_answered_and_nobody_is_told(
    lab: Lab, client: Caller
) -> None:
    async with await lab.faults.network.black_hole("client-broker"):
        with pytest.raises(ReplyTimeout):
            await client.call("ping", timeout=0.3)
    assert await client.call("ping", timeout=30) == {"pong": True}


async def test_a_line_that_resets_everybody_is_refused_until_it_is_healed(
    lab: Lab, client: Caller
) -> None:
    async with await lab.faults.network.reset("client-broker"):
        with pytest.raises(ReplyTimeout):
            await client.call("ping", timeout=0.5)
    assert await client.call("ping", timeout=30) == {"pong": True}


@pytest.mark.parametrize("link", ["client-broker", "worker-broker", "worker-database"])
async def test_half_a_connection_is_given_up(lab: Lab, client: Caller, link: str) -> None:
    await lab.faults.network.half_close(link)
    assert (await client.request("create_book", BOOK, timeout=40)).status == "ok"
    assert len(await lab.rows("books_v1")) == 1


async def test_a_narrow_line_is_still_a_line(lab: Lab, client: Caller) -> None:
    async with await lab.faults.network.bandwidth("client-broker", 5000):
        assert await client.call("ping", timeout=20) == {"pong": True}


async def test_a_commit_whose_acknowledgement_is_lost_is_not_done_twice(
    lab: Lab, client: Caller
) -> None:
    ledger = Ledger(lab)
    watched = ledger.watch(client)
    cut = await lab.faults.network.cut_after("worker-database", b"COMMIT;")
    reply = await watched.request("create_book", BOOK, idempotency_key="k", timeout=30)
    await cut.reached()
    assert (reply.status, reply.replayed) == ("ok", True)
    assert len(await lab.rows("books_v1")) == 1
    assert (await ledger.verdict()).ok


async def test_a_cut_that_nothing_has_tripped_says_so_and_is_taken_back(
    lab: Lab, client: Caller
) -> None:
    cut = await lab.faults.network.cut_after("worker-database", b"no such statement")
    await client.call("create_book", BOOK)
    with pytest.raises(NotReached):
        await cut.reached(within=0.1)
    await cut.heal()
    assert not cut.happened()


@pytest.mark.parametrize("of", ["worker", "client", "database"])
async def test_connections_that_are_closed_from_the_other_end_lose_nothing(
    lab: Lab, client: Caller, of: str
) -> None:
    ledger = Ledger(lab)
    watched = ledger.watch(client)
    hold = await lab.faults.hold(at="applied")
    call = asyncio.create_task(watched.request("create_book", BOOK, timeout=30))
    await hold.reached()
    await lab.faults.close_connections(of)
    await hold.heal()
    assert (await call).status == "ok"
    assert (await ledger.verdict()).ok


async def test_while_the_broker_has_no_memory_nobody_who_publishes_is_heard(
    lab: Lab, client: Caller
) -> None:
    async with await lab.faults.memory_alarm():
        with pytest.raises(ReplyTimeout):
            await client.call("ping", timeout=1)
    assert await client.call("ping", timeout=30) == {"pong": True}


@pytest.mark.parametrize("target", ["broker", "database"])
async def test_a_service_that_is_killed_while_it_is_frozen_comes_back(
    lab: Lab, client: Caller, target: str
) -> None:
    async with await lab.faults.pause(target) as pause:
        kill = await lab.faults.kill(target)
    assert pause.healed
    await kill.heal()
    assert await client.call("ping", timeout=30) == {"pong": True}


async def test_a_broker_that_is_killed_without_memory_comes_back_with_it(
    lab: Lab, client: Caller
) -> None:
    async with await lab.faults.memory_alarm() as alarm:
        kill = await lab.faults.kill("broker")
    assert alarm.healed
    await kill.heal()
    assert await client.call("ping", timeout=30) == {"pong": True}


async def test_what_could_not_happen_is_not_undone(lab: Lab) -> None:
    kill, before = await lab.faults.kill("database"), len(lab.faults.timeline())
    for fault in (lab.faults.pause, lab.faults.kill, lab.faults.stop):
        with pytest.raises(ServiceError, match="does not run"):
            await fault("database")
    assert len(lab.faults.timeline()) == before
    await lab.faults.undo()
    assert kill.healed


async def test_a_fault_whose_beginning_is_interrupted_happens_and_is_undone(
    lab: Lab, client: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, pause = asyncio.Event(), failures.pause

    async def slowly(home: Home, service: str) -> None:
        await pause(home, service)
        began.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(failures, "pause", slowly)
    pausing = asyncio.create_task(lab.faults.pause("database"))
    await began.wait()
    pausing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pausing
    assert lab.faults.timeline()["fault"].tolist()[-1] == "pause database"
    await lab.faults.undo()
    assert await client.call("ping", timeout=30) == {"pong": True}


async def test_a_request_that_is_dropped_is_never_answered_and_the_ledger_knows_why(
    lab: Lab, client: Caller
) -> None:
    ledger = Ledger(lab)
    watched = ledger.watch(client)
    drop = await lab.faults.messages.drop("request", request_id="lost")
    with pytest.raises(ReplyTimeout):
        await watched.request("create_book", BOOK, request_id="lost", timeout=1)
    assert await drop.reached() == "lost"
    verdict = await ledger.verdict()
    assert verdict.ok, verdict
    assert verdict.counts["dropped"] == 1
    assert (await lab.rows("books_v1")).empty


async def test_a_reply_that_is_dropped_is_given_again_when_asked_again(
    lab: Lab, client: Caller
) -> None:
    await lab.faults.messages.drop("reply")
    with pytest.raises(ReplyTimeout):
        await client.request("create_book", BOOK, idempotency_key="k", timeout=1)
    reply = await client.request("create_book", BOOK, idempotency_key="k")
    assert (reply.status, reply.replayed) == ("ok", True)


@pytest.mark.parametrize("kind", ["request", "reply"])
async def test_what_is_doubled_or_late_has_one_effect_and_one_answer(
    lab: Lab, client: Caller, kind: Kind
) -> None:
    ledger = Ledger(lab)
    watched = ledger.watch(client)
    doubled = await lab.faults.messages.duplicate(kind, request_id="twice")
    late = await lab.faults.messages.delay(kind, 0.3, request_id="late")
    calls = [
        watched.request("create_book", BOOK | {"title": name}, request_id=name)
        for name in ("late", "twice", "quick")
    ]
    assert {reply.status for reply in await asyncio.gather(*calls)} == {"ok"}
    assert (await doubled.reached(), await late.reached()) == ("twice", "late")
    assert (await ledger.verdict()).ok
    assert len(await lab.rows("books_v1")) == 3


async def test_a_broken_request_is_refused_and_parked(lab: Lab, client: Caller) -> None:
    await lab.faults.messages.corrupt("request")
    reply = await client.request("create_book", BOOK)
    assert reply.error is not None
    assert reply.error["code"] == "malformed"
    assert len(await lab.dead_letters.list()) == 1


async def test_a_broken_reply_leaves_the_outcome_open(lab: Lab, client: Caller) -> None:
    await lab.faults.messages.corrupt("reply")
    with pytest.raises(ReplyTimeout, match="cannot be read"):
        await client.request("create_book", BOOK, idempotency_key="k")
    assert (await client.request("create_book", BOOK, idempotency_key="k")).replayed


async def test_poison_is_parked_and_nobody_else_is_harmed(lab: Lab, client: Caller) -> None:
    for kind in POISONS:
        await lab.faults.messages.poison(kind)
    assert await client.call("ping") == {"pong": True}

    async def all_parked() -> bool:
        return len(await lab.dead_letters.list()) == len(POISONS)

    await eventually(all_parked)


async def test_what_there_is_not_cannot_fail(lab: Lab) -> None:
    with pytest.raises(FaultImpossible, match="Choose one of: client-broker, worker-broker"):
        await lab.faults.network.latency("client-database", 1)
    with pytest.raises(FaultImpossible, match="Choose one of: client, worker, database"):
        await lab.faults.close_connections("nobody")
    with pytest.raises(FaultImpossible, match="Choose one of: no JSON"):
        await lab.faults.messages.poison("hemlock")
    with pytest.raises(FaultImpossible, match="Choose one of: broker, database"):
        await lab.faults.restart("worker")
    with pytest.raises(FaultImpossible, match="Choose one of: request, reply"):
        await lab.faults.messages.drop("answer")  # type: ignore[arg-type]
