"""The proxy between two ends of this test's own; the answer of the server is an echo."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple, TypeVar

import pytest

from labkit.faults.network.proxy import Proxy
from labkit.faults.network.relay import Relay
from tests.support import eventually

NOWHERE = ("127.0.0.1", 1)

Result = TypeVar("Result")
SILENCE = 0.15
"""Seconds after which what should come at once is taken not to come."""


class Ends(NamedTuple):
    """A proxy, and what arrived at the server behind it."""

    proxy: Proxy
    arrived: bytearray

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.proxy.ports[0])


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    arrived = bytearray()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(4096):
                arrived.extend(data)
                writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Proxy("test", ("127.0.0.1", port), seed=7) as proxy:
        yield Ends(proxy, arrived)


@asynccontextmanager
async def link(ends: Ends) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection that has worked once."""
    reader, writer = await ends.connect()
    try:
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        ends.arrived.clear()
        yield reader, writer
    finally:
        writer.transport.abort()


async def is_silent(answer: Awaitable[bytes]) -> bool:
    try:
        await asyncio.wait_for(answer, SILENCE)
    except TimeoutError:
        return True
    return False


async def require_refused(proxy: Proxy) -> None:
    with pytest.raises(ConnectionResetError):
        await _listen_to(proxy)


