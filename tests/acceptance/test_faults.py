"""Faults that were ordered happen, once, where they were ordered; and are undone."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress

import aio_pika
import pytest

from labkit import Lab, ReplyTimeout
from labkit.client.errors import QueueFull, Unroutable
from labkit.errors import FaultImpossible
from labkit.experiments import crash
from labkit.faults.fault import NotReached
from server.contract.steps import Step
from server.contract.topology import REQUESTS
from tests.support import BOOK, eventually


@pytest.fixture
async def lab(place: str) -> AsyncIterator[Lab]:
    """A lab on the shared services, with one worker that obeys."""
    async with Lab.open(place, workers=0) as lab:
        await lab.start_workers(obedient=True)
        yield lab


@pytest.mark.parametrize("step", Step)
async def test_a_request_is_held_at_any_step_until_it_is_released(lab: Lab, step: Step) -> None:
    client = await lab.client()
    hold = await lab.faults.hold(at=step)
    call = asyncio.create_task(client.request("create_book", BOOK, request_id="r"))
    assert await hold.reached() in ("r", None)
    if step is not Step.ACKED and step is not Step.REPLIED:
        assert not call.done()
    await hold.heal()
    assert (await call).status == "ok"


async def test_a_kill_at_a_step_happens_to_the_request_it_is_meant_for(lab: Lab) -> None:
    client = await lab.client()
    kill = await lab.faults.kill(at="committed", request_id="victim")
    await client.request("create_book", BOOK, request_id="bystander")
    assert not kill.happened()
    call = asyncio.create_task(client.request("create_book", BOOK, request_id="victim"))
    assert await kill.reached() == "victim"
    await lab.start_workers(1)
    assert (await call).replayed
    assert len(await lab.rows("books_v1")) == 2


async def test_two_workers_share_one_order(lab: Lab) -> None:
    await lab.start_workers(obedient=True)
    client = await lab.client()
    await lab.faults.fail(at="applied")
    replies = await asyncio.gather(*(client.request("create_book", BOOK) for _ in range(8)))
    assert {reply.status for reply in replies} == {"ok"}
    await lab.settle()  # a worker replies, then logs, then acknowledges
    assert (lab.log()["attempt"] == 2).sum() == 1


async def test_a_slow_step_takes_the_seconds_it_was_given(lab: Lab) -> None:
    client = await lab.client()
    await lab.faults.slow(0.3, at="received")
    await client.call("ping")
    await lab.settle()
    assert lab.log()["ms"].iloc[0] >= 300


async def test_slow_workers_are_slow_each_time_until_it_is_healed(lab: Lab) -> None:
    client = await lab.client()
    async with await lab.faults.slow(1):
        await client.call("ping")
        await client.call("ping")
    await client.call("ping")
    await lab.settle()
    took = lab.log()["ms"].tolist()
    assert min(took[:2]) >= 1000
    assert took[2] < min(took[:2])


async def test_a_message_that_kills_whoever_takes_it_is_parked_and_the_others_are_answered(
    place: str,
) -> None:
    async with Lab.open(place, workers=0, supervised=True, delivery_limit=2) as lab:
        await lab.start_workers(obedient=True)
        client = await lab.client(timeout=60)
        kill = await lab.faults.kill(at="received", request_id="deadly", always=True)
        call = asyncio.create_task(client.request("create_book", BOOK, request_id="deadly"))
        await kill.reached()
        assert await client.call("ping") == {"pong": True}

        async def parked() -> bool:
            return len(await lab.dead_letters.list()) == 1

        await eventually(parked, within=40)
        letter = await lab.dead_letters.show("deadly")
        assert letter.summary.error == "delivery_limit"
        assert (await lab.rows("books_v1")).empty
        call.cancel()


async def test_a_bug_that_is_always_there_ends_in_a_dead_letter(place: str) -> None:
    async with Lab.open(place, workers=0, retry_delays="0.05,0.05") as lab:
        await lab.start_workers(obedient=True)
        client = await lab.client()
        await lab.faults.fail(at="applied", request_id="poison", always=True)
        reply = await client.request("create_book", BOOK, request_id="poison")
        assert reply.error is not None
        assert reply.error["code"] == "internal"
        assert (await lab.dead_letters.show("poison")).summary.attempts == 3


async def test_a_paused_worker_is_silent_until_it_is_healed(lab: Lab) -> None:
    client = await lab.client()
    async with await lab.faults.pause("worker-1"):
        with pytest.raises(ReplyTimeout):
            await client.call("ping", timeout=0.3)
    assert await client.call("ping") == {"pong": True}


async def test_a_worker_that_paused_at_a_step_goes_on_when_it_is_healed(lab: Lab) -> None:
    client = await lab.client()
    pause = await lab.faults.pause(at="claimed")
    call = asyncio.create_task(client.call("create_book", BOOK))
    await pause.reached()
    with pytest.raises(ReplyTimeout):
        await client.call("ping", timeout=0.3)
    await pause.heal()
    assert (await call)["id"] == 1


async def test_a_pause_that_is_healed_at_once_leaves_nobody_frozen(lab: Lab) -> None:
    client = await lab.client()
    for _ in range(10):
        pause = await lab.faults.pause(at="received")
        call = asyncio.create_task(client.call("ping"))
        await pause.reached()
        await pause.heal()
        assert await call == {"pong": True}


async def test_what_is_over_as_soon_as_it_happens_is_healed(lab: Lab) -> None:
    client = await lab.client()
    await lab.faults.fail(at="applied")
    await lab.faults.messages.drop("reply")
    await lab.faults.slow(0.05, at="parsed")
    await lab.faults.hold(at="acked")
    with suppress(ReplyTimeout):
        await client.request("create_book", BOOK, timeout=3)

    async def all_happened() -> bool:
        return len(lab.faults.timeline()) == 4

    await eventually(all_happened)
    timeline = lab.faults.timeline().set_index("fault")
    assert timeline["healed"].isna().to_dict() == {
        "fail at applied": False,
        "drop reply": False,
        "slow at parsed": False,
        "hold at acked": True,
    }


async def test_closing_the_lab_undoes_what_is_left(place: str) -> None:
    async with Lab.open(place, workers=0) as lab:
        await lab.start_workers(obedient=True)
        pause = await lab.faults.pause("worker-1")
        hold = await lab.faults.hold(at="parsed")
        faults = lab.faults
    assert pause.healed
    assert hold.healed
    assert faults.timeline()["fault"].tolist() == ["pause worker"]  # nobody was ever held


async def test_a_supervised_worker_that_is_killed_comes_back(place: str) -> None:
    async with Lab.open(place, supervised=True) as lab:
        client = await lab.client()
        await client.call("ping")
        await lab.faults.kill("worker-1")
        assert await client.call("ping", timeout=20) == {"pong": True}
        await lab.settle()
        assert len(lab.log()) == 2


async def test_a_worker_that_cannot_finish_in_time_leaves_the_request_to_the_next(
    place: str,
) -> None:
    async with Lab.open(place, workers=0, drain_timeout=0.3) as lab:
        await lab.start_workers(obedient=True)
        client = await lab.client()
        hold = await lab.faults.hold(at="applied", request_id="slow")
        call = asyncio.create_task(client.request("create_book", BOOK, request_id="slow"))
        await hold.reached()
        await lab.faults.stop("worker-1")
        await crash.ended(lab, "worker-1")
        await lab.start_workers(1)
        assert (await call).status == "ok"
        assert len(await lab.rows("books_v1")) == 1


async def test_a_worker_whose_queue_is_deleted_declares_it_again_and_consumes(lab: Lab) -> None:
    client = await lab.client(timeout=1)
    await client.call("ping")
    async with await aio_pika.connect(lab.amqp_url) as connection:
        await (await connection.channel()).queue_delete(REQUESTS)

    async def answers() -> bool:
        # While a queue is being deleted, RabbitMQ 4 refuses what comes, as a full one would.
        with suppress(Unroutable, QueueFull, ReplyTimeout):
            return bool(await client.call("ping"))
        return False

    await eventually(answers)


async def test_a_lab_opened_again_ends_a_worker_that_was_left_frozen(place: str) -> None:
    first = await Lab.open(place)
    (worker,) = first._open_workspace().workers.processes
    os.kill(worker.pid, signal.SIGSTOP)
    async with Lab.open(place, workers=0):
        assert not worker.alive()
    await first.close()


async def test_what_cannot_happen_says_why(lab: Lab, place: str) -> None:
    with pytest.raises(FaultImpossible, match="private=True"):
        await lab.faults.kill("broker")
    with pytest.raises(FaultImpossible, match=r"There is: .*worker-1"):
        await lab.faults.kill("worker-7")
    with pytest.raises(FaultImpossible, match="Choose one of: received, parsed"):
        await lab.faults.hold(at="commited")
    hold = await lab.faults.hold(at="received")
    with pytest.raises(NotReached):
        await hold.reached(within=0.1)
    async with Lab.open(f"{place}-deaf") as deaf:
        with pytest.raises(FaultImpossible, match="obedient=True"):
            await deaf.faults.hold(at="received")


async def test_broker_and_database_of_a_private_lab_are_killed_paused_and_restarted(
    place: str,
) -> None:
    async with Lab.open(place, private=True) as lab:
        client = await lab.client()

        async def answers() -> bool:
            try:
                return bool(await client.call("get_books", timeout=1))
            except ReplyTimeout:
                return False

        await client.call("create_book", BOOK)
        for service in ("database", "broker"):
            async with await lab.faults.kill(service):
                assert not await answers()
            await eventually(answers, within=20)
            async with await lab.faults.pause(service):
                assert not await answers()
            await eventually(answers, within=20)
        await lab.faults.restart("database")
        await eventually(answers, within=20)
        assert len(await lab.rows("books_v1")) == 1
        await lab.faults.restart("broker")
        await eventually(answers, within=20)
        home = lab.faults._services._home
        assert home is not None
        before = home.log("rabbitmq").read_text("utf-8").split("SIGTERM received")[0]
        assert "to stop collect_statistics" in before, "else it waits for them for five seconds"
        assert len(lab.faults.timeline()) == 6
