"""``AsyncAPIClient`` and its synchronous face, over a real broker."""

import asyncio
import gc
import itertools
import math
import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from aio_pika.exceptions import DeliveryError

from labkit import AsyncAPIClient, BlockingAPIClient, ReplyTimeout
from labkit.broker.management import Broker
from labkit.client.backoff import Pauses
from labkit.client.errors import NotConnected, QueueFull, Unroutable, WrongLoop
from labkit.errors import BrokerAway
from labkit.place import vhost_of
from labkit.services.broker_tools import BrokerTools
from server.application.dispatcher import Dispatcher
from server.contract import topology
from server.contract.errors import InvalidData, KeyReused, NotFound, RateLimited, Unauthorized
from server.contract.steps import Step
from server.persistence.database import Database
from server.security.rate_limit import RateLimit
from server.settings import Settings
from tests.support import BOOK, ROOT, Wire, as_client, eventually, wire, worker_here


@pytest.fixture
async def client(settings: Settings, dispatcher: Dispatcher) -> AsyncIterator[AsyncAPIClient]:
    async with (
        worker_here(settings, dispatcher),
        AsyncAPIClient(as_client(settings), settings.api_key) as client,
    ):
        yield client


async def test_a_call_returns_the_data(client: AsyncAPIClient) -> None:
    book = await client.call("create_book", BOOK, idempotency_key="create-1984-v1")
    assert (book["id"], book["title"]) == (1, "1984")
    assert await client.call("get_book", {"id": 1}) == book


async def test_a_request_returns_the_whole_reply(client: AsyncAPIClient) -> None:
    first = await client.request("create_book", BOOK, idempotency_key="k")
    again = await client.request("create_book", BOOK, idempotency_key="k")
    assert (first.status, first.error, first.replayed, again.replayed) == ("ok", None, False, True)
    assert first.data == again.data
    assert first.correlation_id != again.correlation_id


async def test_each_error_is_an_exception_of_its_own(client: AsyncAPIClient) -> None:
    with pytest.raises(NotFound, match="no book 7"):
        await client.call("get_book", {"id": 7})
    with pytest.raises(InvalidData) as refusal:
        await client.call("create_book", {"title": 5})
    assert {problem["field"] for problem in refusal.value.details} == {"title", "author"}
    await client.call("create_book", BOOK, idempotency_key="k")
    with pytest.raises(KeyReused):
        await client.call("create_book", BOOK | {"year": 1}, idempotency_key="k")


async def test_a_wrong_key_is_unauthorized(settings: Settings, dispatcher: Dispatcher) -> None:
    async with (
        worker_here(settings, dispatcher),
        AsyncAPIClient(as_client(settings), "wrong") as client,
    ):
        with pytest.raises(Unauthorized):
            await client.call("ping")


async def test_thousands_of_calls_in_flight_get_each_its_own_reply(client: AsyncAPIClient) -> None:
    ids = [f"call-{number}" for number in range(3000)]
    replies = await asyncio.gather(
        *(client.request("ping", request_id=id_, timeout=60) for id_ in ids)
    )
    assert [reply.correlation_id for reply in replies] == ids


async def test_without_a_server_ever_started_a_call_fails_at_once(vhost: str) -> None:
    async with AsyncAPIClient(vhost) as client:
        started = time.monotonic()
        with pytest.raises(Unroutable, match="make up"):
            await client.call("ping", timeout=30)
        assert time.monotonic() - started < 15


async def test_a_full_queue_refuses_at_once(settings: Settings) -> None:
    small = settings.model_copy(update={"max_queue_length": 1})
    async with wire(settings) as bare:
        await topology.declare(bare._channel, small)
    async with AsyncAPIClient(as_client(settings)) as client:

        async def refused() -> bool:  # the limit is a soft one: the broker lets some more in
            outcomes = await asyncio.gather(
                *(client.call("ping", timeout=0.2) for _ in range(5)), return_exceptions=True
            )
            kinds = {type(outcome) for outcome in outcomes}
            assert kinds <= {QueueFull, ReplyTimeout}
            return kinds == {QueueFull}

        await eventually(refused)


