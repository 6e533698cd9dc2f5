"""How much is in the queues, and how fast it goes through."""

import asyncio
import os
import pty
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
import pandas as pd
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from labkit import Lab
from labkit.broker import rates
from labkit.broker.management import Broker
from labkit.broker.queues import measured, watched
from labkit.broker.rates import Counts, Meter
from labkit.place import vhost_of
from server.contract.topology import REQUESTS
from tests.support import ROOT, eventually

KINDS: dict[str, dict[str, Any]] = {"classic": {}, "quorum": {"x-queue-type": "quorum"}}


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    async with Broker(os.environ["MANAGEMENT_URL"]) as broker:
        yield broker


@asynccontextmanager
async def channel(vhost: str) -> AsyncIterator[AbstractChannel]:
    async with await aio_pika.connect(vhost) as connection, connection.channel() as one:
        yield one


async def publish(one: AbstractChannel, queue: str, count: int = 1) -> None:
    for _ in range(count):
        await one.default_exchange.publish(aio_pika.Message(b"x"), queue)


async def counted(meter: Meter, before: Counts, expected: dict[str, dict[str, int]]) -> Counts:
    """The first counts that are as expected since ``before``; fails if there are none."""
    after, found = before, pd.DataFrame()

    async def as_expected() -> bool:
        nonlocal after, found
        after = await meter.read()
        each = [new.since(old) for old, new in zip(before, after, strict=True)]
        found = pd.concat(each, axis="columns")
        return found.to_dict("index") == expected

    try:
        await eventually(as_expected, within=30)
    except AssertionError:
        raise AssertionError(found.to_string()) from None
    return after


@pytest.mark.parametrize("kind", KINDS)
async def test_each_message_is_counted_once_for_all_that_happens_to_it(
    vhost: str, broker: Broker, kind: str
) -> None:
    async with channel(vhost) as one:
        queue = await one.declare_queue("q", durable=True, arguments=KINDS[kind])
        await publish(one, "q", 7)
        meter = await Meter.of(broker, vhost_of(vhost))
        earlier = {"published": 7, "delivered": 0, "acknowledged": 0, "redelivered": 0}
        before = await counted(meter, await nothing(meter), {"q": earlier})
        async with channel(vhost) as another:  # one that is gone before anybody counts
            await publish(another, "q", 33)
        for _ in range(5):
            await (await queue.get()).reject(requeue=True)
        for _ in range(40):
            await (await queue.get()).ack()
        now = {"published": 33, "delivered": 45, "acknowledged": 40, "redelivered": 5}
        after = await counted(meter, before, {"q": now})
    a_second = rates.between(before, after).loc["q"]
    seconds = after[1].at - before[1].at
    made = (a_second * seconds).round(6)
    assert [made[word] for word in rates.DELIVERED] == [45, 40, 5]
    assert round(a_second["published"] * (after[0].at - before[0].at), 6) == 33


async def nothing(meter: Meter) -> Counts:
    """The counts of a virtual host in which there was no queue yet."""
    return tuple(rates.Count(each.at, each.messages.iloc[:0]) for each in await meter.read())


async def test_what_the_broker_moves_by_itself_is_in_no_counter(vhost: str, broker: Broker) -> None:
    to_dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    async with channel(vhost) as one:
        await one.declare_queue("dead", durable=True)
        await one.declare_queue("q", durable=True, arguments=to_dead | {"x-message-ttl": 0})
        await publish(one, "q", 10)
        meter = await Meter.of(broker, vhost_of(vhost))
        none = {"delivered": 0, "acknowledged": 0, "redelivered": 0}
        expected = {"q": {"published": 10} | none, "dead": {"published": 0} | none}
        await counted(meter, await nothing(meter), expected)
        dead = await one.declare_queue("dead", passive=True)
        assert dead.declaration_result.message_count == 10


@pytest.mark.parametrize("kind", KINDS)
async def test_rates_are_in_the_proportion_of_what_went_through(
    vhost: str, broker: Broker, kind: str
) -> None:
    async with channel(vhost) as one:
        for name in ("once", "twice"):
            queue = await one.declare_queue(name, durable=True, arguments=KINDS[kind])
            await queue.consume(_acknowledge)
        sent = 0

        async def flow() -> None:
            nonlocal sent
            while True:
                await publish(one, "once", 1)
                await publish(one, "twice", 2)
                sent += 1

        flowing = asyncio.create_task(flow())
        await eventually(lambda: asyncio.sleep(0, sent > 5))
        before = sent
        table = await measured(broker, vhost_of(vhost))
        most = sent - before
        flowing.cancel()
    once, twice = table.loc["once"], table.loc["twice"]
    # The broker counts one queue after the other, and meanwhile more messages come.
    assert twice["published"] == pytest.approx(2 * once["published"], rel=0.25)
    assert 0 < once["published"] <= most
    assert list(table["consumers"]) == [1, 1]
    assert list(table["redelivered"]) == [0, 0]
    for row in (once, twice):
        assert row["delivered"] > 0
        assert row["acknowledged"] > 0


async def _acknowledge(message: AbstractIncomingMessage) -> None:
    await message.ack()


async def test_what_was_before_is_in_no_rate(vhost: str, broker: Broker) -> None:
    async with channel(vhost) as one:
        await one.declare_queue("q", durable=True)
        await publish(one, "q", 20)
        meter = await Meter.of(broker, vhost_of(vhost))
        row = {"published": 20, "delivered": 0, "acknowledged": 0, "redelivered": 0}
        await counted(meter, await nothing(meter), {"q": row})
        table = await measured(broker, vhost_of(vhost), seconds=0)
        assert table.loc["q"].to_dict() == {
            "type": "classic",
            "ready": 20,
            "unacked": 0,
            "consumers": 0,
            "published": 0.0,
            "delivered": 0.0,
            "acknowledged": 0.0,
            "redelivered": 0.0,
        }


