"""A dead letter is kept: through a restart of the broker, and under every policy that it allows."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aio_pika
import pytest
from aio_pika.exceptions import DeliveryError

from labkit.broker.management import Broker
from labkit.dead_letters import DeadLetters
from labkit.place import vhost_of
from labkit.services import failures
from labkit.services.private import private_home
from server.application.dispatcher import Dispatcher
from server.contract import topology
from server.contract.topology import DEAD_LETTERS, SET_ASIDE
from server.settings import Settings
from tests.support import Wire, at, eventually, wire, worker_here

LETTERS = 5


async def set_policy(settings: Settings, pattern: str, **definition: Any) -> None:
    """It applies to what is published from now on: returns when the broker says that it holds."""
    where = f"{vhost_of(settings.amqp_url)}/it"
    policy = {"pattern": pattern, "definition": definition, "apply-to": "queues"}
    async with Broker(os.environ["MANAGEMENT_URL"]) as broker:
        await broker._do("PUT", f"policies/{where}", json=policy)

        async def applies() -> bool:
            queues = {q["name"]: q for q in await broker.queues(vhost_of(settings.amqp_url))}
            return queues[DEAD_LETTERS].get("policy") == "it"

        await eventually(applies)


async def write(client: Wire, count: int = LETTERS) -> int:
    """How many of them the broker has confirmed."""

    async def one(number: int) -> bool:
        message = aio_pika.Message(b"%d" % number, delivery_mode=2)
        try:
            await client._channel.default_exchange.publish(message, DEAD_LETTERS)
        except DeliveryError:
            return False
        return True

    return sum([await one(number) for number in range(count)])


@asynccontextmanager
async def under(settings: Settings, pattern: str, **definition: Any) -> AsyncIterator[Wire]:
    async with wire(settings) as client:
        await topology.declare(client._channel, settings)
        await set_policy(settings, pattern, **definition)
        yield client


async def test_what_a_policy_lets_expire_is_set_aside(settings: Settings) -> None:
    async with under(settings, r"^api\.dlq$", **{"message-ttl": 50}) as client:
        assert await write(client) == LETTERS

        async def aside() -> bool:
            return await client.depth(SET_ASIDE) == LETTERS

        await eventually(aside)
        assert await client.depth(DEAD_LETTERS) == 0


async def test_a_policy_cannot_lead_letters_elsewhere(settings: Settings) -> None:
    loop = {
        "message-ttl": 50,
        "dead-letter-exchange": "",
        "dead-letter-routing-key": topology.REQUESTS,
    }
    async with under(settings, r"^api\.dlq$", **loop) as client:
        await write(client)
        await eventually(lambda: client.depth(SET_ASIDE))
        assert await client.depth(topology.REQUESTS) == 0


async def test_what_expires_even_there_is_kept_by_the_broker(settings: Settings) -> None:
    """Nothing leads out of the last queue: the broker holds what it cannot route."""
    async with (
        under(settings, "^api", **{"message-ttl": 50}) as client,
        Broker(os.environ["MANAGEMENT_URL"]) as broker,
    ):
        assert await write(client) == LETTERS

        async def held() -> list[tuple[str, int]]:
            queues = await broker.queues(vhost_of(settings.amqp_url))
            return [(q["name"], q["messages"]) for q in queues if q.get("messages")]

        async def last() -> bool:
            return await held() == [(SET_ASIDE, LETTERS)]

        await eventually(last)
        assert await client.depth(SET_ASIDE) == 0  # none is ready


@pytest.mark.parametrize("overflow", [{}, {"overflow": "drop-head"}])
@pytest.mark.parametrize("limit", [{"max-length": 2}, {"max-length-bytes": 2}])
async def test_a_policy_that_limits_the_queue_refuses_and_drops_nothing(
    settings: Settings, limit: dict[str, int], overflow: dict[str, str]
) -> None:
    async with under(settings, "^api", **limit, **overflow) as client:
        accepted = await write(client)
        assert 0 < accepted < LETTERS
        assert await client.depth(DEAD_LETTERS) == accepted


async def test_a_request_that_finds_no_room_is_held_until_there_is(
    settings: Settings, dispatcher: Dispatcher
) -> None:
    async with under(settings, r"^api\.dlq$", **{"max-length": 1}) as client:
        accepted = await write(client)
        async with worker_here(settings, dispatcher):
            await client.send(b"no request", correlation_id="held")
            assert (await client.ask(client.body("ping")))["status"] == "ok"
            assert await client.depth(DEAD_LETTERS) == accepted
            await (await client._channel.get_queue(DEAD_LETTERS)).purge()
            assert (await client.dead_letter()).correlation_id == "held"


async def test_a_letter_survives_the_brokers_sudden_end(
    settings: Settings,
    dispatcher: Dispatcher,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that the server has parked, one that was replayed in vain, and one of an archive."""
    async with private_home(tmp_path / "home") as (urls, home):
        monkeypatch.setenv("SERVER_AMQP_URL", urls["SERVER_AMQP_URL"])
        here = settings.model_copy(update={"amqp_url": at(urls["ADMIN_AMQP_URL"], "")})
        dead = DeadLetters(here.amqp_url, here.api_key)
        async with wire(here) as client, worker_here(here, dispatcher):
            await client.send(b"no request", correlation_id="parked", delivery_mode=1)
            body = client.body("delete_book", {"id": 7}, id="refused")
            await client.send(body, reply_to=None, delivery_mode=1)
            await client.send(b"no request", correlation_id="archived", delivery_mode=1)
            await eventually(lambda: has(client, 3))
            assert list((await dead.replay(ids="refused"))["outcome"]) == ["not_found"]
            assert await dead.archive(tmp_path / "letters", ids="archived") == 1
            await dead.restore(tmp_path / "letters")
        await failures.kill(home, "broker")
        await failures.start(home, "broker")
        assert list((await dead.list())["id"]) == ["parked", "refused", "archived"]


async def has(client: Wire, letters: int) -> bool:
    return await client.depth(DEAD_LETTERS) == letters