async def test_a_queue_that_is_not_up_refuses_and_is_not_called_full(settings: Settings) -> None:
    """So it is for some moments after it was declared, and after its broker has started."""
    async with wire(settings) as bare:
        await topology.declare(bare._channel, settings)
    tools = BrokerTools.of(os.environ, settings.amqp_url)
    assert tools is not None
    member = f"{{'{vhost_of(settings.amqp_url)}_{topology.REQUESTS}', node()}}"
    await asyncio.to_thread(tools.evaluate, f"ra:stop_server(quorum_queues, {member})")
    async with AsyncAPIClient(as_client(settings)) as client:
        with pytest.raises(QueueFull, match="not up yet"):
            await client.call("ping")


async def test_a_call_without_a_worker_times_out_and_says_that_the_outcome_is_unknown(
    settings: Settings,
) -> None:
    async with wire(settings) as bare:
        await topology.declare(bare._channel, settings)
    async with AsyncAPIClient(as_client(settings)) as client:
        with pytest.raises(ReplyTimeout, match="same idempotency key") as timeout:
            await client.call("ping", timeout=0.1)
    assert not timeout.value.is_definite


async def test_a_late_reply_is_dropped_and_the_next_call_gets_its_own(
    settings: Settings, dispatcher: Dispatcher
) -> None:
    async with wire(settings) as bare:
        await topology.declare(bare._channel, settings)
    async with AsyncAPIClient(as_client(settings), settings.api_key) as client:
        with pytest.raises(ReplyTimeout):
            await client.call("create_book", BOOK, timeout=0.05)
        async with worker_here(settings, dispatcher):
            assert await client.call("ping") == {"pong": True}


async def test_a_call_whose_deadline_passed_in_the_queue_is_never_applied(
    settings: Settings, dispatcher: Dispatcher
) -> None:
    async with wire(settings) as bare:
        await topology.declare(bare._channel, settings)
    async with AsyncAPIClient(as_client(settings), settings.api_key) as client:
        with pytest.raises(ReplyTimeout):
            await client.call("create_book", BOOK, timeout=0.05)
        async with worker_here(settings, dispatcher):
            assert (await client.call("get_books"))["books"] == []


async def test_nothing_is_left_of_ten_thousand_calls_with_timeouts_among_them(
    client: AsyncAPIClient,
) -> None:
    async def one(number: int) -> None:
        with suppress(ReplyTimeout):
            await client.call("ping", timeout=0.001 if number % 10 == 0 else 60)

    async def thousand(first: int) -> None:
        await asyncio.gather(*(one(number) for number in range(first, first + 1000)))

    await thousand(0)
    await eventually(_only_the_standing_tasks)
    tasks, objects = len(asyncio.all_tasks()), _objects()
    for first in range(1000, 11_000, 1000):
        await thousand(first)

    async def as_before() -> bool:
        return len(asyncio.all_tasks()) <= tasks

    await eventually(as_before)
    assert client._pending == {}
    assert _objects() - objects < 1000, "a tenth of an object for each call would be too much"


async def _only_the_standing_tasks() -> bool:
    return len(asyncio.all_tasks()) < 40


def _objects() -> int:
    gc.collect()
    return len(gc.get_objects())


async def test_a_cancelled_call_leaves_nothing_behind(client: AsyncAPIClient) -> None:
    call = asyncio.create_task(client.call("ping"))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert client._pending == {}
    assert await client.call("ping") == {"pong": True}


async def test_a_lost_connection_is_opened_again_and_the_request_is_applied_once(
    client: AsyncAPIClient, settings: Settings
) -> None:
    async with Broker(os.environ["MANAGEMENT_URL"]) as broker:
        calls = [asyncio.create_task(client.call("create_book", BOOK)) for _ in range(200)]
        await asyncio.sleep(0.05)

        async def closed() -> int:
            return await broker.close_connections(settings.amqp_url.rsplit("/", 1)[1])

        assert await eventually(closed) >= 2
        books = await asyncio.gather(*calls)
    assert sorted(book["id"] for book in books) == sorted({book["id"] for book in books})
    stored = (await client.call("get_books", {"limit": 100}))["books"]
    assert len(stored) == 100
    page = await client.call("get_books", {"limit": 100, "cursor": None})
    rest = await client.call("get_books", {"limit": 100, "cursor": page["next"]})
    assert len(rest["books"]) == 100
    assert rest["next"] is None