async def _listen_to(proxy: Proxy) -> None:
    """The RST comes while the connection is made, or right after."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.ports[0])
    try:
        await asyncio.wait_for(reader.read(1), 1)
    finally:
        writer.close()


async def test_it_passes_on_what_it_gets_and_the_goodbye_too(ends: Ends) -> None:
    reader, writer = await ends.connect()
    sent = bytes(range(256)) * 4000
    writer.write(sent)
    writer.write_eof()
    assert await reader.read(-1) == sent
    writer.close()


async def test_latency_delays_open_connections_in_each_direction(ends: Ends) -> None:
    async with link(ends) as (reader, writer):
        await ends.proxy.latency(0.1)
        began = time.monotonic()
        writer.write(b"ping")
        assert await reader.readexactly(4) == b"ping"
        assert 0.2 <= time.monotonic() - began < 0.4


async def test_jitter_keeps_the_order(ends: Ends) -> None:
    async with link(ends) as (reader, writer):
        await ends.proxy.latency(0.02, jitter=0.02)
        sent = b"".join(b"%4d" % number for number in range(50))
        for start in range(0, 200, 4):
            writer.write(sent[start : start + 4])
            await asyncio.sleep(0.001)
        assert await reader.readexactly(200) == sent


async def test_a_reset_does_not_wait_for_what_is_delayed(ends: Ends) -> None:
    async with link(ends) as (_, writer):
        await ends.proxy.latency(60)
        writer.write(b"ping")
        await asyncio.sleep(SILENCE)
        await ends.proxy.reset()
        await eventually(lambda: _alone(ends), within=1)


async def test_a_healed_latency_does_not_hold_what_is_under_way(ends: Ends) -> None:
    async with link(ends) as (reader, writer):
        await ends.proxy.latency(60)
        writer.write(b"ping")
        assert await is_silent(reader.readexactly(4))
        await ends.proxy.heal()
        assert await asyncio.wait_for(reader.readexactly(4), 1) == b"ping"


async def test_a_narrow_line_takes_its_time_in_the_direction_that_is_narrow(ends: Ends) -> None:
    async with link(ends) as (reader, writer):
        await ends.proxy.bandwidth(10_000, "to client")
        began = time.monotonic()
        writer.write(b"." * 3000)
        await eventually(lambda: _has(ends, 3000), within=0.2)
        await reader.readexactly(3000)
        assert 0.3 <= time.monotonic() - began < 0.6


async def _has(ends: Ends, count: int) -> bool:
    return len(ends.arrived) == count


async def test_in_a_black_hole_data_vanishes_and_healing_cuts_who_lost_some(ends: Ends) -> None:
    async with link(ends) as (quiet, writer), link(ends) as (reader, talker):
        await ends.proxy.black_hole()
        talker.write(b"ping")
        assert await is_silent(reader.read(1))
        await ends.proxy.heal()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(1), 1)
        writer.write(b"ping")
        assert await quiet.readexactly(4) == b"ping"
    assert ends.arrived == b"ping"


async def test_a_black_hole_accepts_and_says_nothing_until_it_is_healed(ends: Ends) -> None:
    await ends.proxy.black_hole()
    reader, writer = await ends.connect()
    writer.write(b"ping")
    assert await is_silent(reader.read(1))
    await ends.proxy.heal()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(1), 1)
    writer.close()


async def test_a_black_hole_may_swallow_the_answers_only(ends: Ends) -> None:
    async with link(ends) as (reader, writer):
        await ends.proxy.black_hole("to client")
        writer.write(b"ping")
        assert await is_silent(reader.read(1))
        assert ends.arrived == b"ping"


async def test_a_goodbye_vanishes_in_a_black_hole_too(ends: Ends) -> None:
    async with link(ends) as (_, writer):
        await ends.proxy.black_hole()
        writer.close()
        await asyncio.sleep(SILENCE)
        assert await ends.proxy.connections() == 1
        await ends.proxy.heal()
        await eventually(lambda: _alone(ends))


async def _alone(ends: Ends) -> bool:
    return await ends.proxy.connections() == 0


async def test_a_reset_cuts_what_is_open_and_refuses_what_is_new_until_it_is_healed(
    ends: Ends,
) -> None:
    async with link(ends) as (reader, _):
        await ends.proxy.reset()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(1), 1)
    await require_refused(ends.proxy)
    await ends.proxy.heal()
    async with link(ends):
        assert await ends.proxy.connections() == 1


async def test_a_reset_may_be_for_once(ends: Ends) -> None:
    async with link(ends) as (reader, _):
        await ends.proxy.reset(once=True)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(1), 1)
    async with link(ends):
        pass


async def test_a_half_closed_connection_says_goodbye_in_one_direction_only(ends: Ends) -> None:
    async with link(ends) as (reader, writer):
        await ends.proxy.half_close("to client")
        assert await asyncio.wait_for(reader.read(1), 1) == b""
        writer.write(b"still here")
        await eventually(lambda: _has(ends, 10))
        await ends.proxy.heal()
        await eventually(lambda: _alone(ends))


async def test_a_tripwire_lets_its_bytes_through_and_no_answer(ends: Ends) -> None:
    async with link(ends) as (reader, writer), link(ends) as (other, bystander):
        tripwire = await ends.proxy.cut_after(b"COMMIT;")
        writer.write(b"COM")
        assert await reader.readexactly(3) == b"COM"
        writer.write(b"MIT;\0")
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(1), 1)
        await tripwire.tripped()
        assert ends.arrived == b"COMMIT;\0"
        bystander.write(b"COMMIT;")
        assert await other.readexactly(7) == b"COMMIT;"


async def test_a_target_that_is_gone_is_refused_through_the_proxy_too() -> None:
    async with Proxy("nowhere", ("127.0.0.1", 1)) as proxy:
        await require_refused(proxy)


async def test_it_goes_on_while_the_notebook_is_blocked(ends: Ends) -> None:
    answered = asyncio.to_thread(_ask, ends.proxy.ports[0])
    task = asyncio.create_task(answered)
    async with link(ends):
        pass
    await task


def _ask(port: int) -> None:
    import socket

    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"ping")
        assert connection.recv(4) == b"ping"


async def test_a_connection_that_comes_as_it_stops_is_closed() -> None:
    """What serves it has not begun yet, and never will."""
    relay, accepted = Relay([NOWHERE], 0), asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(lambda *both: accepted.set_result(both), "127.0.0.1", 0)
    async with server:
        _, client = await asyncio.open_connection(*server.sockets[0].getsockname())
        reader, writer = await accepted
        relay._accept(NOWHERE, reader, writer)
        await relay.stop()
        assert writer.is_closing()
        client.close()
