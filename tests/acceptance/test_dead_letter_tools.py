"""What an operator does with dead letters loses nothing and doubles nothing."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aio_pika
import asyncpg
import pytest
from pamqp import commands as spec

from labkit.dead_letters import DeadLetters, edit, letter, replay
from labkit.errors import BadSelection, BrokerAway, NobodyAnswers, QueueInUse
from server.application.dispatcher import Dispatcher
from server.contract import topology
from server.contract.envelope import Reply, Request
from server.contract.errors import Forbidden, Unauthorized
from server.contract.steps import Step
from server.contract.topology import DEAD_LETTERS
from server.persistence.database import Database
from server.security import accounts, on_behalf_of, tokens
from server.security.principal import Principal, Role
from server.security.tokens import SigningKeys
from server.settings import Settings
from server.transports.amqp.delivery_processor import DeliveryProcessor
from server.transports.amqp.worker import Worker
from tests.support import BOOK, ROOT, Wire, eventually, wire, worker_here, worker_process


@pytest.fixture
def dead(settings: Settings) -> DeadLetters:
    return DeadLetters(settings.amqp_url, settings.api_key, patience=10)


@dataclass
class Other:
    """A second librarian."""

    key: str
    token: str


@pytest.fixture
async def other(database: Database) -> Other:
    async with database.transaction() as connection:
        number = await accounts.add_user(connection, "Ida", Role.LIBRARIAN, None)
        key = await accounts.make_key(connection, "Ida", "")
        token = await tokens.issue(connection, Principal(number, "Ida", Role.LIBRARIAN))
    return Other(key, token.token)


async def park(client: Wire, action: str, data: dict[str, Any], **fields: Any) -> None:
    """A request that cannot be answered: the worker parks it as it parks all others."""
    await park_body(client, client.body(action, data, **fields))


async def park_body(client: Wire, body: bytes, **properties: Any) -> None:
    before = await client.depth(DEAD_LETTERS)
    await client.send(body, reply_to=None, **properties)

    async def parked() -> bool:
        return await client.depth(DEAD_LETTERS) > before

    await eventually(parked)


def without_id(body: bytes) -> bytes:
    return json.dumps({n: v for n, v in json.loads(body).items() if n != "id"}).encode()


async def fill(client: Wire, count: int, **body: Any) -> None:
    """Letters as the server parks them, of the settings' librarian."""
    caller = on_behalf_of.describe(client.body("ping"), SigningKeys())
    publishing = []
    for number in range(1, count + 1):
        said = {"id": f"r-{number}", "auth": "[redacted]"} | body
        message = aio_pika.Message(
            client.body(said.pop("action", "create_book"), BOOK, **said),
            message_id=f"m-{number}",
            user_id="lab",
            delivery_mode=2,
            headers={
                "x-caller": caller,
                "x-reason": "unavailable" if number % 2 else "internal",
                "x-parked-at": f"2031-01-01T00:00:{number % 60:02}.000+00:00",
                "x-failures": [{"attempt": 1, "code": "unavailable", "error": "e", "at": "t"}],
            },
        )
        publishing.append(client._channel.default_exchange.publish(message, DEAD_LETTERS))
    await asyncio.gather(*publishing)


async def rows(settings: Settings, statement: str) -> list[Any]:
    connection = await asyncpg.connect(settings.database_url)
    try:
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


CLAIMS = "SELECT user_id, key FROM idempotency_keys"
BOOKS = "SELECT id FROM books_v1"


@asynccontextmanager
async def declared(settings: Settings) -> AsyncIterator[Wire]:
    """No worker."""
    async with wire(settings) as client:
        await topology.declare(client._channel, settings)
        yield client


@pytest.mark.parametrize("key", ["k", None])
async def test_a_letter_is_replayed_as_the_user_who_sent_it(
    settings: Settings, dead: DeadLetters, other: Other, key: str | None
) -> None:
    tokened = BOOK | {"auth_token": other.token}
    async with worker_process(settings), wire(settings) as client:
        await park(client, "create_book", BOOK, id="1", auth=other.key, idempotency_key=key)
        await park(client, "create_book", tokened, id="1", auth=None, idempotency_key=key)
        done = await dead.replay()
        assert sorted(done["outcome"]) == ["ok", "replayed"]
        assert await client.depth(DEAD_LETTERS) == 0
        assert (2, key or "1") in await rows(settings, CLAIMS)
    assert len(await rows(settings, BOOKS)) == 1


