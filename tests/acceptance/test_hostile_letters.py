"""Whatever is put into the dead letter queue can be looked at, and be got rid of alone."""

import asyncio
import base64
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aio_pika
import pytest

from labkit.broker import peek
from labkit.broker.management import Broker
from labkit.dead_letters import DeadLetters
from labkit.errors import BadSelection, NotMoved
from labkit.place import vhost_of
from server.application.dispatcher import Dispatcher
from server.contract import topology
from server.contract.topology import DEAD_LETTERS, SET_ASIDE
from server.settings import Settings
from tests.acceptance.test_dead_letter_tools import fill
from tests.acceptance.test_poison import publish_undecodable
from tests.support import BOOK, ROOT, Wire, as_client, eventually, wire, worker_here

NASTY = "\x1b[2J\x07\u202e\u2066\x85"
UNSAFE = set("\x1b\x07\u202e\u2066\x85")


@pytest.fixture
def dead(settings: Settings) -> DeadLetters:
    return DeadLetters(settings.amqp_url, settings.api_key, patience=10)


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[Wire]:
    """As the client's user; there are queues, and no worker."""
    async with wire(settings) as operator:
        await topology.declare(operator._channel, settings)
    async with wire(settings.model_copy(update={"amqp_url": as_client(settings)})) as client:
        yield client


@pytest.fixture
async def operator(settings: Settings, client: Wire) -> AsyncIterator[Wire]:
    async with wire(settings) as operator:
        yield operator


