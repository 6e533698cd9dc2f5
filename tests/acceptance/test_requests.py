"""The documented requests, by a client that speaks plain AMQP."""

import asyncio
import json
import signal

import pytest
from sqlalchemy import text

from server.application.dispatcher import Dispatcher
from server.contract.topology import DEAD_LETTERS, REQUESTS
from server.persistence.database import Database
from server.settings import Settings
from tests.support import BOOK, eventually, process_of, wire, worker_here, worker_process


async def test_the_reply_has_the_four_fields_and_the_senders_correlation_id(
    settings: Settings, dispatcher: Dispatcher
) -> None:
    async with worker_here(settings, dispatcher), wire(settings) as client:
        await client.send(client.body("create_book", BOOK, id="the-id"), correlation_id="mine")
        reply = await client.reply()
    assert reply.correlation_id == "mine"
    assert reply.content_type == "application/json"
    body = json.loads(reply.body)
    assert list(body) == ["correlation_id", "status", "data", "error"]
    assert (body["correlation_id"], body["status"], body["error"]) == ("the-id", "ok", None)
    assert (body["data"]["id"], body["data"]["title"]) == (1, "1984")


async def test_a_request_in_the_form_of_the_message_scheme_needs_no_id(
    settings: Settings, dispatcher: Dispatcher
) -> None:
    async with worker_here(settings, dispatcher), wire(settings) as client:
        request = {"version": "v1", "action": "ping", "data": {}, "auth": settings.api_key}
        reply = await client.ask(json.dumps(request).encode(), correlation_id="from-amqp")
    assert (reply["correlation_id"], reply["status"]) == ("from-amqp", "ok")


async def test_a_repeated_key_says_replayed_in_a_header_and_the_same_in_the_body(
    settings: Settings, dispatcher: Dispatcher
) -> None:
    async with worker_here(settings, dispatcher), wire(settings) as client:
        replies = []
        for _ in range(2):
            await client.send(client.body("create_book", BOOK, id="1", idempotency_key="k"))
            replies.append(await client.reply())
    assert [reply.headers.get("replayed") for reply in replies] == [None, True]
    assert replies[0].body == replies[1].body


async def test_twenty_duplicates_over_two_worker_processes_make_one_book(
    settings: Settings, database: Database
) -> None:
    few = settings.model_copy(update={"prefetch": 10})
    async with worker_process(few) as one, worker_process(few) as two, wire(settings) as client:
        body = client.body("create_book", BOOK, id="same", idempotency_key="create-1984-v1")
        await asyncio.gather(*(client.send(body) for _ in range(20)))
        replies = [(await client.reply()).body for _ in range(20)]
        for worker in (one, two):
            assert await worker.end() == 0
    assert len(set(replies)) == 1
    assert all(worker.events("request") for worker in (one, two)), "both took part"
    async with database.reading() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM books_v1"))).scalar() == 1


async def test_a_worker_that_is_told_to_stop_finishes_what_it_holds(
    settings: Settings, database: Database
) -> None:
    async with worker_process(settings) as worker, wire(settings) as client:
        for _ in range(50):
            await client.send(client.body("create_book", BOOK))
        assert await worker.end(signal.SIGTERM) == 0
        done = len(worker.events("request"))
        left = await client.depth(REQUESTS)
        assert done + left == 50
        for _ in range(done):
            assert json.loads((await client.reply()).body)["status"] == "ok"


async def test_what_a_killed_worker_held_is_done_once_by_the_next(
    settings: Settings, database: Database
) -> None:
    async with wire(settings) as client:
        async with worker_process(settings) as worker:
            for number in range(50):
                await client.send(client.body("create_book", BOOK, id=str(number)))
            await client.reply()  # it is in the middle of them
            await worker.end(signal.SIGKILL)
        async with worker_process(settings):

            async def all_done() -> bool:
                async with database.reading() as connection:
                    count = await connection.execute(text("SELECT count(*) FROM books_v1"))
                    return count.scalar() == 50 and await client.depth(REQUESTS) == 0

            await eventually(all_done)
        assert await client.depth(DEAD_LETTERS) == 0
    async with database.reading() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM books_v1"))).scalar() == 50


async def test_no_line_of_the_log_holds_the_key(settings: Settings, database: Database) -> None:
    async with worker_process(settings) as worker, wire(settings) as client:
        await client.ask(client.body("create_book", BOOK))
        await client.ask(client.body("create_book", BOOK, auth="a canary of a key"))
        await client.ask(b'{"auth": "a canary of a key", broken')
        await worker.end()
    lines = json.dumps(worker.log)
    assert settings.api_key not in lines
    assert "canary" not in lines
    request = worker.events("request")[0]
    assert {"id", "action", "version", "attempt", "outcome", "ms"} <= request.keys()


@pytest.mark.parametrize("key", ["supersecretapikey"])
async def test_the_development_key_works_and_is_warned_of(settings: Settings, key: str) -> None:
    open_to_all = settings.model_copy(update={"api_key": key})
    async with worker_process(open_to_all) as worker, wire(open_to_all) as client:
        assert (await client.ask(client.body("ping")))["status"] == "ok"
        assert worker.events("development_key_in_use")


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
async def test_what_the_locale_cannot_write_is_logged_and_fails_no_delivery(
    settings: Settings, database: Database, encoding: str
) -> None:
    narrow = {"PYTHONIOENCODING": encoding, "LC_ALL": "C", "PYTHONUTF8": "0"}
    async with (
        process_of(settings, "server", "worker", **narrow) as worker,
        wire(settings) as client,
    ):
        assert (await client.ask(client.body("ping", id="Война и мир")))["status"] == "ok"
        assert (await client.ask(client.body("ping")))["status"] == "ok"
        assert await worker.end() == 0
    first, _each_was_delivered_once = worker.events("request")
    assert first["id"] == "Война и мир"
