"""Bad input gets a clear error, and the worker lives on."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from server.application.dispatcher import Dispatcher
from server.contract import topology
from server.contract.topology import DEAD_LETTERS, REQUESTS
from server.settings import Settings
from tests.support import BOOK, Wire, eventually, wire, worker_here


@pytest.fixture
async def client(settings: Settings, dispatcher: Dispatcher) -> AsyncIterator[Wire]:
    async with worker_here(settings, dispatcher), wire(settings) as client:
        yield client
        assert (await client.ask(client.body("ping")))["status"] == "ok", "the worker lives on"
        assert await client.depth(REQUESTS) == 0


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"version": "v9"}, "unsupported_version"),
        ({"action": "burn_book"}, "unknown_action"),
        ({"auth": "wrong"}, "unauthorized"),
        ({"auth": None}, "unauthorized"),
        ({"data": {"title": "T"}}, "invalid_data"),
        ({"data": {"title": "T", "author": "A", "year": 10**400}}, "invalid_data"),
    ],
)
async def test_a_request_that_is_refused_is_answered_and_done_with(
    client: Wire, fields: dict[str, Any], code: str
) -> None:
    reply = await client.ask(client.body("create_book", BOOK, **{"id": "7"} | fields))
    assert (reply["correlation_id"], reply["status"], reply["data"]) == ("7", "error", None)
    assert reply["error"]["code"] == code
    assert await client.depth(DEAD_LETTERS) == 0


@pytest.mark.parametrize(
    "body",
    [
        b"not JSON",
        b"[1, 2]",
        b'{"id": "7", "version": "v1"}',
        b'{"id": "7", "version": "v1", "action": "ping", "data": NaN}',
        b'{"id": "7", "version": "v1", "action": "ping", "data": 1e999}',
        b"[" * 50_000,
        b'{"data":' + b'{"a":' * 50_000,
        b"9" * 50_000,
        '{"id": "7"}'.encode("utf-16"),
        b"\xc3\x28",
        b"",
    ],
)
async def test_what_is_no_request_is_answered_and_parked(client: Wire, body: bytes) -> None:
    reply = await client.ask(body)
    assert (reply["status"], reply["error"]["code"]) == ("error", "malformed")
    parked = await client.dead_letter()
    assert parked.headers["x-reason"] == "malformed"
    shown = json.loads(parked.body)
    assert shown.get("id") == "7" or shown["unreadable"]["size"] == len(body)


@pytest.mark.parametrize(
    "properties",
    [
        {"content_type": "application/xml"},
        {"content_type": "text/plain; charset=utf-8"},
        {"content_type": "application/json; charset=utf-16"},
        {"content_encoding": "gzip"},
    ],
)
async def test_another_content_type_is_refused_by_name(
    client: Wire, properties: dict[str, str]
) -> None:
    await client.send(client.body("ping"), **properties)
    reply = json.loads((await client.reply()).body)
    assert reply["error"]["code"] == "malformed"
    await client.dead_letter()


@pytest.mark.parametrize(
    "properties",
    [
        {"content_type": None},
        {"content_type": "application/json; charset=UTF-8"},
        {"content_encoding": "utf-8"},
    ],
)
async def test_other_clients_ways_of_saying_json_are_understood(
    client: Wire, properties: dict[str, str]
) -> None:
    assert (await client.ask(client.body("ping"), **properties))["status"] == "ok"


@pytest.mark.parametrize("reply_to", [None, "", "api.requests", "api.dlq", "api.retry.50ms"])
async def test_what_cannot_be_answered_is_parked_and_not_applied(
    client: Wire, reply_to: str | None
) -> None:
    await client.send(client.body("create_book", BOOK), reply_to=reply_to)
    parked = await client.dead_letter()
    assert parked.headers["x-reason"] == "malformed"
    assert "reply_to" in str(parked.headers["x-error"])
    assert (await client.ask(client.body("get_books")))["data"]["books"] == []


async def test_what_expired_while_no_worker_was_there_is_not_worked_on_by_one_that_starts(
    settings: Settings, dispatcher: Dispatcher
) -> None:
    async with wire(settings) as client:
        await topology.declare(client._channel, settings)
        for _ in range(5):
            for _ in range(10):
                await client.send(client.body("create_book", BOOK), headers={"x-deadline": 1})
            async with worker_here(settings, dispatcher):
                replies = [json.loads((await client.reply()).body) for _ in range(10)]
            assert [reply["error"]["code"] for reply in replies] == ["expired"] * 10


async def test_a_reply_queue_that_is_gone_harms_nobody(client: Wire) -> None:
    await client.send(client.body("create_book", BOOK), reply_to="gone")

    async def created() -> bool:
        return bool((await client.ask(client.body("get_books")))["data"]["books"])

    await eventually(created)


async def test_a_body_over_the_limit_is_refused_with_the_limit(
    client: Wire, settings: Settings
) -> None:
    reply = await client.ask(b" " * (settings.max_body + 1))
    assert reply["error"]["code"] == "too_large"
    assert reply["error"]["details"]["limit"] == settings.max_body


async def test_the_largest_body_that_is_allowed_is_read(client: Wire, settings: Settings) -> None:
    body = client.body("ping")
    assert (await client.ask(body + b" " * (settings.max_body - len(body))))["status"] == "ok"


async def test_a_request_whose_deadline_has_passed_is_not_worked_on(client: Wire) -> None:
    reply = await client.ask(client.body("create_book", BOOK), headers={"x-deadline": 1})
    assert reply["error"]["code"] == "expired"
    assert (await client.ask(client.body("get_books")))["data"]["books"] == []


@pytest.mark.parametrize(
    "headers",
    [
        {"x-attempt": "three", "x-failures": "none", "x-deadline": "tomorrow"},
        {"x-attempt": -1, "x-failures": [1], "x-deadline": 1.5},
        {
            "x-death": [{"count": 99}],
            "CC": ["nowhere"],
            "deep": {"a": {"b": [bytearray(b"\xff"), None, 1.5]}},
        },
    ],
)
async def test_strange_headers_are_no_obstacle(client: Wire, headers: dict[str, Any]) -> None:
    assert (await client.ask(client.body("ping"), headers=headers))["status"] == "ok"
    await client.ask(b"not JSON", headers=headers)
    assert (await client.dead_letter()).headers["x-reason"] == "malformed"


async def test_no_secret_gets_into_the_dead_letter_queue(client: Wire) -> None:
    await client.send(client.body("ping", auth="canary"), reply_to=None)
    readable = await client.dead_letter()
    await client.ask(b'{"auth": "canary", broken')
    unreadable = await client.dead_letter()
    assert b'"auth":"[redacted]"' in readable.body
    assert b'"sha256"' in unreadable.body
    assert b"canary" not in readable.body + unreadable.body