async def labkit(settings: Settings, *arguments: str) -> tuple[str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "labkit", "--vhost", vhost_of(settings.amqp_url), *arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return out.decode(), err.decode()


async def write(client: Wire, body: bytes = b"{}", **properties: Any) -> None:
    message = aio_pika.Message(body, **properties)
    await client._channel.default_exchange.publish(message, DEAD_LETTERS)


async def test_an_unreadable_letter_is_listed_as_what_it_is_and_stepped_over(
    settings: Settings, dispatcher: Dispatcher, client: Wire, operator: Wire, dead: DeadLetters
) -> None:
    await fill(operator, 1)
    await publish_undecodable(settings, b'{"auth": "canary"}', DEAD_LETTERS)
    await write(client, message_id="straight")
    async with worker_here(settings, dispatcher):
        table = await dead.list()
        assert list(table["error"].fillna("")) == ["unavailable", "unreadable", ""]
        assert await dead.groups() is not None
        assert "cannot be decoded" in repr(await dead.show(number=2))
        outcomes = list((await dead.replay())["outcome"])
    assert outcomes == ["ok", "unreadable", "no caller"]
    assert await operator.depth(DEAD_LETTERS) == 2


async def test_an_unreadable_letter_is_moved_aside_alone_and_as_it_came(
    settings: Settings, operator: Wire, dead: DeadLetters
) -> None:
    await fill(operator, 1)
    await publish_undecodable(settings, b'{"auth": "canary"}', DEAD_LETTERS)
    await fill(operator, 1)
    assert await dead.set_aside(unreadable=True) == 1
    assert list((await dead.list())["error"]) == ["unavailable"] * 2
    aside = DeadLetters(settings.amqp_url, settings.api_key, queue=SET_ASIDE)
    (listed,) = (await aside.list()).to_dict("records")
    assert listed["error"] == "unreadable"
    assert "canary" not in repr(await aside.show(number=1))
    assert (await operator.reply(SET_ASIDE)).body == b'{"auth": "canary"}'


async def test_letters_are_moved_aside_and_come_back(
    settings: Settings, operator: Wire, dead: DeadLetters
) -> None:
    await fill(operator, 4)
    before = await dead.list(ids="r-2")
    assert await dead.set_aside(number=[2, 3]) == 2
    assert list((await dead.list())["id"]) == ["r-1", "r-4"]
    aside = DeadLetters(settings.amqp_url, settings.api_key, queue=SET_ASIDE)
    with pytest.raises(BadSelection, match="aside already"):
        await aside.set_aside()
    moved = await aside.list(ids="r-2")
    assert moved.drop(columns="replays").equals(
        before.drop(columns="replays").set_axis(moved.index)
    )
    assert set((await aside.replay(to=DEAD_LETTERS))["outcome"]) == {"moved to api.dlq"}
    assert sorted((await dead.list())["id"]) == ["r-1", "r-2", "r-3", "r-4"]


async def test_nothing_is_rejected_where_the_broker_would_drop_it(
    settings: Settings, operator: Wire, dead: DeadLetters
) -> None:
    """An api.dlq of an older server leads to nowhere."""
    await operator._channel.queue_delete(DEAD_LETTERS)
    await operator._channel.declare_queue(DEAD_LETTERS, durable=True)
    await publish_undecodable(settings, b"{}", DEAD_LETTERS)
    with pytest.raises(NotMoved, match="delete it"):
        await dead.set_aside(unreadable=True)
    assert await operator.depth(DEAD_LETTERS) == 1


async def test_one_letter_is_purged_alone_and_only_by_the_queues_name(
    settings: Settings, operator: Wire, dead: DeadLetters
) -> None:
    await fill(operator, 3)
    await publish_undecodable(settings, b"{}", DEAD_LETTERS)
    for selection in ({"number": 2}, {"unreadable": True}):
        with pytest.raises(BadSelection, match=r"1 letter .*api\.dlq"):
            await dead.purge(**selection)
        assert await dead.purge(DEAD_LETTERS, **selection) == 1
    assert list((await dead.list())["id"]) == ["r-1", "r-3"]


ODD: dict[str, list[Any]] = {
    "x-replays": [2**63 - 1, -1, True, "7", 1.5, None, [1], {"a": 1}, bytearray(b"1")],
    "x-parked-at": [
        "2031-01-01T00:00:00",
        "soon",
        "0001-01-01T00:00:00+23:59",
        5,
        [],
        bytearray(b"\xff"),
    ],
    "x-failures": [
        1,
        "x",
        {},
        [1],
        [{}],
        [{"attempt": {}}],
        [{"attempt": 1, "code": []}],
        bytearray(),
    ],
    "x-reason": [1, [], {"a": NASTY}, "x" * 5000],
    "x-error": [1, [None]],
    "x-caller": [1, ["key:0"]],
    "x-edited-from": [1, {}],
    "x-asked-as": [1, [bytearray(b"\xff")]],
}
HEADERS = [{name: value} for name, values in ODD.items() for value in values]


@pytest.mark.parametrize("sender", ["client", "lab"])
async def test_no_header_breaks_a_tool(
    settings: Settings,
    dispatcher: Dispatcher,
    client: Wire,
    operator: Wire,
    dead: DeadLetters,
    sender: str,
    tmp_path: Path,
) -> None:
    """Not even one that is signed."""
    who = {"client": client, "lab": operator}[sender]
    body = client.body("create_book", BOOK, id="1")
    for headers in HEADERS:
        await write(who, body, headers=headers, user_id=sender)
    async with worker_here(settings, dispatcher):
        table = await dead.list()
        assert set(table["replays"]) == {0}
        assert table["parked_at"].isna().all()
        assert set(table["attempts"]) == {0}
        assert int((await dead.groups())["letters"].sum()) == len(HEADERS)
        for number in range(1, len(HEADERS) + 1):
            assert repr(await dead.show(number=number))
        assert set((await dead.replay())["outcome"]) == {"no caller"}
        assert await dead.archive(tmp_path / "letters") == len(HEADERS)
        assert await dead.restore(tmp_path / "letters") == len(HEADERS)
        assert await dead.set_aside() == len(HEADERS)


async def test_a_request_with_the_largest_number_of_replays_is_replayed(
    settings: Settings, dispatcher: Dispatcher, dead: DeadLetters, client: Wire
) -> None:
    async with worker_here(settings, dispatcher), wire(settings) as operator:
        headers = {"x-replays": 2**63 - 1}
        await client.send(b"no request", headers=headers)
        await eventually(lambda: operator.depth(DEAD_LETTERS))
        await fill(operator, 1)
        assert sorted((await dead.replay())["outcome"]) == ["no caller", "ok"]


async def test_only_the_signed_word_of_a_letter_is_believed(
    settings: Settings, dispatcher: Dispatcher, client: Wire, operator: Wire, dead: DeadLetters
) -> None:
    """A client chooses nobody's rights by writing them into api.dlq."""
    await fill(operator, 1)
    stolen = (await dead.show(number=1)).headers
    forged = client.body("create_book", BOOK | {"title": "Stolen"}, id="forged", auth="[redacted]")
    for user_id in (None, "client"):
        await write(client, forged, headers=stolen, user_id=user_id)
    async with worker_here(settings, dispatcher):
        done = (await dead.replay()).set_index("id")["outcome"]
        assert list(done["forged"]) == ["no caller", "no caller"]
    text = repr(await dead.show("forged"))
    assert "not believed" in text
    assert "unavailable" not in text


async def test_a_letter_written_straight_shows_no_key_in_queue_archive_and_aside(
    settings: Settings, client: Wire, operator: Wire, dead: DeadLetters, tmp_path: Path
) -> None:
    bodies = [
        client.body("ping", auth="canary", api_key="canary"),
        b"auth=canary",
        b'{"auth": "canary"',
    ]
    for body in bodies:
        await write(client, body, headers={"authorization": "canary"}, app_id="canary")
    for number in (1, 2, 3):
        assert "canary" not in repr(await dead.show(number=number))
    assert await dead.archive(tmp_path / "letters") == 3
    for line in (tmp_path / "letters").read_text().splitlines():
        kept = json.loads(line)
        assert "canary" not in line
        for field in ("header", "body"):
            assert b"canary" not in base64.b64decode(kept[field])
    await dead.restore(tmp_path / "letters")
    assert await dead.set_aside() == 3
    moved = [await operator.reply(SET_ASIDE) for _ in range(3)]
    assert not [m for m in moved if b"canary" in m.body or "canary" in str(m.headers)]


@pytest.mark.parametrize("header", ["CC", "BCC"])
async def test_no_copy_multiplies(
    settings: Settings, client: Wire, operator: Wire, dead: DeadLetters, tmp_path: Path, header: str
) -> None:
    await operator._channel.declare_queue("copies")
    await operator._channel.declare_queue("elsewhere")
    await write(client, headers={header: ["copies"]})
    assert await operator.reply("copies")
    await dead.archive(tmp_path / "letters")
    await dead.restore(tmp_path / "letters")
    assert list((await dead.replay(to="elsewhere"))["letter"]) == ["left"]
    await dead.restore(tmp_path / "letters")
    await dead.set_aside()
    assert await operator.depth("copies") == 0


async def nasty(client: Wire, operator: Wire) -> None:
    """In every place where a text can be, of a letter that is signed and of one that is not."""
    said = {"id": NASTY, "version": NASTY, "action": NASTY, "data": {"title": NASTY}}
    failure = {"attempt": 1, "code": NASTY, "error": NASTY, "at": NASTY}
    ours = dict.fromkeys(("x-reason", "x-error", "x-caller", "x-edited-from"), NASTY)
    names = {"correlation_id": NASTY, "message_id": NASTY, "reply_to": NASTY, "content_type": NASTY}
    headers = {**ours, "x-failures": [failure], "x-attempt": NASTY}
    for who, user_id in ((client, "client"), (operator, "lab")):
        body = json.dumps(said, ensure_ascii=False).encode()
        await write(who, body, user_id=user_id, headers=headers, **names)
        await write(who, NASTY.encode(), user_id=user_id, headers=headers, **names)


def is_safe(text: str) -> bool:
    return not UNSAFE & set(text)


async def test_no_letter_acts_on_a_terminal_or_a_notebook(
    settings: Settings, dispatcher: Dispatcher, client: Wire, operator: Wire, dead: DeadLetters
) -> None:
    await nasty(client, operator)
    async with (
        worker_here(settings, dispatcher),
        Broker(os.environ["MANAGEMENT_URL"]) as broker,
    ):
        tables = [await dead.list(), await dead.groups(), await dead.replay(dry_run=True)]
        tables += [await dead.replay(), (await dead.show(number=1)).history]
        vhost = vhost_of(settings.amqp_url)
        tables.append(await peek.look(broker, vhost, settings.amqp_url, None, DEAD_LETTERS, 4))
        for table in tables:
            cells = [value for row in table.reset_index().to_numpy() for value in row]
            assert is_safe("".join(map(str, cells)))
        for number in range(1, 5):
            letter = await dead.show(number=number)
            assert is_safe(repr(letter) + letter.history.to_html())
        assert (await dead.show(NASTY)).id == NASTY
        assert (await dead.show("·[2J····")).id == NASTY


@pytest.mark.parametrize(
    "command",
    [
        ["dead-letters", "list"],
        ["dead-letters", "groups"],
        ["dead-letters", "show", "--number", "1"],
        ["dead-letters", "replay", "--dry-run"],
        ["dead-letters", "show", NASTY + "?"],
        ["peek", DEAD_LETTERS],
    ],
)
async def test_no_command_prints_what_a_terminal_would_obey(
    settings: Settings, client: Wire, operator: Wire, command: list[str]
) -> None:
    await nasty(client, operator)
    out, err = await labkit(settings, *command)
    assert is_safe(out + err)
    assert "·[2J" in out + err


async def test_the_command_moves_and_purges_one_letter(
    settings: Settings, operator: Wire, dead: DeadLetters
) -> None:
    await fill(operator, 3)
    await publish_undecodable(settings, b"{}", DEAD_LETTERS)
    await labkit(settings, "dead-letters", "aside", "--unreadable")
    await labkit(settings, "dead-letters", "aside", "--number", "1")
    out, _ = await labkit(settings, "dead-letters", "--queue", SET_ASIDE, "list")
    assert "unreadable" in out
    _, err = await labkit(settings, "dead-letters", "purge", "--number", "1")
    assert "1 letter would be gone" in err
    out, _ = await labkit(settings, "dead-letters", "purge", DEAD_LETTERS, "--number", "1")
    assert "1 letters are gone" in out
    assert list((await dead.list())["id"]) == ["r-3"]
