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
from labkit.broker import peek, quorum_peek
from labkit.broker.held import connected, holding
from labkit.broker.management import Broker
from labkit.errors import BadSelection, CannotLook, NoSuchQueue, QueueInUse
from labkit.place import vhost_of
from labkit.services.broker_tools import BrokerTools
from server.contract import topology
from server.contract.limits import Limits
from server.contract.topology import DEAD_LETTERS, REQUESTS
from server.settings import Settings
from tests.acceptance.test_poison import publish_undecodable
from tests.support import ROOT, eventually

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
    def tools(self) -> BrokerTools | None:
        return BrokerTools.of(os.environ, self.url)

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
        return await peek.look(self.broker, vhost_of(self.url), self.url, self.tools, queue, count)

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
    if kind != "classic":  # which hands them out, and marks them
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


async def test_a_quorum_queue_is_left_alone_where_looking_would_count(here: Place) -> None:
    """In Docker, for one, there are no tools to ask."""
    await here.declare("quorum", DEADLY)
    await here.fill("quorum", 2)
    with pytest.raises(CannotLook, match="rabbitmq-queues peek"):
        await peek.look(here.broker, vhost_of(here.url), here.url, None, "quorum", 1)
    for message in await here.drain("quorum"):
        assert message.headers.get("x-delivery-count") in (0, None)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_look_shows_what_an_operator_asks_for_and_no_key(here: Place, kind: str) -> None:
    await here.declare("dead")
    await here.declare("q", KINDS[kind])
    await here.fill("q", 3)
    table = await here.peek("q", 2)
    assert list(table.loc[1, ["redelivered", "message_id", "correlation_id", "reply_to"]]) == [
        *(False, "m-0", "c-0", None)
    ]
    assert list(table.loc[1, ["attempt", "reason"]]) == [2, "internal"]
    if kind == "classic":
        assert table.loc[1, "size"] == len('{"id": 0, "auth": "a secret"}')
        assert table.loc[1, "body"] == '{"id":0,"auth":"[redacted]"}'
    else:
        assert table["size"].isna().all()
        assert table.loc[1, "body"] == '{"id":0,"auth":"[redacted]" …'
    assert table.dtypes.astype(str).to_dict() == peek.DTYPES


@pytest.mark.parametrize("kind", KINDS)
async def test_no_body_is_too_odd_to_be_looked_at(here: Place, kind: str) -> None:
    await here.declare("q", KINDS[kind])
    large = b'{"auth": "a secret", "text": "' + b"x" * 10_000_000 + b'"}'
    bodies = [large, large[:-1], os.urandom(1000), b"", "\x1b[2Jé\nß".encode(), b"[" * 5000]
    for body in bodies:
        headers = {"x-reason": "ж" * 30_000, "x-attempt": [{"a": bytearray(b"\xff")}]}
        await here.put("q", body, reply_to="r" * 200, correlation_id="\x1b[31m", headers=headers)
    table = await here.peek("q", 10)
    assert len(table) == len(bodies)
    if kind == "classic":
        assert list(table["size"]) == [len(body) for body in bodies]
        assert all(shown.startswith('{"unreadable":{"size":') for shown in table["body"][1:])
    assert table.loc[1, "correlation_id"] == "·[31m"
    text = table.to_string()
    assert "a secret" not in text
    assert all(len(str(value)) <= peek.WIDTH for row in table.to_numpy() for value in row)


BODIES = [
    (
        '{"id": "7", "version": "v1", "auth": "a secr',
        '{"id":"7","version":"v1","auth":"[redacted]" …',
    ),
    ('{"id": "7", "apikey": "a secr', '{"id":"7","[left out]":1 …'),
    ('{"data": {"title": "19', '{"data":{"title":"19"} …'),
    ("a secret", "[no JSON object]"),
    ('["a secret"', "[no JSON object]"),
    ("", "[no JSON object]"),
]