async def test_what_was_applied_after_all_is_not_applied_again(
    settings: Settings,
    dispatcher: Dispatcher,
    dead: DeadLetters,
    other: Other,
    tmp_path: Path,
) -> None:
    async with worker_here(settings, dispatcher), wire(settings) as client:
        body = client.body("create_book", BOOK, id="1", auth=other.key)
        assert (await client.ask(body))["status"] == "ok"
        await park(client, "create_book", BOOK, id="1", auth=other.key)
        for name in ("1", "2"):
            assert await dead.archive(tmp_path / name) == 1
            assert await dead.restore(tmp_path / name) == 1
            assert list((await dead.replay())["outcome"]) == ["replayed"]
            await dead.restore(tmp_path / name)
    assert await rows(settings, BOOKS) == [(1,)]


async def test_a_refused_letter_stays_with_a_mark_and_the_refusal(
    settings: Settings, dispatcher: Dispatcher, dead: DeadLetters
) -> None:
    async with worker_here(settings, dispatcher), wire(settings) as client:
        await park(client, "delete_book", {"id": 7}, id="1")
        for times in (1, 2):
            done = await dead.replay()
            assert list(done["outcome"]) == ["not_found"]
            (listed,) = (await dead.list()).to_dict("records")
            assert (listed["id"], listed["error"], listed["replays"]) == ("1", "not_found", times)
        letter = await dead.show("1")
        assert list(letter.history["code"]) == ["malformed", "not_found", "not_found"]
        assert "not_found" in repr(letter)
        assert await client.depth(DEAD_LETTERS) == 1


async def test_a_letter_that_is_parked_again_is_there_once_and_can_be_replayed_once_more(
    settings: Settings, dispatcher: Dispatcher, dead: DeadLetters, other: Other
) -> None:
    async with worker_here(settings, dispatcher), wire(settings) as client:
        await park(client, "create_book", BOOK, id="1", auth=other.key)
        held = await asyncpg.connect(settings.database_url)
        try:
            await held.execute("BEGIN; LOCK TABLE idempotency_keys")
            again = await dead.replay()
        finally:
            await held.close()
        assert [o.partition(":")[0] for o in again["outcome"]] == ["parked again"]
        (listed,) = (await dead.list()).to_dict("records")
        assert (listed["replays"], listed["attempts"]) == (1, 1 + settings.max_attempts)
        assert list((await dead.replay())["outcome"]) == ["ok"]
        assert await client.depth(DEAD_LETTERS) == 0
    assert await rows(settings, CLAIMS) == [(2, "1")]


@pytest.mark.parametrize("attempt_fails", [True, False])
async def test_a_letter_keeps_the_id_that_only_its_correlation_id_tells(
    settings: Settings, dispatcher: Dispatcher, dead: DeadLetters, attempt_fails: bool
) -> None:
    """However often it is parked again; a write without a key is claimed by it."""
    async with worker_here(settings, dispatcher), wire(settings) as client:
        await park_body(client, without_id(client.body("create_book", BOOK)), correlation_id="7")
        if attempt_fails:
            held = await asyncpg.connect(settings.database_url)
            try:
                await held.execute("BEGIN; LOCK TABLE idempotency_keys")
                await dead.replay()
            finally:
                await held.close()
            letter = await dead.show("7")
            assert (letter.summary.replays, letter.correlation_id) == (1, "7")
        assert list((await dead.replay())["outcome"]) == ["ok"]
    assert await rows(settings, CLAIMS) == [(1, "7")]


