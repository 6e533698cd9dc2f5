"""Connections: none is left open that failed, and none holds up what does not need it."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import aio_pika
import pytest
import structlog

from labkit.client.channel import Link
from labkit.faults.network.proxy import Proxy
from labkit.services import ports
from server.application.dispatcher import Dispatcher
from server.contract.connection import connect
from server.contract.properties import Properties
from server.settings import Settings
from server.transports.amqp import depths
from server.transports.amqp.confirmed import ConfirmedPublisher
from server.transports.amqp.direct_reply import MOST_WAITING, DirectReplies
from server.transports.amqp.worker import FIRST_PAUSE, Worker
from tests.support import eventually

DIRECT = "amq.rabbitmq.reply-to.x"


def worker(settings: Settings, dispatcher: Dispatcher) -> Awaitable[Any]:
    return Worker(settings, dispatcher)._connect()


def direct_reply(settings: Settings, _: Dispatcher) -> Awaitable[Any]:
    return DirectReplies(settings.amqp_url)._send(DIRECT, Properties(), b"")


def client(settings: Settings, _: Dispatcher) -> Awaitable[Any]:
    return Link.open(settings.amqp_url, lambda *_: None)


def connections() -> list[aio_pika.Connection]:
    return [each for each in gc.get_objects() if issubclass(type(each), aio_pika.Connection)]


@pytest.mark.parametrize("opens", [worker, direct_reply, client])
async def test_nothing_is_left_for_the_garbage_collector_to_close(
    settings: Settings,
    dispatcher: Dispatcher,
    opens: Callable[[Settings, Dispatcher], Awaitable[Any]],
) -> None:
    nowhere = settings.model_copy(update={"amqp_url": f"amqp://127.0.0.1:{ports.any_free()}/"})
    before = connections()
    with pytest.raises(OSError, match="Connect call failed") as failed:
        await opens(nowhere, dispatcher)
    made = [each for each in connections() if each not in before]
    assert failed.tb  # its frames hold what was made
    assert made
    assert all(each.is_closed for each in made)


async def test_direct_replies_hold_up_no_request_though_none_can_be_sent(
    capsys: pytest.CaptureFixture[str],
) -> None:
    nowhere = f"amqp://127.0.0.1:{ports.any_free()}/"
    async with DirectReplies(nowhere) as direct:
        for _ in range(MOST_WAITING + 10):
            direct.send(DIRECT, Properties(), b"")
    said = capsys.readouterr().out
    assert said.count("direct_reply_dropped") == 10
    assert said.count("direct_reply_lost") == MOST_WAITING


async def test_a_worker_waits_longer_each_time_and_no_two_equally_long(
    settings: Settings, dispatcher: Dispatcher
) -> None:
    nowhere = settings.model_copy(update={"amqp_url": f"amqp://127.0.0.1:{ports.any_free()}/"})
    stop = asyncio.Event()
    with structlog.testing.capture_logs() as logged:
        worker = asyncio.create_task(Worker(nowhere, dispatcher).run(stop))
        await eventually(lambda: asyncio.sleep(0, len(logged) >= 8))
        stop.set()
        await worker
    pauses = sorted(line["retry_in"] for line in logged if line["event"] == "broker_unreachable")
    assert len(set(pauses)) > len(pauses) / 2, (
        "both connections of a worker wait, each its own time"
    )
    for number, both in enumerate(zip(pauses[::2], pauses[1::2], strict=False)):
        longest = FIRST_PAUSE * 2**number
        assert all(longest / 2 - 0.01 <= pause <= longest for pause in both)


async def published(settings: Settings, *bodies: bytes) -> list[bytes]:
    """What is in the queue after these were published side by side, with one id. It is declared
    when the first of them comes back.
    """
    async with await connect(settings.amqp_url) as connection, connection.channel() as channel:

        async def declare() -> None:
            await channel.declare_queue("later", durable=True)

        publisher = await ConfirmedPublisher.open(connection, declare)
        copies = [aio_pika.Message(body, message_id="1") for body in bodies]
        await asyncio.gather(*(publisher.publish(copy, "later") for copy in copies))
        queue = await channel.get_queue("later")
        return [(await queue.get(no_ack=True)).body for _ in bodies]


async def test_of_two_messages_with_one_id_that_come_back_none_counts_as_taken(
    settings: Settings,
) -> None:
    assert sorted(await published(settings, b"a", b"b", b"c")) == [b"a", b"b", b"c"]


async def test_a_message_that_comes_back_to_no_one_is_in_no_log(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """Its body has a key."""
    parts = urlsplit(settings.amqp_url)
    async with (
        Proxy("broker", (str(parts.hostname), parts.port or 5672)) as proxy,
        await connect(proxy.through(settings.amqp_url)) as connection,
    ):

        async def declare() -> None:
            await asyncio.sleep(60)

        publisher = await ConfirmedPublisher.open(connection, declare)
        await proxy.latency(0.3)
        copy = aio_pika.Message(b"a secret", message_id="1")
        task = asyncio.create_task(publisher.publish(copy, "nowhere"))
        await asyncio.sleep(0.1)  # it is written, and not back
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(1)
    assert "a secret" not in caplog.text


async def test_a_broker_that_falls_silent_ends_no_watcher(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiormq then cancels what waits for an answer: as if the task itself were cancelled."""
    monkeypatch.setattr(depths, "heartbeat", lambda url: 1)
    monkeypatch.setattr(depths, "EVERY", 0.1)
    parts = urlsplit(settings.amqp_url)
    looked = asyncio.Event()
    async with (
        await connect(settings.amqp_url) as connection,
        connection.channel() as channel,
        Proxy("broker", (str(parts.hostname), parts.port or 5672)) as proxy,
    ):
        for name in depths.QUEUES:
            await channel.declare_queue(name, durable=True)
        url = proxy.through(settings.amqp_url)
        async with depths.watching(url, lambda *_: looked.set()):
            await asyncio.wait_for(looked.wait(), 10)
            await proxy.black_hole()
            await asyncio.sleep(5)  # three heartbeats, and some more
            looked.clear()
            await proxy.heal()
            await asyncio.wait_for(looked.wait(), 10)