async def test_a_queue_that_was_made_anew_has_no_rate_below_nothing(
    vhost: str, broker: Broker
) -> None:
    async with channel(vhost) as one:
        meter = await Meter.of(broker, vhost_of(vhost))
        none = {"delivered": 0, "acknowledged": 0, "redelivered": 0}
        await one.declare_queue("q", durable=True)
        await publish(one, "q", 20)
        before = await counted(meter, await nothing(meter), {"q": {"published": 20} | none})
        await one.queue_delete("q")
        await one.declare_queue("q", durable=True)
        await publish(one, "q", 3)
        await counted(meter, before, {"q": {"published": 3} | none})


async def test_a_virtual_host_without_queues_has_no_rates(vhost: str, broker: Broker) -> None:
    table = await measured(broker, vhost_of(vhost), seconds=0)
    assert list(table.columns)[-5:] == ["consumers", *rates.COLUMNS]
    assert table.empty


@pytest.mark.parametrize("with_rates", [False, True])
async def test_watching_goes_on_until_it_is_ended(
    vhost: str, broker: Broker, with_rates: bool
) -> None:
    async with channel(vhost) as one:
        await one.declare_queue("q", durable=True)
        depths = []
        tables = watched(broker, vhost_of(vhost), with_rates=with_rates)
        async for table in tables:
            depths.append(int(table["ready"]["q"]))
            await publish(one, "q")
            if len(depths) == 3:
                break
        await tables.aclose()
        assert depths == [0, 1, 2]
        assert ("published" in table) == with_rates


async def test_a_lab_is_watched_for_as_long_as_it_is_told(
    place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Lab.open(place) as lab:
        await lab.watch_queues(seconds=2.5, rates=False)
        table = await lab.queues(rates=True)
    shown = capsys.readouterr().out
    assert shown.count(REQUESTS) >= 2
    assert "\x1b" not in shown
    assert table.loc[REQUESTS, "consumers"] == 1
    assert list(table.columns) == ["type", "ready", "unacked", "consumers", *rates.COLUMNS]


def command(vhost: str, *options: str) -> list[str]:
    return [sys.executable, "-m", "labkit", "--vhost", vhost_of(vhost), "queues", *options]


@asynccontextmanager
async def watching(
    vhost: str, *options: str, **how: Any
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Heeds Ctrl-C, even if whoever runs the tests does not, and ends in any case."""
    process = await asyncio.create_subprocess_exec(
        *command(vhost, "--watch", *options),
        cwd=ROOT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **how,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def ended_by_ctrl_c(process: asyncio.subprocess.Process) -> int:
    process.send_signal(signal.SIGINT)
    return await asyncio.wait_for(process.wait(), 20)


async def test_in_a_pipe_there_is_one_table_after_the_other_until_ctrl_c(vhost: str) -> None:
    async with channel(vhost) as one:
        await one.declare_queue("q", durable=True)
        async with watching(vhost, stdout=asyncio.subprocess.PIPE) as process:
            assert process.stdout is not None
            lines = [(await process.stdout.readline()).decode() for _ in range(9)]
            assert await ended_by_ctrl_c(process) == 130
    assert [line.split()[0] for line in lines if line.startswith("q ")] == ["q", "q"]
    assert "\x1b" not in "".join(lines)


async def test_a_reader_that_has_seen_enough_ends_it(vhost: str) -> None:
    pipeline = await asyncio.create_subprocess_exec(
        "sh", "-c", '"$@" | head -n 1', "sh", *command(vhost, "--watch"),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await pipeline.communicate()
    assert (len(out.splitlines()), err) == (1, b"")


async def test_in_a_terminal_the_screen_is_written_anew(vhost: str) -> None:
    ours, theirs = pty.openpty()
    async with channel(vhost) as one:
        await one.declare_queue("q" * 200, durable=True)
        small = os.environ | {"COLUMNS": "60", "LINES": "10"}
        async with watching(vhost, "--rates", stdout=theirs, env=small) as process:
            os.close(theirs)
            seen = b""
            while seen.count(b"\x1b[H") < 3:
                seen += await asyncio.to_thread(os.read, ours, 1000)
            assert await ended_by_ctrl_c(process) == 130
        os.close(ours)
    assert seen.count(b"\x1b[2J") == 1
    lines = seen.decode().replace("\x1b[H", "").replace("\x1b[2J", "").split("\x1b[K")
    assert max(len(line.strip()) for line in lines) <= 60


async def test_the_command_measures_rates(vhost: str) -> None:
    async with channel(vhost) as one:
        await one.declare_queue("q", durable=True)
        process = await asyncio.create_subprocess_exec(
            *command(vhost, "--rates"), cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
    assert out.decode().splitlines()[0].split()[-5:] == ["consumers", *rates.COLUMNS]
    assert out.decode().splitlines()[2].split() == ["q", "classic", *("0",) * 3, *("0.0",) * 4]


async def test_virtual_hosts_are_listed_while_others_go(broker: Broker) -> None:
    names = [f"goes-{os.getpid()}-{number}" for number in range(10)]

    async def come_and_go() -> None:
        for _ in range(4):
            await asyncio.gather(*map(broker.create_vhost, names))
            await asyncio.gather(*map(broker.delete_vhost, names))

    task = asyncio.create_task(come_and_go())
    while not task.done():
        assert "/" in await broker.vhosts()
    await task
