"""What each user of the broker may do, and that it may do nothing else: tried, one by one."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import aio_pika
import httpx
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import PublishError
from aiormq.exceptions import ChannelAccessRefused, ChannelLockedResource

from labkit.services.permissions import CLIENT, SERVER
from server.application.dispatcher import Dispatcher
from server.contract import topology
from server.settings import Settings
from tests.support import BOOK, as_client, as_server, wire, worker_here

QUEUES = ["api.requests", "api.dlq", "api.dlq.raw", "api.retry.50ms"]
Attempt = Callable[[AbstractChannel], Awaitable[object]]


@asynccontextmanager
async def channel_to(url: str) -> AsyncIterator[AbstractChannel]:
    async with await aio_pika.connect(url) as connection:
        yield await connection.channel(on_return_raises=True)


async def refused(url: str, attempt: Attempt) -> None:
    async with channel_to(url) as channel:
        with pytest.raises(ChannelAccessRefused):
            await attempt(channel)


@pytest.fixture
async def client_url(settings: Settings) -> str:
    """The client's URL, of a virtual host where a server was once started."""
    async with channel_to(as_server(settings).amqp_url) as channel:
        await topology.declare(channel, settings)
    return as_client(settings)


async def ignore(message: AbstractIncomingMessage) -> None: ...


async def consume(channel: AbstractChannel, name: str) -> None:
    await (await channel.get_queue(name, ensure=False)).consume(ignore)


async def get(channel: AbstractChannel, name: str) -> None:
    await (await channel.get_queue(name, ensure=False)).get(fail=False)


async def purge(channel: AbstractChannel, name: str) -> None:
    await (await channel.get_queue(name, ensure=False)).purge()


async def delete(channel: AbstractChannel, name: str) -> None:
    await channel.queue_delete(name)


async def bind(channel: AbstractChannel, name: str) -> None:
    await (await channel.get_queue(name, ensure=False)).bind("amq.topic", "#")


async def redeclare(channel: AbstractChannel, name: str) -> None:
    await channel.declare_queue(name, durable=True)


OUT_OF_A_QUEUE = [consume, get, purge, delete, bind, redeclare]


@pytest.mark.parametrize("queue", QUEUES)
@pytest.mark.parametrize("attempt", OUT_OF_A_QUEUE)
async def test_a_client_takes_nothing_out_of_a_queue_of_the_server(
    client_url: str, queue: str, attempt: Callable[[AbstractChannel, str], Awaitable[None]]
) -> None:
    await refused(client_url, lambda channel: attempt(channel, queue))


async def publish(channel: AbstractChannel, exchange: str) -> None:
    there = await channel.get_exchange(exchange, ensure=False)
    await there.publish(aio_pika.Message(b""), "api.requests")


async def eavesdrop(channel: AbstractChannel) -> None:
    mine = await channel.declare_queue(exclusive=True)
    await mine.bind("amq.rabbitmq.trace", "#")


ELSEWHERE: dict[str, Attempt] = {
    "a named queue": lambda channel: channel.declare_queue("mine"),
    "a queue named like a reply queue": lambda channel: channel.declare_queue("amq.gen-guess"),
    "an exchange": lambda channel: channel.declare_exchange("mine"),
    "an exchange named like one": lambda channel: channel.declare_exchange("amq.gen-mine"),
    "publish to fanout": lambda channel: publish(channel, "amq.fanout"),
    "publish to topic": lambda channel: publish(channel, "amq.topic"),
    "the trace of all messages": eavesdrop,
}


@pytest.mark.parametrize("name", ELSEWHERE)
async def test_a_client_declares_and_publishes_nowhere_else(client_url: str, name: str) -> None:
    await refused(client_url, ELSEWHERE[name])


async def test_a_client_cannot_read_the_replies_of_another_one(client_url: str) -> None:
    async with channel_to(client_url) as mine, channel_to(client_url) as theirs:
        replies = await mine.declare_queue(exclusive=True)
        with pytest.raises(ChannelLockedResource):
            await consume(theirs, replies.name)


