"""A broker of three nodes: what its queues, the client, the worker and the tools do without one.

All tests share one cluster, which takes some seconds to start; each leaves it whole.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable

import aio_pika
import pytest
import pytest_asyncio

from labkit import Lab, Ledger, ReplyTimeout
from labkit.errors import BadArgument, FaultImpossible, NoSuchQueue
from labkit.faults.fault import Fault
from server.contract import brokers
from server.contract.connection import connect
from server.contract.steps import Step
from server.contract.topology import DEAD_LETTERS, REQUESTS
from server.transports.amqp.confirmed import ConfirmedPublisher
from tests.support import BOOK, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALL = "broker-1, broker-2, broker-3"
LEADER = f"leader of {REQUESTS}"
TIMEOUT = 40.0
"""Seconds for a call that has to outlive an election, or a node that is frozen."""

Break = Callable[[Lab], Awaitable[Fault]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[Lab]:
    name = f"cluster-{os.getpid()}"
    patient = "0.05,0.2,1"
    async with Lab.open(
        name, private=True, brokers=3, workers=2, supervised=True, retry_delays=patient
    ) as lab:
        yield lab


@pytest_asyncio.fixture(loop_scope="module")
async def lab(shared: Lab) -> AsyncIterator[Lab]:
    await shared.reset()
    yield shared
    await shared.faults.undo()
    await require_whole(shared)


async def require_whole(lab: Lab) -> None:
    """Each queue is served by all three again: a test that ends a node counts on the two others."""
    missing: dict[str, str] = {}

    async def is_whole() -> bool:
        nonlocal missing
        members = (await lab.queues_last_reported())["members"]
        found = zip(map(str, members.index), members, strict=True)
        missing = {queue: on for queue, on in found if queue.startswith("api.") and on != ALL}
        return not missing

    try:
        await eventually(is_whole, within=TIMEOUT)
    except AssertionError:
        raise AssertionError(f"healed, and yet served by no more than {missing}") from None


async def leader(lab: Lab) -> str:
    return str((await lab.queues_last_reported()).loc[REQUESTS, "leader"])


async def test_each_queue_of_the_server_is_on_all_three_and_says_who_leads_it(lab: Lab) -> None:
    queues = await lab.queues()
    ours = queues[queues.index.str.startswith("api.")]
    assert set(ours["type"]) == {"quorum"}
    assert set(ours["members"]) == {ALL}
    assert set(ours["leader"]) <= set(ALL.split(", "))


async def killed(lab: Lab) -> Fault:
    return await lab.faults.kill(LEADER)


async def cut_off(lab: Lab) -> Fault:
    return await lab.faults.partition(LEADER)


async def paused(lab: Lab) -> Fault:
    return await lab.faults.pause(LEADER)


@pytest.mark.parametrize(
    ("fault", "step"),
    [
        *((killed, step) for step in (Step.RECEIVED, Step.CLAIMED, Step.COMMITTED, Step.REPLIED)),
        (cut_off, Step.COMMITTED),
        (paused, Step.CLAIMED),
    ],
)
async def test_the_leader_goes_while_a_request_is_at_a_step_and_nothing_is_lost_or_doubled(
    lab: Lab, fault: Break, step: Step
) -> None:
    ledger = Ledger(lab)
    client = ledger.watch(await lab.client(timeout=TIMEOUT))
    before = await leader(lab)
    async with await lab.faults.hold(at=step, request_id="victim") as held:
        victim = asyncio.create_task(client.request("create_book", BOOK, request_id="victim"))
        others = [
            asyncio.create_task(client.request("create_author", {"name": f"{n}"}, version="v2"))
            for n in range(20)
        ]
        await held.reached()
        broken = await fault(lab)
    assert broken.target == before
    for reply in await asyncio.gather(victim, *others):
        assert reply.status == "ok", reply
    assert await leader(lab) != before
    await broken.heal()
    assert (await client.request("ping")).status == "ok"
    verdict = await ledger.verdict()
    assert verdict.ok, verdict
    assert len(await lab.rows("books_v1")) == 1
    assert len(await lab.rows("authors")) == 20
    await client.close()


async def test_without_a_majority_nothing_is_answered_and_what_was_taken_is_done_later(
    lab: Lab,
) -> None:
    client = await lab.client(timeout=TIMEOUT)
    await lab.stop_workers()
    taken = asyncio.create_task(client.request("create_book", BOOK, idempotency_key="taken"))
    while not (await lab.queues_last_reported()).loc[REQUESTS, "ready"]:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    first = await lab.faults.kill("broker-1")
    second = await lab.faults.kill("broker-2")
    with pytest.raises(ReplyTimeout):
        await client.call("ping", timeout=2)
    await second.heal()
    await first.heal()
    await lab.start_workers(2)
    assert (await taken).status == "ok"
    assert len(await lab.rows("books_v1")) == 1


async def test_a_node_comes_back_with_an_empty_disk_and_gets_everything_from_the_others(
    lab: Lab,
) -> None:
    client = await lab.client(timeout=TIMEOUT)
    async with await lab.faults.lose_disk("broker-1"):
        await client.call("create_book", BOOK)
        members = (await lab.queues())["members"]
        assert members[REQUESTS] == "broker-2, broker-3"
    queues = await lab.queues()
    assert set(queues[queues.index.str.startswith("api.")]["members"]) == {ALL}
    # It has what it was given: with the others gone that were there all the time, it leads.
    async with await lab.faults.kill("broker-2"):
        assert (await client.call("get_book", {"id": 1}))["title"] == BOOK["title"]


async def test_dead_letters_outlive_a_node_and_keep_their_order_when_looked_at(lab: Lab) -> None:
    client = await lab.client(timeout=TIMEOUT)
    await lab.faults.fail(at=Step.PARSED, always=True)
    ids = [f"letter-{number:02}" for number in range(50)]
    calls = [client.request("create_book", BOOK, request_id=name) for name in ids]
    assert {reply.status for reply in await asyncio.gather(*calls)} == {"error"}
    await lab.faults.undo()
    order = (await lab.dead_letters.list())["id"].tolist()
    assert sorted(order) == ids
    async with await lab.faults.kill(f"leader of {DEAD_LETTERS}"):
        for _ in range(2):
            assert (await lab.dead_letters.list())["id"].tolist() == order
        outcomes = await lab.dead_letters.replay(ids=order[:2])
        assert outcomes["outcome"].tolist() == ["ok", "ok"]
    assert (await lab.dead_letters.list())["id"].tolist() == order[2:]


async def test_a_copy_that_a_leaderless_queue_refuses_is_taken_once_it_is_led(lab: Lab) -> None:
    queue = (await lab.queues()).filter(like="api.retry.", axis="index").index[0]
    led = str((await lab.queues_last_reported()).loc[queue, "leader"])
    elsewhere = [url for n, url in enumerate(brokers.each(lab.amqp_url), 1) if f"-{n}" not in led]
    async with await connect(elsewhere[0]) as connection:
        publisher = await ConfirmedPublisher.open(connection, no_declare)
        async with await lab.faults.kill(led):
            copy = aio_pika.Message(b"{}", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await asyncio.wait_for(publisher.publish(copy, queue), 15)


async def no_declare() -> None:
    raise AssertionError("the queue is there")


async def test_what_takes_a_cluster_says_so(lab: Lab) -> None:
    with pytest.raises(FaultImpossible, match="broker-1, broker-2, broker-3"):
        await lab.faults.kill("broker-4")
    with pytest.raises(FaultImpossible, match="two sides"):
        await lab.faults.partition("broker-1", "broker-2", "broker-3")
    with pytest.raises(FaultImpossible, match="two sides"):
        await lab.faults.partition()
    for whole in ("database", "broker"):
        with pytest.raises(FaultImpossible, match=r"no node\. Choose one of: broker-1"):
            await lab.faults.lose_disk(whole)
        with pytest.raises(FaultImpossible, match="no node"):
            await lab.faults.partition(whole)
    with pytest.raises(NoSuchQueue, match=REQUESTS):
        await lab.faults.kill("leader of api.nothing")
    with pytest.raises(BadArgument, match="private=True"):
        Lab.open("02", brokers=3)
    with pytest.raises(BadArgument, match="from 1"):
        Lab.open("02", brokers=0, private=True)