@pytest.mark.parametrize("body_id", [{"id": None}, {"id": 7}])
async def test_a_letter_whose_id_is_none_is_refused_and_found_by_its_correlation_id(
    settings: Settings, dispatcher: Dispatcher, dead: DeadLetters, body_id: dict[str, Any]
) -> None:
    async with worker_here(settings, dispatcher), wire(settings) as client:
        await park(client, "create_book", BOOK, **body_id)
        for times in (1, 2):
            assert list((await dead.replay())["outcome"]) == ["parked again: malformed"]
            assert (await dead.show("c-1")).summary.replays == times
    assert await rows(settings, BOOKS) == []


async def test_a_letter_without_any_id_gets_none_by_being_replayed(
    settings: Settings, dispatcher: Dispatcher, dead: DeadLetters
) -> None:
    async with worker_here(settings, dispatcher), wire(settings) as client:
        await park_body(client, without_id(client.body("create_book", BOOK)), correlation_id=None)
        for times in (1, 2):
            assert list((await dead.replay())["outcome"]) == ["parked again: malformed"]
            (letter,) = (await dead.list()).to_dict("records")
            assert (letter["id"], letter["replays"]) == (None, times)
    assert await rows(settings, BOOKS) == []


class Patient(Dispatcher):
    """Makes no book before ``may_go``."""

    def __init__(self, dispatcher: Dispatcher, may_go: asyncio.Event) -> None:
        super().__init__(dispatcher.database)
        self._dispatcher = dispatcher
        self._may_go = may_go

    async def execute(self, request: Request, **circumstances: Any) -> Reply:
        if request.action == "create_book":
            await self._may_go.wait()
        return await self._dispatcher.execute(request, **circumstances)


class Twice(DeliveryProcessor):
    """Its worker dies between reply and ack, each time."""

    async def _reply(self, *given: Any) -> None:
        for _ in range(2):
            await super()._reply(*given)


@pytest.mark.parametrize("consumer", [DeliveryProcessor, Twice])
async def test_letters_with_one_correlation_id_are_told_each_its_own_answer(
    settings: Settings,
    dispatcher: Dispatcher,
    dead: DeadLetters,
    monkeypatch: pytest.MonkeyPatch,
    consumer: type[DeliveryProcessor],
) -> None:
    """The refusal of the last one comes first."""
    monkeypatch.setattr(Worker, "answers_with", consumer)
    refused, received = asyncio.Event(), []

    async def observe(step: Step, request_id: str | None) -> None:
        if step == Step.RECEIVED:
            received.append(request_id)
        if (step, request_id) == (Step.REPLIED, "refused"):
            refused.set()

    slow = Patient(dispatcher, refused)
    async with worker_here(settings, slow, observe), wire(settings) as client:
        await park(client, "create_book", BOOK, id="applied")
        other = BOOK | {"title": "Animal Farm", "isbn": None}
        await park_body(client, without_id(client.body("create_book", other)))
        await park(client, "delete_book", {"id": 7}, id="refused")
        done = await dead.replay()
        assert received[-3:] == ["c-1"] * 3  # a fault may wait for it
        assert dict(zip(done["id"], done["outcome"], strict=True)) == {
            "applied": "ok",
            "c-1": "ok",
            "refused": "not_found",
        }
        assert list((await dead.list())["id"]) == ["refused"]
    assert {key for _, key in await rows(settings, CLAIMS)} == {"applied", "c-1", "refused"}
    assert len(await rows(settings, BOOKS)) == 2


