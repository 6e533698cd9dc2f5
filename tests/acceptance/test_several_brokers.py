"""An address that names several brokers. Here both are ways to one, as the nodes of a cluster are
ways to the same queues.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import aio_pika
import pytest

from labkit.client.amqp import AsyncAPIClient
from labkit.dead_letters import DeadLetters
from labkit.errors import BrokerAway
from labkit.faults.network.proxy import Proxy
from labkit.place import vhost_of, with_path
from labkit.services import ports
from server.application.dispatcher import Dispatcher
from server.contract import brokers
from server.contract.connection import connect
from server.contract.steps import Step
from server.contract.vouching import user_of
from server.persistence.database import Database
from server.settings import Settings
from server.transports.amqp.worker import Worker
from tests.support import BOOK, as_client, as_server, eventually, wire


@asynccontextmanager
async def two_ways(url: str) -> AsyncIterator[tuple[Proxy, Proxy, str]]:
    target = urlsplit(url)
    host, port = target.hostname or "", target.port or 0
    async with (
        Proxy("one", (host, port)) as one,
        Proxy("two", (host, port)) as two,
    ):
        yield one, two, f"{one.through(url)},{two.through(url)}"


def test_a_password_may_have_a_comma_and_each_address_is_whole() -> None:
    url = "amqp://me:a,b@one:5672/x,amqps://me:a,b@two:5671/x"
    assert brokers.each(url) == ["amqp://me:a,b@one:5672/x", "amqps://me:a,b@two:5671/x"]
    assert (user_of(url), vhost_of(url)) == ("me", "x")
    assert with_path(url, "lab-1").split(",amqps")[0] == "amqp://me:a,b@one:5672/lab-1"
    assert with_path(url, "lab-1").endswith("@two:5671/lab-1")


async def test_the_first_that_lets_us_in_is_taken_and_asked_first_the_next_time() -> None:
    asked: list[str] = []

    async def ask(broker: str) -> str:
        asked.append(broker)
        if broker == "amqp://down":
            raise ConnectionError(broker)
        return broker

    url = "amqp://down,amqp://up"
    assert await brokers.connected(url, ask) == "amqp://up"
    assert await brokers.connected(url, ask) == "amqp://up"
    assert asked == ["amqp://down", "amqp://up", "amqp://up"]


async def test_when_all_are_away_the_error_names_each() -> None:
    away = [f"amqp://me:secret@127.0.0.1:{ports.any_free()}/x" for _ in range(2)]
    with pytest.raises(BrokerAway) as caught:
        await AsyncAPIClient(",".join(away), "key").connect()
    for address in away:
        assert address.partition("@")[2].partition("/")[0] in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_client_and_worker_go_on_with_the_next_one_and_the_request_is_done_once(
    settings: Settings, database: Database
) -> None:
    claimed, let_go = asyncio.Event(), asyncio.Event()

    async def observe(step: Step, request_id: str | None) -> None:
        if step is Step.CLAIMED and not claimed.is_set():
            claimed.set()
            await let_go.wait()

    async with (
        two_ways(as_client(settings)) as (client_one, _, client_url),
        two_ways(as_server(settings).amqp_url) as (server_one, _, server_url),
    ):
        stop = asyncio.Event()
        patient = settings.model_copy(
            update={"amqp_url": server_url, "retry_delays": (0.2, 0.5, 1, 2, 4)}
        )
        worker = asyncio.create_task(
            Worker(patient, Dispatcher(database, observe), observe).run(stop)
        )
        async with wire(settings) as operator:
            await eventually(lambda: operator.consumers("api.requests"))
        async with AsyncAPIClient(client_url, settings.api_key, timeout=30) as client:
            call = asyncio.create_task(client.request("create_book", BOOK, request_id="once"))
            await claimed.wait()
            await client_one.close()  # both lose the broker that they were connected to
            await server_one.close()
            assert await client.call("ping") == {"pong": True}
            let_go.set()
            reply = await call
            assert (reply.correlation_id, reply.status) == ("once", "ok")
            page = await client.call("get_books")
            assert [book["title"] for book in page["books"]] == [BOOK["title"]]
        stop.set()
        await worker


async def test_the_operators_tools_fail_over_too(settings: Settings, vhost: str) -> None:
    down = f"amqp://me:secret@127.0.0.1:{ports.any_free()}/x"
    url = f"{down},{vhost}"
    async with await connect(url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("api.dlq", durable=True)
        await channel.default_exchange.publish(aio_pika.Message(b"{}"), "api.dlq")
    letters = await DeadLetters(url, settings.api_key).list()
    assert len(letters) == 1
