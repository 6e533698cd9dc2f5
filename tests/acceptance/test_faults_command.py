"""``python -m labkit faults …`` on a lab that somebody else has open."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from labkit import Lab
from labkit.__main__ import main
from labkit.experiments import crash
from labkit.faults.at_step.plan import Plan
from labkit.services.environment import ROOT
from server.contract.topology import DEAD_LETTERS
from tests.support import BOOK, eventually

Output = pytest.CaptureFixture[str]


@pytest.fixture
async def lab(place: str) -> AsyncIterator[Lab]:
    """A lab on the shared services, with one worker that obeys."""
    async with Lab.open(place, workers=0) as lab:
        await lab.start_workers(obedient=True)
        yield lab


def plan(lab: Lab) -> Path:
    return Plan.of_lab(ROOT, lab.vhost).folder


async def faults(lab: Lab, *arguments: str) -> int:
    return await asyncio.to_thread(main, ["faults", *arguments, "--vhost", lab.vhost])


def hears_ctrl_c() -> None:
    """As from a terminal: whatever a shell starts in the background ignores it, by inheritance."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


async def armed(lab: Lab, *arguments: str) -> asyncio.Task[int]:
    """The command, when its order can be obeyed."""
    command = asyncio.create_task(faults(lab, *arguments))

    async def is_armed() -> bool:
        return any(plan(lab).glob("*.armed"))

    await eventually(is_armed)
    return command


async def test_a_held_request_goes_on_when_the_command_ends(lab: Lab, capsys: Output) -> None:
    client = await lab.client()
    command = await armed(lab, "hold", "--at", "committed", "--seconds", "0.5")
    call = asyncio.create_task(client.request("create_book", BOOK, request_id="r"))
    assert await command == 0
    assert (await call).status == "ok"
    said = capsys.readouterr().out
    assert re.fullmatch(r"hold at committed: pid \d+, request r\n", said), said


async def test_a_worker_is_killed_at_a_step_and_the_next_one_answers(
    lab: Lab, capsys: Output
) -> None:
    client = await lab.client()
    command = await armed(lab, "kill", "--at", "committed", "--request-id", "victim")
    await client.request("create_book", BOOK, request_id="bystander")
    call = asyncio.create_task(client.request("create_book", BOOK, request_id="victim"))
    assert await command == 0
    assert "request victim" in capsys.readouterr().out
    await lab.start_workers(1)
    assert (await call).replayed
    assert len(await lab.rows("books_v1")) == 2


async def test_a_second_command_does_not_take_the_first_one_for_its_own(lab: Lab) -> None:
    client = await lab.client()
    for _ in range(2):
        command = await armed(lab, "fail", "--at", "applied")
        await client.request("create_book", BOOK)
        assert await command == 0
    await lab.settle()
    assert (lab.log()["attempt"] == 2).sum() == 2


async def test_an_order_of_the_open_lab_stays(lab: Lab) -> None:
    own = await lab.faults.hold(at="received", request_id="own")
    assert await faults(lab, "poison", "no JSON") == 0
    client = await lab.client()
    call = asyncio.create_task(client.request("ping", request_id="own"))
    assert await own.reached() == "own" or own.happened()
    await own.heal()
    assert (await call).status == "ok"


async def test_a_lost_reply_is_asked_for_again(lab: Lab, capsys: Output) -> None:
    client = await lab.client()
    command = await armed(lab, "messages", "drop", "reply")
    call = asyncio.create_task(client.request("create_book", BOOK, request_id="r"))
    assert await command == 0
    assert "drop reply: pid" in capsys.readouterr().out
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert (await client.request("create_book", BOOK, request_id="r")).replayed
    assert len(await lab.rows("books_v1")) == 1


async def test_poison_becomes_a_dead_letter(lab: Lab) -> None:
    assert await faults(lab, "poison", "no JSON") == 0

    async def parked() -> bool:
        return bool((await lab.queues()).loc[DEAD_LETTERS, "ready"] == 1)

    await eventually(parked)


