"""One kernel at a time in a lab; a closed one goes on."""

import asyncio
import subprocess
import sys

import aio_pika
import pytest

from labkit import Lab
from labkit.client.amqp import AsyncAPIClient
from labkit.errors import BrokerAway, LabInUse, LabTakenOver, NoManagement
from labkit.workers import RESTART_PAUSE
from server.contract.topology import REQUESTS
from tests.support import BOOK, ROOT

NOTHING_THERE = "amqp://guest:guest@127.0.0.1:1/"

OTHER_KERNEL = """
import asyncio, sys
from labkit import Lab

async def main():
    lab = await Lab.open(sys.argv[1], takeover=sys.argv[2] == "takeover")
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    try:
        print(type(await lab.queues()).__name__, flush=True)
    except Exception as error:
        print(type(error).__name__, flush=True)
    await lab.close()

asyncio.run(main())
"""


async def other_kernel(place: str, how: str = "") -> asyncio.subprocess.Process:
    """It has the lab open, until a line is written to it."""
    other = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", OTHER_KERNEL, place, how),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert other.stdout is not None
    assert await other.stdout.readline() == b"open\n"
    return other


async def test_a_lab_that_another_kernel_has_open_is_not_emptied(place: str) -> None:
    other = await other_kernel(place)
    with pytest.raises(LabInUse, match="takeover=True") as refused:
        await Lab.open(place)
    assert str(other.pid) in str(refused.value)
    assert (await other.communicate(b"\n"))[0] == b"DataFrame\n"
    async with Lab.open(place):  # it is free again
        pass


async def test_a_kernel_that_was_killed_has_no_lab(place: str) -> None:
    other = await other_kernel(place)
    other.kill()
    await other.wait()
    async with Lab.open(place) as lab:
        await (await lab.client()).call("ping")


async def test_what_is_taken_over_is_said_to_the_loser_and_survives_its_close(place: str) -> None:
    other = await other_kernel(place)
    async with Lab.open(place, takeover=True) as lab:
        assert (await other.communicate(b"\n"))[0] == b"LabTakenOver\n"
        await (await lab.client()).call("create_book", BOOK)  # the worker is still there


async def test_a_kernel_may_open_its_own_lab_again(place: str) -> None:
    first = await Lab.open(place)
    async with Lab.open(place) as second:
        with pytest.raises(LabTakenOver):
            await first.queues()
        await first.close()
        await (await second.client()).call("ping")


@pytest.mark.parametrize("rest", [False, True])
async def test_a_closed_lab_goes_on_with_its_rows_and_its_clients(place: str, rest: bool) -> None:
    lab = await Lab.open(place, rest=rest)
    client = await (lab.rest_client() if rest else lab.client())
    await client.call("create_book", BOOK, idempotency_key="k")
    await lab.close()
    await lab.reopen()
    again = await client.request("create_book", BOOK, idempotency_key="k")
    assert again.replayed
    assert len(await lab.rows("books_v1")) == 1
    assert await lab.reopen() is lab  # harmless
    await lab.close()


async def test_a_lab_goes_on_over_rest_which_was_started_by_hand(place: str) -> None:
    async with Lab.open(place) as lab:
        amqp = await lab.client()
        await lab.serve_rest()
        rest = await lab.rest_client()
        await lab.close()
        await lab.reopen()
        for client in (amqp, rest):
            await client.call("ping")


async def test_a_client_that_cannot_be_connected_is_not_lost(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Lab.open(place) as lab:
        first, second = await lab.client(), await lab.client()
        await lab.close()
        with monkeypatch.context() as patched:
            patched.setattr(second, "connect", lambda: AsyncAPIClient(NOTHING_THERE).connect())
            with pytest.raises(BrokerAway):
                await lab.reopen()
        await lab.reopen()
        for client in (first, second):
            await client.call("ping")


async def test_a_lab_is_taken_over_once_and_not_again_when_it_goes_on(place: str) -> None:
    lab = await Lab.open(place, takeover=True)
    other = await other_kernel(place, "takeover")
    with pytest.raises(LabInUse):
        await lab.reopen()
    assert (await other.communicate(b"\n"))[0] == b"DataFrame\n"


async def test_workers_of_a_lab_that_was_opened_again_stay_dead(place: str) -> None:
    """Also where a supervisor starts those again that die."""
    first = await Lab.open(place, supervised=True)
    async with Lab.open(place, supervised=True) as second:
        await asyncio.sleep(3 * RESTART_PAUSE)
        async with await aio_pika.connect(second.amqp_url) as connection:
            queue = await (await connection.channel()).get_queue(REQUESTS)
        assert queue.declaration_result.consumer_count == 1
        with pytest.raises(LabTakenOver):
            await first.queues()
    await first.close()


async def test_a_private_lab_goes_on_with_nothing_but_its_clients() -> None:
    lab = await Lab.open("reopened", private=True)
    client = await lab.client()
    await client.call("create_book", BOOK)
    await lab.close()
    await lab.reopen()
    assert (await lab.rows("books_v1")).empty
    assert (await client.request("create_book", BOOK)).status == "ok"
    await lab.close()


async def test_a_lab_that_could_not_be_opened_is_free(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On services of one's own, of which the management API is not known."""
    with monkeypatch.context() as patched:
        patched.delenv("MANAGEMENT_URL")
        with pytest.raises(NoManagement):
            await Lab.open(place)
    other = await other_kernel(place)
    await other.communicate(b"\n")