@pytest.mark.parametrize(
    ("binary", "value"),
    [
        ('<<"a \\"b\\\\ \\n">>', b'a "b\\ \n'),
        ("<<99,208,\n  150>>", "cЖ".encode()),
        ('<<"cЖ"/utf8>>', "cЖ".encode()),
        ('<<"one "\n  "line">>', b"one line"),
        ("<<>>", b""),
        ("-1", -1),
    ],
)
def test_a_term_is_read_however_erlang_prints_it(binary: str, value: bytes | int) -> None:
    printed = f'[[{{<<"keys">>,<<"name">>}},\n  {{<<"values">>,{binary}}}]]'
    assert quorum_peek.parsed(printed) == {"name": value}


@pytest.mark.parametrize(
    ("body", "shown"),
    BODIES,
)
def test_of_half_a_body_only_what_is_no_secret_is_shown(body: str, shown: str) -> None:
    assert quorum_peek.beginning(body.encode()) == shown


@pytest.mark.parametrize("kind", ["classic", "quorum"])
async def test_a_message_that_no_client_can_decode(
    here: Place, settings: Settings, kind: str
) -> None:
    await here.declare(REQUESTS, KINDS[kind])
    await publish_undecodable(settings, b'{"auth": "a secret"}')
    await here.ready(REQUESTS, 1)
    (body,) = (await here.peek(REQUESTS))["body"]
    assert body.startswith('{"auth":"[redacted]"')
    await here.ready(REQUESTS, 1)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_look_is_no_longer_than_the_queue(here: Place, kind: str) -> None:
    await here.declare("q", KINDS[kind])
    assert (await here.peek("q")).empty
    await here.fill("q", 3)
    assert (await here.peek("q", 0)).empty
    most = peek.MOST if kind == "classic" else peek.MOST_IN_QUORUM_QUEUES
    assert list((await here.peek("q", most))["message_id"]) == ["m-0", "m-1", "m-2"]
    for wrong in (-1, most + 1):
        with pytest.raises(BadSelection, match=f"0 to {most}"):
            await here.peek("q", wrong)


async def test_where_there_is_nothing_to_look_into_it_says_why(here: Place) -> None:
    await here.declare("api.requests")
    with pytest.raises(NoSuchQueue, match=r"'api\.request' .*Its queues are: api\.requests\."):
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


@pytest.mark.parametrize("name", ["a b", "é", "'}}.", '">>, halt().', "{vhost}", "~p", "--node"])
async def test_a_queue_may_be_called_anything(here: Place, name: str) -> None:
    await declare_over_http(here, name, QUORUM)
    await here.fill(name, 1)
    assert list((await here.peek(name))["message_id"]) == ["m-0"]


async def declare_over_http(here: Place, name: str, arguments: dict[str, Any]) -> None:
    where = "/".join(quote(part, safe="") for part in ("queues", vhost_of(here.url), name))
    await here.broker._do("PUT", where, json={"durable": True, "arguments": arguments})


async def test_a_classic_queue_that_cannot_be_named_is_not_looked_into(here: Place) -> None:
    await declare_over_http(here, "é", {})
    with pytest.raises(CannotLook, match="no name with such characters"):
        await here.peek("é")


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
        assert str((await lab.peek(REQUESTS)).loc[1, "reply_to"]).startswith("amq.gen-")
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
    assert "Its queues are: q." in err


async def labkit(here: Place, *arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "labkit", "--vhost", vhost_of(here.url), *arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_a_long_look_has_all_messages_in_their_order(here: Place) -> None:
    await here.declare("q", QUORUM)
    await here.fill("q", peek.MOST_IN_QUORUM_QUEUES + 1)
    table = await here.peek("q", peek.MOST_IN_QUORUM_QUEUES)
    assert list(table["message_id"]) == [f"m-{n}" for n in range(peek.MOST_IN_QUORUM_QUEUES)]