async def test_what_amqp_cannot_carry_is_refused_before_it_breaks_the_connection(
    client: AsyncAPIClient,
) -> None:
    link = client._link
    with pytest.raises(ValueError, match="255 bytes"):
        await client.request("ping", request_id="x" * 256)
    with pytest.raises(ValueError, match="send less"):
        await client.request("create_book", {"title": "x" * 2**24})
    assert await client.call("ping") == {"pong": True}
    assert client._link is link
    assert client._pending == {}


async def test_a_copy_that_comes_too_fast_does_not_refuse_what_the_first_one_did(
    settings: Settings, database: Database
) -> None:
    class SecondIsTooFast(RateLimit):
        takes = 0

        def take(self, caller: str | None) -> None:
            self.takes += 1
            if self.takes == 2:
                raise RateLimited

    committed, let_go, limit = asyncio.Event(), asyncio.Event(), SecondIsTooFast()

    async def observe(step: Step, request_id: str | None) -> None:
        if step is Step.COMMITTED:
            committed.set()
            await let_go.wait()

    async with (
        worker_here(settings, Dispatcher(database, observe, limit), observe),
        AsyncAPIClient(as_client(settings), settings.api_key) as client,
        Broker(os.environ["MANAGEMENT_URL"]) as broker,
    ):
        call = asyncio.create_task(client.request("create_book", BOOK))
        await committed.wait()

        await eventually(lambda: cut_off(broker, settings, "client"))
        let_go.set()
        reply = await call
    assert (reply.status, reply.replayed, limit.takes) == ("ok", True, 3)


async def test_one_slow_request_does_not_keep_a_worker_from_coming_back(
    settings: Settings, database: Database
) -> None:
    """What is in hand when the connection is lost can never be acknowledged on it."""
    given = {"drain_timeout": 60, "retry_delays": (0.5, 1, 2, 4)}
    patient = settings.model_copy(update=given)
    stuck, let_go = asyncio.Event(), asyncio.Event()

    async def observe(step: Step, request_id: str | None) -> None:
        if step is Step.APPLIED and not stuck.is_set():
            stuck.set()
            await let_go.wait()

    async with (
        worker_here(patient, Dispatcher(database, observe), observe),
        AsyncAPIClient(as_client(settings), settings.api_key, timeout=30) as client,
        Broker(os.environ["MANAGEMENT_URL"]) as broker,
    ):
        slow = asyncio.create_task(client.request("create_book", BOOK))
        await stuck.wait()

        await eventually(lambda: cut_off(broker, settings, "server"))
        assert await client.call("ping") == {"pong": True}
        let_go.set()
        reply = await slow
        assert reply.status == "ok", reply.error


async def cut_off(broker: Broker, settings: Settings, user: str) -> int:
    return await broker.close_connections(settings.amqp_url.rsplit("/", 1)[1], user)


async def until_refused(operator: Wire) -> None:
    """A quorum queue takes some more than its length."""
    for _ in range(10):
        await operator.send(operator.body("ping"))


async def test_a_copy_that_finds_the_queue_full_is_sent_again_when_there_is_room(
    settings: Settings, dispatcher: Dispatcher
) -> None:
    small = settings.model_copy(update={"max_queue_length": 1})
    published: list[tuple[str, str]] = []
    async with (
        wire(small) as operator,
        AsyncAPIClient(as_client(small), small.api_key) as client,
        Broker(os.environ["MANAGEMENT_URL"]) as broker,
    ):
        await topology.declare(operator._channel, small)
        client.observers.append(lambda moment, request_id: published.append((moment, request_id)))
        call = asyncio.create_task(client.request("create_book", BOOK, request_id="mine"))
        await eventually(lambda: operator.depth(topology.REQUESTS))
        with pytest.raises(DeliveryError):
            await until_refused(operator)

        async def sent_twice() -> bool:
            return published.count(("sent", "mine")) == 2

        await eventually(lambda: cut_off(broker, small, "client"))
        await eventually(sent_twice)
        async with worker_here(small, dispatcher):
            reply = await call
    assert (reply.status, reply.replayed) == ("ok", True)
    assert published.count(("accepted", "mine")) == 2


async def test_a_call_before_connect_says_what_to_do(vhost: str) -> None:
    with pytest.raises(NotConnected, match=r"await client\.connect"):
        await AsyncAPIClient(vhost).call("ping")


