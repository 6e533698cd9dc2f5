"""One caller's trouble does not become everyone's."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import asyncpg
import pytest
from aio_pika.exceptions import DeliveryError

from server.application.dispatcher import Dispatcher
from server.contract.topology import DEAD_LETTERS
from server.persistence.database import Database
from server.security import accounts
from server.security.principal import Role
from server.security.rate_limit import RateLimit
from server.settings import Settings
from tests.acceptance.test_poison import publish_undecodable
from tests.support import BOOK, Wire, eventually, rest_here, wire, worker_here, worker_process

MANY = 100


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Longer than a test may take, so that nothing is answered because its time is up."""
    return settings.model_copy(update={"lock_timeout": 60.0, "retry_delays": (1.0,)})


@asynccontextmanager
async def holding(settings: Settings, statement: str) -> AsyncIterator[None]:
    """Another transaction has run this, and does not end."""
    holder = await asyncpg.connect(settings.database_url)
    try:
        await holder.execute(f"BEGIN; {statement}")
        yield
    finally:
        await holder.close()


KEY = "INSERT INTO idempotency_keys VALUES (1, 'book_v1', 'hot', '', null, null)"
LOCK = "LOCK TABLE books_v1"
ROW = "SELECT FROM books_v1 WHERE id = 1 FOR UPDATE"

Ask = Callable[[int], tuple[str, dict[str, Any], str | None]]


def duplicate(number: int) -> tuple[str, dict[str, Any], str | None]:
    return "create_book", BOOK, "hot"


def update(number: int) -> tuple[str, dict[str, Any], str | None]:
    return "update_book", {"id": 1, "year": number}, f"key {number}"


HOT: list[tuple[str, Ask]] = [(KEY, duplicate), (ROW, update)]


@pytest.mark.parametrize(("statement", "ask"), HOT, ids=["key", "row"])
async def test_what_waits_for_one_key_or_row_delays_no_other_request(
    settings: Settings, dispatcher: Dispatcher, statement: str, ask: Ask
) -> None:
    async with worker_here(settings, dispatcher), wire(settings) as client:
        await client.ask(client.body("create_book", BOOK))
        async with holding(settings, statement):
            for number in range(MANY):
                action, data, key = ask(number)
                await client.send(client.body(action, data, idempotency_key=key))
            await client.send(client.body("ping", id="ping"), correlation_id="ping")
            other = {"title": "Another"}
            await client.send(client.body("create_book", BOOK | other), correlation_id="write")
            first = [(await client.reply()).correlation_id for _ in range(2)]
            assert sorted(map(str, first)) == ["ping", "write"]
        answers = [json.loads((await client.reply(within=30)).body) for _ in range(MANY)]
    assert {answer["status"] for answer in answers} == {"ok"}


@pytest.mark.parametrize(("statement", "ask"), HOT, ids=["key", "row"])
async def test_nor_does_it_over_http(
    settings: Settings, dispatcher: Dispatcher, database: Database, statement: str, ask: Ask
) -> None:
    async with (
        rest_here(settings, dispatcher, database) as url,
        aiohttp.ClientSession(
            url,
            headers={"X-API-Key": settings.api_key},
            connector=aiohttp.TCPConnector(limit=0),
        ) as session,
    ):
        await session.post("/v1/books", json=BOOK)

        async def hot(number: int) -> int:
            _, data, key = ask(number)
            method, path = ("PATCH", "/v1/books/1") if "id" in data else ("POST", "/v1/books")
            body = {name: value for name, value in data.items() if name != "id"}
            headers = {"Idempotency-Key": str(key)}
            async with session.request(method, path, json=body, headers=headers) as response:
                return response.status

        async with holding(settings, statement):
            waiting = [asyncio.create_task(hot(number)) for number in range(MANY)]
            await asyncio.sleep(0.5)
            async with asyncio.timeout(10):
                assert (await session.get("/v1/ping")).status == 200
        assert set(await asyncio.gather(*waiting)) <= {200, 201, 409, 503}


async def test_a_flood_of_logins_delays_no_other_request_and_the_excess_is_refused(
    settings: Settings, dispatcher: Dispatcher, database: Database
) -> None:
    async with database.transaction() as connection:
        await accounts.add_user(connection, "Rita", Role.READER, "a long password")
    credentials = {"name": "Rita", "password": "a long password"}
    async with worker_here(settings, dispatcher), wire(settings) as client:
        for number in range(64):
            body = client.body("login", credentials, auth=None)
            await client.send(body, correlation_id=f"login {number}")
        await client.send(client.body("ping"), correlation_id="ping")
        outcomes = [await outcome(client) for _ in range(65)]
    logged_in = [i for i, (name, code) in enumerate(outcomes) if code == "ok" and name != "ping"]
    assert {code for name, code in outcomes} == {"ok", "rate_limited"}
    assert outcomes.index(("ping", "ok")) < logged_in[-1]


