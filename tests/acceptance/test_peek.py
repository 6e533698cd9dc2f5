"""Looking into a queue changes nothing in it."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aio_pika
import pandas as pd
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from labkit import Lab
from labkit.broker import peek
from labkit.broker.held import connected, holding
from labkit.broker.management import Broker
from labkit.errors import BadSelection, CannotLook, NoSuchQueue, QueueInUse
from labkit.place import vhost_of
from labkit.services import Console
from server.contract import topology
from server.contract.limits import Limits
from server.contract.topology import DEAD_LETTERS, REQUESTS
from server.settings import Settings
from tests.acceptance.test_poison import publish_undecodable
from tests.support import HOME, eventually

QUORUM: dict[str, Any] = {"x-queue-type": "quorum"}
DEADLY = QUORUM | {
    "x-delivery-limit": 2,
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": "dead",
}
WAITING = topology.retry(3600, Limits()).arguments
KINDS: dict[str, dict[str, Any]] = {
    "classic": {},
    "quorum": QUORUM,
    "limited": DEADLY,
    "waiting": dict(WAITING),
}
COUNTS = ("x-delivery-count", "x-acquired-count")


@dataclass
class Place:
    """A virtual host, a channel to it, and what looks into its queues."""

    url: str
    channel: AbstractChannel
    broker: Broker

    @property
    def console(self) -> Console | None:
        return Console.of(os.environ, self.url)

    async def declare(self, name: str, arguments: dict[str, Any] | None = None) -> None:
        await self.channel.declare_queue(name, durable=True, arguments=arguments)

    async def fill(self, queue: str, count: int) -> None:
        for number in range(count):
            message = aio_pika.Message(
                json.dumps({"id": number, "auth": "a secret"}).encode(),
                message_id=f"m-{number}",
                correlation_id=f"c-{number}",
                headers={"x-attempt": 2, "x-reason": "internal"},
            )
            await self.channel.default_exchange.publish(message, queue)

    async def put(self, queue: str, body: bytes, **properties: Any) -> None:
        message = aio_pika.Message(body, **properties)
        await self.channel.default_exchange.publish(message, queue)

    async def peek(self, queue: str, count: int = 5) -> pd.DataFrame:
        return peek.table(await self.messages(queue, count))

    async def messages(
        self, queue: str, count: int = 5, console: Console | None = None
    ) -> list[aio_pika.IncomingMessage]:
        how = console or self.console
        vhost = vhost_of(self.url)
        return await peek.messages(self.broker, vhost, self.url, how, queue, count)

    async def refuse(self, queue: str, count: int) -> None:
        """Take the first ones and give them back, as a worker that is not able to."""
        source = await self.channel.get_queue(queue)
        for message in [await source.get() for _ in range(count)]:
            await message.reject(requeue=True)
        await self.ready(queue, 1)

    async def ready(self, queue: str, least: int) -> None:
        await eventually(lambda: self._has(queue, least))

    async def _has(self, queue: str, least: int) -> bool:
        return await self.depth(queue) >= least

    async def depth(self, queue: str) -> int:
        declared = await self.channel.declare_queue(queue, passive=True)
        return declared.declaration_result.message_count or 0

    async def drain(self, queue: str) -> list[AbstractIncomingMessage]:
        source = await self.channel.get_queue(queue)
        found = []
        while (message := await source.get(fail=False)) is not None:
            found.append(message)
        return found


@pytest.fixture
async def here(vhost: str) -> AsyncIterator[Place]:
    async with (
        Broker(os.environ["MANAGEMENT_URL"]) as broker,
        await aio_pika.connect(vhost) as connection,
        connection.channel(on_return_raises=True) as channel,
    ):
        yield Place(vhost, channel, broker)


def shown(message: AbstractIncomingMessage) -> list[Any]:
    """All that a consumer gets of it."""
    return [message.body, message.headers, message.message_id, message.correlation_id]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("came_back", [0, 4])
async def test_looking_changes_neither_order_nor_bodies_nor_counts(
    here: Place, kind: str, came_back: int
) -> None:
    for name in ("looked-into", "left-alone"):
        await here.declare(name, KINDS[kind])
        await here.fill(name, 6)
        await here.refuse(name, came_back)
        await here.ready(name, 6)
    for count in (1, 2, 6, 1):
        assert list((await here.peek("looked-into", count)).index) == list(range(1, count + 1))
    looked_into, left_alone = [await here.drain(name) for name in ("looked-into", "left-alone")]
    assert [shown(message) for message in looked_into] == [shown(m) for m in left_alone]
    assert len(looked_into) == 6
    if kind != "classic":  # which lends them, and marks what was lent
        assert [m.redelivered for m in looked_into] == [m.redelivered for m in left_alone]


async def test_a_message_at_its_limit_survives_every_look(here: Place) -> None:
    await here.declare("dead")
    await here.declare("limited", DEADLY)
    await here.fill("limited", 2)
    for _ in range(2):
        await here.refuse("limited", 1)
    for _ in range(5):
        assert list((await here.peek("limited"))["redelivered"]) == [True, False]
    assert await here.depth("limited") == 2
    assert await here.depth("dead") == 0
    (first, _) = await here.messages("limited")
    assert first.headers["x-delivery-count"] == 2


async def test_a_quorum_queue_is_left_alone_where_looking_would_count(here: Place) -> None:
    """In Docker, for one, there is nobody to ask but the queue itself."""
    await here.declare("quorum", DEADLY)
    await here.fill("quorum", 2)
    vhost = vhost_of(here.url)
    look = peek.messages(here.broker, vhost, here.url, None, "quorum", 1)
    if await here.broker.version() >= (4, 3):
        assert [message.message_id for message in await look] == ["m-0"]
    else:
        with pytest.raises(CannotLook, match="rabbitmq-queues peek"):
            await look
    for message in await here.drain("quorum"):
        assert message.headers.get("x-delivery-count") in (0, None)


async def test_what_is_lent_by_a_quorum_queue_comes_back_in_front_of_what_came_back_before(
    here: Place,
) -> None:
    await here.declare("quorum", QUORUM | {"x-delivery-limit": 100})
    await here.fill("quorum", 6)
    await here.refuse("quorum", 4)
    await here.ready("quorum", 6)
    for _ in range(3):
        assert len(await peek._borrowed(here.url, "quorum", 2, with_returned=True)) == 2
        assert await here.depth("quorum") == 6
    assert [m.message_id for m in await here.drain("quorum")] == [f"m-{n}" for n in range(6)]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_look_shows_what_an_operator_asks_for_and_no_key(here: Place, kind: str) -> None:
    await here.declare("dead")
    await here.declare("q", KINDS[kind])
    await here.fill("q", 3)
    table = await here.peek("q", 2)
    assert table.loc[1].to_dict() == {
        "redelivered": False,
        "message_id": "m-0",
        "correlation_id": "c-0",
        "reply_to": None,
        "attempt": 2,
        "reason": "internal",
        "size": len('{"id": 0, "auth": "a secret"}'),
        "body": '{"id":0,"auth":"[redacted]"}',
    }
    whole = (await here.messages("q", 2))[1]
    assert json.loads(whole.body) == {"id": 1, "auth": "a secret"}
    assert whole.routing_key == "q"
    with pytest.raises(TypeError, match="no_ack"):
        await whole.ack()


@pytest.mark.parametrize("kind", KINDS)
async def test_no_body_is_too_odd_to_be_looked_at(here: Place, kind: str) -> None:
    await here.declare("q", KINDS[kind])
    large = b'{"auth": "a secret", "text": "' + b"x" * 10_000_000 + b'"}'
    bodies = [large, large[:-1], os.urandom(1000), b"", "\x1b[2Jé\nß".encode(), b"[" * 5000]
    for body in bodies:
        await here.put("q", body, reply_to="r" * 200, correlation_id="\x1b[31m")
    table = await here.peek("q", 10)
    assert list(table["size"]) == [len(body) for body in bodies]
    assert all(shown.startswith('{"unreadable":{"size":') for shown in table["body"][1:])
    assert table.loc[1, "correlation_id"] == "·[31m"
    text = table.to_string()
    assert "a secret" not in text
    assert all(len(str(value)) <= peek.WIDTH for row in table.to_numpy() for value in row)
    assert [m.body for m in await here.messages("q", 10)] == bodies


@pytest.mark.parametrize("kind", ["classic", "quorum"])
async def test_a_message_that_no_client_can_decode(
    here: Place, settings: Settings, kind: str
) -> None:
    await here.declare(REQUESTS, KINDS[kind])
    await publish_undecodable(settings, b'{"auth": "a secret"}')
    await here.ready(REQUESTS, 1)
    assert list((await here.peek(REQUESTS))["body"]) == ['{"auth":"[redacted]"}']
    await here.ready(REQUESTS, 1)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_look_is_no_longer_than_the_queue(here: Place, kind: str) -> None:
    await here.declare("q", KINDS[kind])
    assert (await here.peek("q")).empty
    await here.fill("q", 3)
    assert (await here.peek("q", 0)).empty
    assert list((await here.peek("q", 1000))["message_id"]) == ["m-0", "m-1", "m-2"]
    for wrong in (-1, 1001):
        with pytest.raises(BadSelection, match="0 to 1000"):
            await here.peek("q", wrong)


async def test_where_there_is_nothing_to_look_into_it_says_why(here: Place) -> None:
    await here.declare("api.requests")
    with pytest.raises(NoSuchQueue, match=r"'api\.request' .*there is: api\.requests\."):
        await here.peek("api.request")
    await here.declare("stream", {"x-queue-type": "stream"})
    with pytest.raises(CannotLook, match="offset"):
        await here.peek("stream")
    mine = await here.channel.declare_queue(exclusive=True)
    with pytest.raises(CannotLook, match="declared it"):
        await here.peek(mine.name)
    await here.declare("single", {"x-single-active-consumer": True})
    with pytest.raises(CannotLook, match="one consumer"):
        await here.peek("single")
    await here.declare(DEAD_LETTERS)
    async with connected(here.url) as connection, holding(connection, DEAD_LETTERS):
        with pytest.raises(QueueInUse):
            await here.peek(DEAD_LETTERS)


@pytest.mark.parametrize("name", ["a b", "é", "'}}.", '">>, halt().', "{vhost}", "~p"])
async def test_a_queue_may_be_called_anything(here: Place, name: str) -> None:
    where = "/".join(quote(part, safe="") for part in ("queues", vhost_of(here.url), name))
    await here.broker._do("PUT", where, json={"durable": True, "arguments": QUORUM})
    await here.fill(name, 1)
    assert list((await here.peek(name))["message_id"]) == ["m-0"]


@pytest.mark.parametrize("kind", ["classic", "quorum", "limited"])
async def test_looking_takes_nothing_from_a_consumer_at_work(here: Place, kind: str) -> None:
    await here.declare("dead")
    await here.declare("q", KINDS[kind])
    done: list[str] = []

    async def work(message: AbstractIncomingMessage) -> None:
        await asyncio.sleep(0.001)
        done.append(str(message.message_id))
        await message.ack()

    await here.channel.set_qos(5)
    await (await here.channel.get_queue("q")).consume(work)
    filling = asyncio.create_task(here.fill("q", 300))
    while not filling.done():
        assert len(await here.peek("q", 3)) <= 3
    await filling
    await eventually(lambda: asyncio.sleep(0, len(done) >= 300))
    assert sorted(done) == sorted(f"m-{number}" for number in range(300))
    assert await here.depth("dead") == 0


async def test_many_may_look_at_once(here: Place) -> None:
    await here.declare("q", QUORUM)
    await here.fill("q", 3)
    tables = await asyncio.gather(*(here.peek("q") for _ in range(20)))
    assert [len(table) for table in tables] == [3] * 20


async def test_a_lab_is_looked_into(place: str) -> None:
    async with Lab.open(place) as lab:
        await lab.stop_workers()
        client = await lab.client()
        call = asyncio.create_task(client.call("ping", timeout=30))
        await eventually(lambda: _peeked(lab))
        (message,) = await lab.messages(REQUESTS)
        assert message.reply_to is not None
        deadline = message.headers["x-deadline"]
        assert isinstance(deadline, int)
        assert (await lab.peek(REQUESTS)).loc[1, "reply_to"] == message.reply_to
        with pytest.raises(NoSuchQueue, match=r"api\.dlq"):
            await lab.peek("nowhere")
        await lab.start_workers()
        assert await call == {"pong": True}


async def _peeked(lab: Lab) -> bool:
    return len(await lab.peek(REQUESTS)) == 1


async def test_the_command_prints_the_same(here: Place) -> None:
    await here.declare("q", QUORUM)
    await here.fill("q", 7)
    code, out, _ = await labkit(here, "peek", "q", "-n", "2")
    assert code == 0
    assert [line.split()[2] for line in out.splitlines()[2:]] == ["m-0", "m-1"]
    assert "a secret" not in out
    code, out, err = await labkit(here, "peek", "r")
    assert (code, out) == (1, "")
    assert "there is: q." in err


async def labkit(here: Place, *arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "labkit", "--vhost", vhost_of(here.url), *arguments),
        cwd=HOME,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()