async def test_a_worker_that_is_named_is_paused_and_goes_on(lab: Lab, capsys: Output) -> None:
    client = await lab.client()
    command = asyncio.create_task(faults(lab, "pause", "worker-1", "--seconds", "1"))
    assert await command == 0
    assert re.fullmatch(r"pause worker: worker-1, pid \d+\n", capsys.readouterr().out)
    assert await client.call("ping") == {"pong": True}


async def test_a_worker_that_is_named_is_killed_at_once(lab: Lab, capsys: Output) -> None:
    assert await faults(lab, "kill", "worker-1") == 0
    assert "kill worker: worker-1, pid" in capsys.readouterr().out
    await crash.ended(lab, "worker-1")
    assert await faults(lab, "kill", "worker-1") == 1
    assert "No worker-1 of this lab is running" in capsys.readouterr().err


@pytest.mark.parametrize("whose", ["worker", "client", "database"])
async def test_connections_that_are_closed_are_opened_again(lab: Lab, whose: str) -> None:
    client = await lab.client()
    assert await client.call("ping") == {"pong": True}
    await client.call("create_book", BOOK)
    assert await faults(lab, "close-connections", whose) == 0
    assert (await client.request("create_book", BOOK)).status == "ok"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_whoever_is_frozen_goes_on_when_the_command_is_ended(
    lab: Lab, number: signal.Signals
) -> None:
    client = await lab.client()
    command = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "labkit", "faults", "pause", "worker-1", "--vhost", lab.vhost),
        cwd=ROOT,
        env=os.environ,
        stdout=asyncio.subprocess.PIPE,
        preexec_fn=hears_ctrl_c,
    )
    assert command.stdout is not None
    assert b"pause worker: worker-1" in await command.stdout.readline()
    call = asyncio.create_task(client.call("ping"))
    command.send_signal(number)
    assert await command.wait() == (130 if number == signal.SIGINT else 0)
    assert await call == {"pong": True}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["kill", "--at", "lunch"], "There is no step 'lunch'. Choose one of: received, parsed"),
        (["kill", "worker-7"], "No worker-7 of this lab is running. There is: lab-"),
        (["kill", "broker"], "belongs to the kernel that has opened the lab"),
        (["stop", "database"], 'there, `await lab.faults.stop("database")`'),
        (["slow", "worker-1", "--seconds", "1"], "leave worker-1 out"),
        (["kill"], "Say which, such as worker-1, or --at a step: received"),
        (["stop", "worker-1", "--at", "parsed"], "leave worker-1 out"),
        (["pause", "worker-1", "--request-id", "r"], "Without --at it happens"),
        (["poison", "arsenic"], "There is no poison 'arsenic'. Choose one of: no JSON"),
        (["close-connections", "gardener"], "Choose one of: client, worker, database"),
        (["hold", "--at", "parsed", "--within", "0.1"], "Nothing in 0.1 s."),
    ],
)
async def test_what_cannot_be_says_what_can(
    lab: Lab, capsys: Output, arguments: list[str], told: str
) -> None:
    assert await faults(lab, *arguments) == 1
    assert told in capsys.readouterr().err
    assert not list(plan(lab).glob("*.armed"))


async def test_a_lab_whose_workers_do_not_obey_is_told_what_to_do(
    place: str, capsys: Output
) -> None:
    async with Lab.open(place) as lab:
        assert await faults(lab, "hold", "--at", "parsed") == 1
        assert "start_workers(obedient=True)" in capsys.readouterr().err


async def test_a_lab_that_nobody_has_opened_is_told(capsys: Output) -> None:
    arguments = ["faults", "kill", "worker-1", "--vhost", "lab-nobodys"]
    assert await asyncio.to_thread(main, arguments) == 1
    assert "has no virtual host 'lab-nobodys'" in capsys.readouterr().err