class Silent(Dispatcher):
    """Answers the operator's check, and then nothing any more."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__(dispatcher.database)
        self._dispatcher = dispatcher

    async def execute(self, request: Request, **circumstances: Any) -> Reply:
        if request.id != "operator":
            await asyncio.Event().wait()
        return await self._dispatcher.execute(request, **circumstances)


async def test_without_an_answer_the_letter_stays_and_is_safe_to_replay(
    settings: Settings, dispatcher: Dispatcher
) -> None:
    dead = DeadLetters(settings.amqp_url, settings.api_key, patience=1)
    now = settings.model_copy(update={"drain_timeout": 0})
    async with wire(settings) as client:
        async with worker_here(now, Silent(dispatcher)):
            await fill(client, 3)
            assert set((await dead.replay())["outcome"]) == {"unknown"}
            assert list((await dead.list())["replays"]) == [1, 1, 1]
        async with worker_here(settings, dispatcher):
            assert set((await dead.replay())["outcome"]) <= {"ok", "replayed"}
            assert await client.depth(DEAD_LETTERS) == 0
    assert len(await rows(settings, BOOKS)) == 3


async def test_nothing_moves_without_a_worker_or_for_whoever_is_no_librarian(
    settings: Settings, dispatcher: Dispatcher, database: Database
) -> None:
    async with database.transaction() as connection:
        await accounts.add_user(connection, "Rea", Role.READER, None)
        reader = await accounts.make_key(connection, "Rea", "")
    async with declared(settings) as client:
        await fill(client, 2)
        before = await DeadLetters(settings.amqp_url, "").list()
        with pytest.raises(NobodyAnswers):
            await DeadLetters(settings.amqp_url, settings.api_key, patience=0.2).replay()
        async with worker_here(settings, dispatcher):
            for key, error in {"a wrong key": Unauthorized, reader: Forbidden}.items():
                with pytest.raises(error):
                    await DeadLetters(settings.amqp_url, key).replay()
            assert (await DeadLetters(settings.amqp_url, "").list()).equals(before)


async def test_looking_leaves_depth_and_order_as_they_were(
    settings: Settings, dead: DeadLetters
) -> None:
    async with declared(settings) as client:
        await fill(client, 2000)
        first = await dead.list()
        assert list(first["id"]) == [f"r-{number}" for number in range(1, 2001)]
        groups = await dead.groups()
        assert list(groups["letters"]) == [1000, 1000]
        assert (await dead.show("r-2000")).summary.number == 2000
        assert (await dead.show(number=1)).id == "r-1"
        assert len(await dead.replay(dry_run=True, error="internal")) == 1000
        assert await client.depth(DEAD_LETTERS) == 2000
        assert (await dead.list()).equals(first)


async def test_letters_are_selected_by_everything_that_is_said(
    settings: Settings, dead: DeadLetters
) -> None:
    async with declared(settings) as client:
        await fill(client, 4)
        await fill(client, 1, action="delete_book", id="r-9", version="v2")
        assert list((await dead.list(error="internal"))["id"]) == ["r-2", "r-4"]
        assert list((await dead.list(action="create_book", ids=["r-1", "r-9"]))["id"]) == ["r-1"]
        assert list((await dead.list(version="v2"))["id"]) == ["r-9"]
        assert list((await dead.list(since="2031-01-01T00:00:04"))["id"]) == ["r-4"]
        assert len(await dead.list(replays=1)) == 0
        given: list[dict[str, Any]]
        given = [{"since": "soon"}, {"errors": "internal"}, {"ids": []}, {"replays": "1"}]
        for wrong in given:
            with pytest.raises(BadSelection):
                await dead.list(**wrong)


async def test_only_what_is_selected_is_replayed_and_the_rest_keeps_its_order(
    settings: Settings, dispatcher: Dispatcher, dead: DeadLetters
) -> None:
    async with worker_here(settings, dispatcher), wire(settings) as client:
        await fill(client, 5)
        done = await dead.replay(error="internal", rate=1000)
        assert list(done["id"]) == ["r-2", "r-4"]
        assert list((await dead.list())["id"]) == ["r-1", "r-3", "r-5"]


async def test_a_letter_can_go_elsewhere_and_takes_no_key_along(
    settings: Settings, dead: DeadLetters
) -> None:
    async with declared(settings) as client:
        await client._channel.declare_queue("quarantine")
        await fill(client, 1)
        assert list((await dead.replay(to="nowhere"))["outcome"]) == ["not moved"]
        assert list((await dead.replay(to="quarantine"))["outcome"]) == ["moved to quarantine"]
        moved = await client.reply("quarantine")
        assert (json.loads(moved.body)["auth"], moved.headers["x-replays"]) == ("[redacted]", 1)
        assert await client.depth(DEAD_LETTERS) == 0


async def test_a_letter_of_nobody_is_not_sent_with_the_operators_rights(
    settings: Settings, dispatcher: Dispatcher, dead: DeadLetters
) -> None:
    async with worker_here(settings, dispatcher), wire(settings) as client:
        await park(client, "create_book", BOOK, id="1", auth=None)
        assert list((await dead.replay())["outcome"]) == ["no caller"]
        reply = await dead.edit("1", data=BOOK | {"title": "Mine"})
        assert reply.status == "ok"
        assert await client.depth(DEAD_LETTERS) == 0


@pytest.mark.parametrize("key", ["k", None])
async def test_a_mended_letter_is_a_new_request_of_the_same_user(
    settings: Settings, dispatcher: Dispatcher, dead: DeadLetters, other: Other, key: str | None
) -> None:
    async with worker_here(settings, dispatcher), wire(settings) as client:
        wrong = BOOK | {"year": 19490}
        await park(client, "create_book", wrong, id="1", auth=other.key, idempotency_key=key)
        assert (await dead.edit("1", data=wrong | {"title": ""})).status == "error"
        assert await client.depth(DEAD_LETTERS) == 1
        assert (await dead.edit("1", data=BOOK)).status == "ok"
        assert await client.depth(DEAD_LETTERS) == 0
    assert (2, key or "1") in await rows(settings, CLAIMS)


@pytest.mark.parametrize("key", ["k", None])
async def test_mending_what_was_applied_after_all_is_refused(
    settings: Settings, dispatcher: Dispatcher, dead: DeadLetters, key: str | None
) -> None:
    async with worker_here(settings, dispatcher), wire(settings) as client:
        fields = {"id": "1", "idempotency_key": key}
        await client.ask(client.body("create_book", BOOK, **fields))
        await park(client, "create_book", BOOK, **fields)
        reply = await dead.edit("1", data=BOOK | {"year": 1950})
        assert reply.error is not None
        assert reply.error["code"] == "key_reused"
        assert await client.depth(DEAD_LETTERS) == 1
    assert await rows(settings, BOOKS) == [(1,)]


async def test_what_was_refused_for_good_can_be_mended(
    settings: Settings, dispatcher: Dispatcher, dead: DeadLetters
) -> None:
    async with worker_here(settings, dispatcher), wire(settings) as client:
        await client.ask(client.body("create_book", BOOK))
        await park(client, "delete_book", {"id": 7}, id="1")
        assert list((await dead.replay())["outcome"]) == ["not_found"]
        with pytest.raises(BadSelection, match="Nothing is changed"):
            await dead.edit("1", data={"id": 7})
        assert (await dead.edit("1", data={"id": 1})).status == "ok"
    assert await rows(settings, BOOKS) == []


async def test_an_archive_holds_whole_letters_and_gives_them_back(
    settings: Settings, dead: DeadLetters, tmp_path: Path
) -> None:
    async with declared(settings) as client:
        await fill(client, 4)
        odd = aio_pika.Message(b"\xff\x00", headers={"a": {"b": [1, None]}}, app_id="x")
        await client._channel.default_exchange.publish(odd, DEAD_LETTERS)
        before = [await dead.show(number=number) for number in range(1, 6)]
        assert await dead.archive(tmp_path / "letters", error="internal") == 2
        assert await dead.archive(tmp_path / "others") == 3
        assert await client.depth(DEAD_LETTERS) == 0
        assert (tmp_path / "letters").stat().st_mode & 0o777 == 0o600
        assert await dead.restore(tmp_path / "letters") + await dead.restore(tmp_path / "others")
        after = [await dead.show(number=number) for number in (3, 1, 4, 2, 5)]
        for one, same in zip(before, after, strict=True):
            assert (one.body, one.properties) == (same.body, same.properties)
        with pytest.raises(BadSelection, match="already"):
            await dead.archive(tmp_path / "letters")
        (tmp_path / "broken").write_text((tmp_path / "letters").read_text() + "{}\n")
        with pytest.raises(BadSelection, match="line 3"):
            await dead.restore(tmp_path / "broken")
        assert await client.depth(DEAD_LETTERS) == 5


async def test_a_purge_has_to_name_the_queue(settings: Settings, dead: DeadLetters) -> None:
    async with declared(settings) as client:
        await fill(client, 3)
        for name in ("", "api.requests"):
            with pytest.raises(BadSelection, match="3 letters"):
                await dead.purge(name)
        assert await client.depth(DEAD_LETTERS) == 3
        assert await dead.purge(DEAD_LETTERS) == 3
        assert await client.depth(DEAD_LETTERS) == 0


async def test_two_operators_do_not_take_letters_from_each_other(
    settings: Settings, dead: DeadLetters
) -> None:
    async with declared(settings) as client:
        await fill(client, 1)
        async with dead._held() as (held, _):
            await held.take(1)
            with pytest.raises(QueueInUse):
                await dead.list()
        assert len(await dead.list()) == 1


async def test_a_broker_that_is_away_is_told() -> None:
    with pytest.raises(BrokerAway, match=r"127\.0\.0\.1:1 "):
        await DeadLetters("amqp://u:secret@127.0.0.1:1/", "").list()


LETTERS = 150
REPLAY = """
import asyncio, sys
from labkit.dead_letters import DeadLetters, replay
asyncio.run(DeadLetters(sys.argv[1], sys.argv[2]).replay())
"""


async def test_a_replay_that_is_killed_half_way_loses_nothing_and_doubles_nothing(
    settings: Settings, dead: DeadLetters, database: Database
) -> None:
    async with worker_process(settings), wire(settings) as client:
        await fill(client, LETTERS)
        for share in (0.2, 0.6):
            replaying = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-c", REPLAY, settings.amqp_url, settings.api_key),
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )

            async def got_so_far(so_far: float = share * LETTERS) -> bool:
                return len(await rows(settings, BOOKS)) >= so_far

            await eventually(got_so_far, within=20)
            replaying.send_signal(signal.SIGKILL)
            assert await replaying.wait() == -signal.SIGKILL
        await eventually(lambda: _free(dead))
        done = await dead.replay()
        assert set(done["outcome"]) <= {"ok", "replayed"}
        assert await client.depth(DEAD_LETTERS) == 0
    assert len(await rows(settings, BOOKS)) == LETTERS
    assert len(await rows(settings, CLAIMS)) == LETTERS


async def _free(dead: DeadLetters) -> bool:
    """The broker has noticed that the killed process is gone."""
    try:
        return len(await dead.list()) >= 0
    except QueueInUse:
        return False


async def test_a_replay_of_many_rounds_sends_each_letter_once_and_forgets_none(
    settings: Settings,
    dispatcher: Dispatcher,
    dead: DeadLetters,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Letters with one message id among them, and such as stay."""
    monkeypatch.setattr(replay, "ROUND", 0.2)
    async with worker_here(settings, dispatcher), wire(settings) as client:
        for _ in range(6):
            await fill(client, 2, action="delete_book")
            message = aio_pika.Message(b"{}", message_id="same")
            await client._channel.default_exchange.publish(message, DEAD_LETTERS)
        done = await dead.replay(rate=15)
        assert list(done.index) == list(range(1, 19))
        assert list(done["outcome"]).count("no caller") == 6
        assert await client.depth(DEAD_LETTERS) == 18


async def test_two_letters_with_one_message_id_both_stay_if_they_cannot_go_elsewhere(
    settings: Settings, dead: DeadLetters
) -> None:
    """Some senders count from 1, each of them."""
    async with worker_process(settings), wire(settings) as client:
        for body in (b"no JSON", b"nor this", b"nor that"):
            await client.send(body, message_id="1")

        async def parked() -> bool:
            return await client.depth(DEAD_LETTERS) == 3

        await eventually(parked)
        assert list((await dead.replay(to="nowhere"))["outcome"]) == ["not moved"] * 3
        assert await client.depth(DEAD_LETTERS) == 3


def test_a_letter_without_any_name_is_edited_under_the_same_one_each_time() -> None:
    """So that it can be edited again when no reply came."""
    properties = spec.Basic.Properties(message_id="of the letter", user_id="server")
    body = json.dumps({"version": "v1", "action": "create_book", "data": BOOK}).encode()
    nameless = letter.of(1, properties, body, "server")
    first, second = [edit.request(nameless, {"data": BOOK | {"year": 1}}) for _ in range(2)]
    assert first["id"] == second["id"] == "of the letter"
