"""What the broker dead-letters by itself reaches people redacted, with its reason, and never twice
without saying so.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
import asyncpg
import pytest

from server.application.dispatcher import Dispatcher
from server.contract import topology
from server.contract.connection import connect
from server.contract.topology import DEAD_LETTERS, RAW_DEAD_LETTERS, REQUESTS, SET_ASIDE
from server.settings import Settings
from server.transports.amqp.confirmed import PAUSE, ConfirmedPublisher
from server.transports.amqp.consumer import ONE_AT_A_TIME, Consumer
from server.transports.amqp.dead_letters import DeadLetters
from tests.support import BOOK, Wire, eventually, wire, worker_here, worker_process


async def give_up(settings: Settings) -> None:
    """Take the request as often as the broker delivers it, and never acknowledge it."""
    async with await aio_pika.connect(settings.amqp_url) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue(REQUESTS)
        while (message := await queue.get(fail=False)) is not None:
            await message.reject(requeue=True)


async def die_with_a_dead_letter(settings: Settings) -> None:
    async with await aio_pika.connect(settings.amqp_url) as connection:
        queue = await (await connection.channel()).get_queue(RAW_DEAD_LETTERS)
        await eventually(lambda: queue.get(fail=False))


@asynccontextmanager
async def lock_of_books(settings: Settings) -> AsyncIterator[None]:
    """No book can be written meanwhile."""
    holder = await asyncpg.connect(settings.database_url)
    try:
        await holder.execute("BEGIN; LOCK TABLE books_v1")
        yield
    finally:
        await holder.close()


async def no_declare() -> None:
    raise AssertionError("it is there")


async def declared(client: Wire, settings: Settings) -> None:
    await topology.declare(client._channel, settings)


async def test_a_request_that_reaches_the_delivery_limit_is_parked_redacted(
    settings: Settings, dispatcher: Dispatcher
) -> None:
    async with wire(settings) as client:
        await declared(client, settings)
        await client.send(client.body("create_book", BOOK, id="7", auth="canary"))
        await eventually(lambda: client.depth(REQUESTS))
        await give_up(settings)
        await die_with_a_dead_letter(settings)
        async with worker_here(settings, dispatcher):
            parked = await client.dead_letter()
    body, headers = json.loads(parked.body), parked.headers
    assert (body["id"], body["data"], body["auth"]) == ("7", BOOK, "[redacted]")
    assert (headers["x-reason"], headers["x-origin"]) == ("delivery_limit", REQUESTS)
    assert [failure["code"] for failure in list_of(headers["x-failures"])] == ["delivery_limit"]
    assert parked.correlation_id == "c-1"
    assert not [name for name in headers if name.startswith(("x-death", "x-first", "x-last"))]


async def test_a_request_that_expires_in_the_queue_is_parked_redacted(
    settings: Settings, dispatcher: Dispatcher
) -> None:
    async with wire(settings) as client:
        await declared(client, settings)
        await client.send(client.body("create_book", BOOK, auth="canary"), expiration=0.01)
        await eventually(lambda: client.depth(RAW_DEAD_LETTERS))
        async with worker_here(settings, dispatcher):
            parked = await client.dead_letter()
    assert parked.headers["x-reason"] == "expired"
    assert parked.expiration is None
    assert b"canary" not in parked.body


async def test_what_has_no_room_in_the_dead_letter_queue_waits_until_it_has(
    settings: Settings, dispatcher: Dispatcher
) -> None:
    async with wire(settings) as client:
        await declared(client, settings)
        full: dict[str, Any] = {"x-max-length": 1, "x-overflow": "reject-publish"}
        await client._channel.queue_delete(DEAD_LETTERS)
        await client._channel.declare_queue(DEAD_LETTERS, durable=True, arguments=full)
        await client._channel.default_exchange.publish(aio_pika.Message(b"1"), DEAD_LETTERS)
        body = client.body("ping", id="7")
        await client._channel.default_exchange.publish(aio_pika.Message(body), RAW_DEAD_LETTERS)
        async with await connect(settings.amqp_url) as connection:
            publisher = await ConfirmedPublisher.open(connection, no_declare)
            letters = DeadLetters(publisher, dispatcher.caller_of, settings.amqp_user)
            channel = await connection.channel(publisher_confirms=False)
            lane = await connection.lane(channel)
            consumer = Consumer(RAW_DEAD_LETTERS, letters, channel, lane, ONE_AT_A_TIME)
            await consumer.open()
            await asyncio.sleep(2 * PAUSE)
            (held,) = consumer._tasks
            assert not held.done()
            assert (await client.dead_letter()).body == b"1"
            await held
        assert json.loads((await client.dead_letter()).body)["id"] == "7"


@pytest.mark.parametrize("queue", ["api.dlq", "api.retry.50ms"])
async def test_a_queue_that_was_deleted_is_declared_again_when_it_is_needed(
    settings: Settings, dispatcher: Dispatcher, queue: str
) -> None:
    async with worker_here(settings, dispatcher), wire(settings) as client:
        await client._channel.queue_delete(queue)
        assert (await client.ask(b"no JSON"))["error"]["code"] == "malformed"
        assert (await client.dead_letter()).headers["x-reason"] == "malformed"
        async with lock_of_books(settings):
            assert (await client.ask(client.body("create_book", BOOK)))["status"] == "error"
        parked = await client.dead_letter()
        assert parked.headers["x-reason"] == "unavailable"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-death": "no list"},
        {"x-death": [1, {"queue": 1}]},
        {"x-death": [{"queue": "api.requests", "reason": "canary"}]},
    ],
)
async def test_what_was_sent_there_directly_is_parked_as_unknown(
    settings: Settings, dispatcher: Dispatcher, headers: dict[str, Any]
) -> None:
    async with worker_here(settings, dispatcher), wire(settings) as client:
        message = aio_pika.Message(b'{"auth": "canary"}', headers=headers)
        await client._channel.default_exchange.publish(message, RAW_DEAD_LETTERS)
        parked = await client.dead_letter()
    assert (parked.headers["x-reason"], parked.body) == ("unknown", b'{"auth":"[redacted]"}')


async def test_what_kills_every_worker_that_redacts_it_is_set_aside_by_the_broker(
    settings: Settings, dispatcher: Dispatcher
) -> None:
    fragile = settings.model_copy(update={"delivery_limit": 1})
    async with wire(fragile) as client:
        await declared(client, fragile)
        message = aio_pika.Message(b'{"id": "7", "auth": "canary", "data": {}}')
        await client._channel.default_exchange.publish(message, RAW_DEAD_LETTERS)
        for _ in range(2):
            await die_with_a_dead_letter(fragile)
        async with worker_here(fragile, dispatcher):
            assert (await client.dead_letter()).body == b'{"id":"7","auth":"[redacted]","data":{}}'
        await client._channel.default_exchange.publish(message, RAW_DEAD_LETTERS)
        for _ in range(3):
            await die_with_a_dead_letter(fragile)
        assert (await client.reply(SET_ASIDE)).body == message.body


def list_of(value: Any) -> list[Any]:
    assert isinstance(value, list)
    return value


async def test_a_worker_that_can_park_nothing_any_more_ends(settings: Settings) -> None:
    """It would serve on, and what is given up would pile up where no one looks."""
    async with worker_process(settings) as worker, wire(settings) as client:
        await client._channel.queue_delete(RAW_DEAD_LETTERS)
        await client._channel.declare_queue(RAW_DEAD_LETTERS, durable=True)
        assert await worker.ended() != 0