async def test_connecting_and_closing_twice_is_harmless(vhost: str) -> None:
    client = AsyncAPIClient(vhost)
    assert await client.connect() is await client.connect()
    await client.close()
    await client.close()


async def test_a_closed_client_can_be_connected_again(client: AsyncAPIClient) -> None:
    await client.close()
    await client.connect()
    assert await client.call("ping") == {"pong": True}


async def connections(settings: Settings) -> int:
    async with Broker(os.environ["MANAGEMENT_URL"]) as broker:
        found = await broker._do("GET", f"vhosts/{vhost_of(settings.amqp_url)}/connections")
    return sum(c["client_properties"].get("connection_name") == "library-client" for c in found)


async def test_connecting_at_the_same_time_opens_one_connection_and_closing_leaves_none(
    settings: Settings,
) -> None:
    client = AsyncAPIClient(as_client(settings))
    await asyncio.gather(*(client.connect() for _ in range(5)))

    async def there(count: int) -> bool:
        return await connections(settings) == count

    await eventually(lambda: there(1))
    await client.close()
    await eventually(lambda: there(0))


async def test_what_is_closed_while_it_connects_is_closed(settings: Settings) -> None:
    client = AsyncAPIClient(as_client(settings))
    connecting = asyncio.create_task(client.connect())
    await asyncio.sleep(0)
    await client.close()
    await connecting
    with pytest.raises(NotConnected):
        await client.call("ping")