async def test_a_client_may_ask_and_read_its_reply(
    settings: Settings, dispatcher: Dispatcher
) -> None:
    allowed = settings.model_copy(update={"amqp_url": as_client(settings)})
    async with worker_here(settings, dispatcher), wire(allowed) as client:
        assert (await client.ask(client.body("ping")))["status"] == "ok"


async def test_a_client_may_use_direct_reply_to(settings: Settings, dispatcher: Dispatcher) -> None:
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def receive(message: AbstractIncomingMessage) -> None:
        await arrived.put(message.body)

    allowed = settings.model_copy(update={"amqp_url": as_client(settings)})
    async with worker_here(settings, dispatcher), wire(allowed) as client:
        address = "amq.rabbitmq.reply-to"
        replies = await client._channel.get_queue(address, ensure=False)
        await replies.consume(receive, no_ack=True)
        await client.send(client.body("ping"), reply_to=address)
        reply = json.loads(await asyncio.wait_for(arrived.get(), 10))
    assert reply["status"] == "ok"


async def test_a_client_learns_that_there_is_no_server(settings: Settings) -> None:
    async with channel_to(as_client(settings)) as channel:
        with pytest.raises(PublishError, match="NO_ROUTE"):
            await channel.default_exchange.publish(aio_pika.Message(b""), "api.requests")


@pytest.mark.parametrize("reply_to", ["amq.gen-AAAAAAAAAAAAAAAAAAAAAA", "amq.gen-", "celery"])
async def test_a_reply_to_nobody_is_dropped_and_harms_nobody(
    settings: Settings, dispatcher: Dispatcher, reply_to: str
) -> None:
    allowed = settings.model_copy(update={"amqp_url": as_client(settings)})
    async with (
        worker_here(settings, dispatcher),
        wire(allowed) as client,
        wire(settings) as operator,  # RabbitMQ 4.3 tells no client how long a queue is
    ):
        await client.send(client.body("create_book", BOOK, id="7"), reply_to=reply_to)
        again = await client.ask(client.body("create_book", BOOK, id="7"))
        assert again["status"] == "ok"
        for queue in ("api.requests", "api.dlq", "api.dlq.raw"):
            assert await operator.depth(queue) == 0


@pytest.mark.parametrize(
    ("name", "attempt"),
    [
        ("another queue", lambda channel: channel.declare_queue("mine")),
        ("a reply queue", lambda channel: channel.declare_queue(exclusive=True)),
        ("an exchange", lambda channel: channel.declare_exchange("mine")),
        ("another exchange", lambda channel: publish(channel, "amq.fanout")),
        ("eavesdrop", eavesdrop),
        ("bind", lambda channel: bind(channel, "api.requests")),
    ],
)
async def test_the_server_has_its_own_queues_and_no_more(
    settings: Settings, client_url: str, name: str, attempt: Attempt
) -> None:
    await refused(as_server(settings).amqp_url, attempt)


@pytest.mark.parametrize("name", ["AMQP_URL", "SERVER_AMQP_URL"])
@pytest.mark.parametrize("path", ["overview", "queues", "definitions", "connections"])
async def test_the_management_api_is_closed_to_client_and_server(name: str, path: str) -> None:
    login, there = urlsplit(os.environ[name]), urlsplit(os.environ["MANAGEMENT_URL"])
    async with httpx.AsyncClient(trust_env=False) as http:
        response = await http.get(
            f"http://{there.hostname}:{there.port}/api/{path}",
            auth=(login.username or "", login.password or ""),
        )
    assert response.status_code in (401, 403)


async def test_there_is_no_guest() -> None:
    where = urlsplit(os.environ["AMQP_URL"])
    with pytest.raises(aio_pika.exceptions.AMQPError):
        await aio_pika.connect(f"amqp://guest:guest@{where.hostname}:{where.port}")


def test_the_servers_rights_are_those_that_its_topology_needs(settings: Settings) -> None:
    for queue in topology.topology(settings):
        assert re.search(SERVER.configure, queue.name)
        assert re.search(SERVER.read, queue.name)
        assert not re.search(CLIENT.configure, queue.name)
        assert not re.search(CLIENT.read, queue.name)