async def outcome(client: Wire) -> tuple[str, str]:
    reply = await client.reply(within=30)
    error = json.loads(reply.body)["error"]
    return str(reply.correlation_id), "ok" if error is None else error["code"]


async def test_what_waits_for_its_next_attempt_counts_towards_the_bound_of_the_queue(
    settings: Settings, dispatcher: Dispatcher
) -> None:
    few = settings.model_copy(update={"max_queue_length": 20, "prefetch": 5, "lock_timeout": 0.05})
    slow = few.model_copy(update={"retry_delays": (60.0, 120.0)})
    hasty = Dispatcher(Database(slow))
    async with worker_here(slow, hasty), wire(slow) as client, holding(slow, LOCK):
        async with asyncio.timeout(60):
            accepted = await sent_until_refused(client)
        # In both queues and in the worker's hands; the broker says a little late that one is full.
        assert accepted < 20 + 20 + 5 + 10
        assert await client.depth(DEAD_LETTERS) == 0
    await hasty.database.close()


async def sent_until_refused(client: Wire) -> int:
    """How many requests the broker took before that."""
    accepted = 0
    with suppress(DeliveryError):
        while True:
            await client.send(client.body("create_book", BOOK))
            accepted += 1
            await asyncio.sleep(0.01)
    return accepted


async def test_messages_that_cannot_be_decoded_cost_no_reconnect(
    settings: Settings, database: Database
) -> None:
    async with worker_process(settings) as worker, wire(settings) as client:
        for _ in range(30):
            await publish_undecodable(settings, client.body("ping"))
        assert (await client.ask(client.body("ping")))["status"] == "ok"

        async def all_dead_lettered() -> bool:
            return await client.depth(DEAD_LETTERS) == 30

        await eventually(all_dead_lettered)
    assert not worker.events("broker_unreachable")


@pytest.mark.parametrize("name", ["\U0001f4da" * 128, "\u20ac" * 86])
async def test_an_id_that_no_reply_can_carry_is_refused_before_any_work(
    settings: Settings, database: Database, name: str
) -> None:
    async with worker_process(settings) as worker, wire(settings) as client:
        refused = await client.ask(client.body("ping", id=name), correlation_id=None)
        assert (refused["correlation_id"], refused["error"]["code"]) == (None, "malformed")
        assert (await client.ask(client.body("ping", id="\u20ac" * 85)))["status"] == "ok"
    assert not worker.events("broker_unreachable")


async def test_no_header_of_the_sender_lets_it_pass_by_the_rate_limit(
    settings: Settings, database: Database
) -> None:
    limited = Dispatcher(database, limit=RateLimit(rate=0.0, burst=1.0))
    claims = {"x-attempt": 2, "x-replays": 1, "x-redelivered": True}
    async with worker_here(settings, limited), wire(settings) as client:
        assert (await client.ask(client.body("ping")))["status"] == "ok"
        refused = await client.ask(client.body("ping"), headers=claims)
        assert refused["error"]["code"] == "rate_limited"


async def test_an_author_does_not_wait_for_a_book_with_the_same_id(
    settings: Settings, dispatcher: Dispatcher
) -> None:
    async with worker_here(settings, dispatcher), wire(settings) as client:
        await client.ask(client.body("create_book", BOOK))
        await client.ask(client.body("create_author", {"name": "A"}, version="v2"))
        async with holding(settings, ROW):
            await client.send(client.body("update_book", {"id": 1, "year": 1}))
            await asyncio.sleep(0.3)
            author = client.body("update_author", {"id": 1, "country": "UK"}, version="v2")
            assert (await client.ask(author))["status"] == "ok"
        assert json.loads((await client.reply()).body)["status"] == "ok"


async def test_where_one_is_prefetched_rest_has_room_for_those_that_wait(
    settings: Settings,
) -> None:
    single = settings.model_copy(update={"prefetch": 1, "rest_port": 0})
    async with worker_process(single, "rest") as server:
        headers = {"X-API-Key": settings.api_key}
        url = server.events("ready")[0]["url"]
        async with aiohttp.ClientSession(url, headers=headers) as session:
            await session.post("/v1/books", json=BOOK)

            async def update(year: int) -> int:
                async with session.patch("/v1/books/1", json={"year": year}) as response:
                    return response.status

            async with holding(settings, ROW):
                waiting = [asyncio.create_task(update(year)) for year in (1, 2, 3)]
                await asyncio.sleep(0.5)
            assert await asyncio.gather(*waiting) == [200, 200, 200]