def in_another_loop(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """In a thread that has none yet."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(work())).result(timeout=60)


@pytest.mark.parametrize("does", ["call", "connect", "close"])
async def test_another_event_loop_is_told_at_once(client: AsyncAPIClient, does: str) -> None:
    what = {"call": lambda: client.call("ping"), "connect": client.connect, "close": client.close}
    started = time.monotonic()
    with pytest.raises(WrongLoop, match="in one loop"):
        await asyncio.to_thread(in_another_loop, what[does])
    assert time.monotonic() - started < client._timeout
    assert await client.call("ping") == {"pong": True}


async def test_a_client_whose_loop_is_closed_says_so_and_can_be_connected_again(
    settings: Settings, dispatcher: Dispatcher
) -> None:
    script = (
        "import asyncio, sys\nfrom labkit import AsyncAPIClient\n"
        "client = AsyncAPIClient(*sys.argv[1:])\n"
        "asyncio.run(client.connect())\n"
        "async def again():\n"
        "    try: await client.call('ping')\n"
        "    except Exception as error: print(error.code)\n"
        "    async with client: print(await client.call('ping'))\n"
        "asyncio.run(again())\n"
    )
    async with worker_here(settings, dispatcher):
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", script, as_client(settings), settings.api_key],
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=60,
        )
    assert done.stdout.splitlines() == ["wrong_loop", "{'pong': True}"], done.stderr


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
async def test_what_json_has_no_number_for_is_refused_by_its_path(
    client: AsyncAPIClient, number: float
) -> None:
    sent: list[str] = []
    client.observers.append(lambda moment, request_id: sent.append(moment))
    with pytest.raises(ValueError, match=r"data\.books\.1\.year is -?(nan|inf)"):
        await client.call("create_book", {"books": [{}, {"year": number}]})
    assert sent == []
    assert (await client.call("create_book", BOOK | {"title": "NaN, Infinity"}))["id"]


async def test_two_clients_do_not_come_back_at_the_same_moments(settings: Settings) -> None:
    """A broker that is back would have them all at once, at each attempt once more."""
    host = urlsplit(as_client(settings))
    attempts: list[float] = []
    is_away = asyncio.Event()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if is_away.is_set():
            attempts.append(time.monotonic())
            writer.close()
            return
        there, back = await asyncio.open_connection(host.hostname, host.port)
        lines = [asyncio.create_task(_copy(*ends)) for ends in ((reader, back), (there, writer))]
        await is_away.wait()
        for line in lines:
            line.cancel()
        for end in (writer, back):
            end.close()

    async def pauses() -> list[float]:
        """Of one client, from its first attempt on."""
        is_away.clear()
        attempts.clear()
        async with AsyncAPIClient(there):
            is_away.set()
            await eventually(lambda: asyncio.sleep(0, len(attempts) >= 4))
        return [round(b - a, 2) for a, b in itertools.pairwise(attempts[:4])]

    async with await asyncio.start_server(relay, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        there = urlunsplit(host._replace(netloc=host.netloc.rpartition(":")[0] + f":{port}"))
        assert await pauses() != await pauses()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)


def test_a_pause_is_any_time_up_to_a_limit_that_doubles() -> None:
    pauses = [Pauses(1, 8, random.Random(seed)) for seed in range(100)]
    for limit in (1, 2, 4, 8, 8):
        drawn = [each.next() for each in pauses]
        assert all(0 <= pause <= limit for pause in drawn)
        assert min(drawn) < limit * 0.1
        assert max(drawn) > limit * 0.9
    pauses[0].begin_again()
    assert pauses[0].next() <= 1


async def test_closing_ends_the_calls_that_wait(settings: Settings) -> None:
    async with wire(settings) as bare:
        await topology.declare(bare._channel, settings)
    async with AsyncAPIClient(as_client(settings)) as client:
        call = asyncio.create_task(client.call("ping"))
        await asyncio.sleep(0.05)
    with pytest.raises(ReplyTimeout, match="closed"):
        await call


async def test_a_broker_that_is_away_is_named_without_its_password() -> None:
    with pytest.raises(BrokerAway, match=r"127\.0\.0\.1:1 .*make up") as away:
        await AsyncAPIClient("amqp://lab:secret@127.0.0.1:1").connect()
    assert "secret" not in str(away.value)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
async def test_a_timeout_that_is_none_is_refused(client: AsyncAPIClient, seconds: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        await client.call("ping", timeout=seconds)


async def test_the_blocking_client_works_inside_a_running_loop_and_in_a_plain_script(
    client: AsyncAPIClient, settings: Settings
) -> None:
    # nest-asyncio patches asyncio for the whole process, so it gets processes of its own.
    calls = (
        "client = BlockingAPIClient(*sys.argv[1:]); client.connect(); print(client.call('ping'))\n"
        "try: client.call('get_book', {'id': 9})\n"
        "except ApiError as error: print(error.code)\n"
        "client.close()\n"
    )
    imports = (
        "import asyncio, sys\nfrom labkit import BlockingAPIClient\n"
        "from server.contract.errors import ApiError\n"
    )
    body = "".join(f"    {line}\n" for line in calls.splitlines())
    plain = imports + calls
    nested = f"{imports}async def main():\n{body}asyncio.run(main())\n"
    for script in (plain, nested):
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-W", "error", "-c", script, as_client(settings), settings.api_key],
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=60,
        )
        assert done.stdout.split("\n") == ["{'pong': True}", "not_found", ""], done.stderr
        assert done.stderr == ""


BLOCKING_IN_THREADS = """
import os, sys, threading
from labkit import BlockingAPIClient

def call():
    with BlockingAPIClient(*sys.argv[1:]) as client:
        client.call("ping")
    client.close()

def descriptors():
    return len(os.listdir("/proc/self/fd"))

def in_a_thread():
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()

in_a_thread()
before = descriptors()
for _ in range(5):
    in_a_thread()
print(descriptors() - before, "nest_asyncio" in sys.modules)
"""


async def test_the_blocking_client_leaves_nothing_behind_in_short_lived_threads(
    client: AsyncAPIClient, settings: Settings
) -> None:
    command = [sys.executable, "-W", "error", "-c", BLOCKING_IN_THREADS]
    done = await asyncio.to_thread(
        subprocess.run,
        [*command, as_client(settings), settings.api_key],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
    )
    assert done.stdout == "0 False\n", done.stderr


def test_a_blocking_client_that_is_not_connected_says_so() -> None:
    client = BlockingAPIClient("amqp://localhost:1", "a key")
    with pytest.raises(NotConnected):
        client.call("ping")
    with pytest.raises(BrokerAway):
        client.connect()
    client.close()
    client.close()


def test_every_error_of_the_wire_comes_back_as_itself() -> None:
    from server.contract.errors import BY_CODE, from_wire

    for code, kind in BY_CODE.items():
        error = from_wire({"code": code, "message": "m", "details": [1]})
        assert (type(error), str(error), error.details) == (kind, "m", [1])
    assert not from_wire({"code": "from_the_future"}).is_definite
