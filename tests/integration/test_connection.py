"""Connections: none is left open that failed, and none holds up what does not need it."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import aio_pika
import pytest
import structlog

from labkit.client.channel import Link
from labkit.services import ports
from server.application.dispatcher import Dispatcher
from server.contract.properties import Properties
from server.settings import Settings
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


@pytest.mark.parametrize("opens", [worker, direct_reply, client])
async def test_nothing_is_left_for_the_garbage_collector_to_close(
    settings: Settings,
    dispatcher: Dispatcher,
    opens: Callable[[Settings, Dispatcher], Awaitable[Any]],
) -> None:
    nowhere = settings.model_copy(update={"amqp_url": f"amqp://127.0.0.1:{ports.any_free()}/"})
    with pytest.raises(OSError, match="Connect call failed") as failed:
        await opens(nowhere, dispatcher)
    made = [each for each in gc.get_objects() if issubclass(type(each), aio_pika.Connection)]
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
