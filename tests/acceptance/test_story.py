"""The story of a request, by those who saw it."""

import asyncio

import pytest

from labkit import Lab
from labkit.errors import NoStory
from labkit.experiments import crash
from tests.support import BOOK

PLAIN = """\
The story of emma
  client → api.requests: request
  api.requests → worker-1: deliver
  worker-1: received
  worker-1: parsed
  worker-1: authenticated
  worker-1: claimed
  worker-1: applied
  worker-1 → PostgreSQL: claim, effect, reply
  worker-1: committed
  worker-1 → reply queue: reply: ok
  worker-1: replied
  reply queue → client: reply: ok
  worker-1 → api.requests: ack"""


async def test_a_request_that_went_well_is_told_step_by_step(place: str) -> None:
    async with Lab.open(place, workers=0) as lab:
        await lab.start_workers(obedient=True)
        client = await lab.client()
        async with lab.record() as run:
            await client.request("create_book", BOOK, request_id="emma")
            await lab.settle()
        story = await lab.story("emma")
        assert repr(story) == PLAIN
        assert repr(await run.story("emma")) == PLAIN
        assert story.table()["at"].is_monotonic_increasing or len(story.table()) == 13
        assert "client->>api_requests: request" in story.mermaid()
        assert run.summary()["unusual"].tolist() == [False]


async def test_a_killed_worker_leaves_a_gap_and_the_next_one_replays(place: str) -> None:
    async with Lab.open(place, workers=0) as lab:
        client = await lab.client(timeout=30)
        async with lab.record() as run:
            await lab.start_workers(dies_at="committed")
            request = client.request("create_book", BOOK, request_id="emma")
            call = asyncio.create_task(request)
            await crash.ended(lab, "worker-1")
            await lab.start_workers(obedient=True)
            await call
            await lab.settle()
        lines = repr(await lab.story("emma")).splitlines()
        gap = lines.index("  worker-1: says nothing more")
        assert lines[gap - 1] == "  worker-1: committed"
        assert lines[gap + 1] == "  api.requests → worker-2: deliver again"
        assert "  worker-2 → reply queue: reply: ok, replayed" in lines
        assert lines.count("  worker-1 → PostgreSQL: claim, effect, reply") == 1
        assert run.summary()["unusual"].tolist() == [True]


async def test_retries_and_the_dead_letter_are_in_it(place: str) -> None:
    async with Lab.open(place, workers=0, retry_delays="0.1,0.1") as lab:
        await lab.start_workers(obedient=True)
        client = await lab.client(timeout=30)
        async with lab.record():
            await lab.faults.fail(at="applied", always=True)
            await client.request("create_book", BOOK, request_id="emma")
            await lab.settle()
        lines = repr(await lab.story("emma"))
        assert lines.count("set aside") == 2
        assert lines.count("time is up") == 2
        assert lines.count("api.requests → worker-1: deliver") == 3
        assert "worker-1 → api.dlq: dead letter" in lines
        assert "reply: internal" in lines
        assert "PostgreSQL" not in lines  # it was undone each time


async def test_of_thousands_the_unusual_ones_are_shown(place: str) -> None:
    async with Lab.open(place, workers=0) as lab:
        await lab.start_workers(obedient=True)
        client = await lab.client(timeout=30)
        async with lab.record() as run:
            await lab.faults.messages.duplicate("request", request_id="twin")
            calls = [client.request("ping", request_id=f"ping-{n}") for n in range(500)]
            await asyncio.gather(*calls, client.request("create_book", BOOK, request_id="twin"))
            await lab.settle()
        table = run.summary()
        assert len(table) == 501
        assert table.index[table["unusual"]].tolist() == ["twin"]
        assert "501 requests, of which 1 are unusual" in repr(run)


async def test_what_was_not_recorded_has_no_story(place: str) -> None:
    async with Lab.open(place) as lab:
        with pytest.raises(NoStory, match=r"lab\.record"):
            await lab.story("emma")
        client = await lab.client()
        async with lab.record():
            await client.request("ping", request_id="one")
        with pytest.raises(NoStory, match="the first ones were: one"):
            await lab.story("emma")


async def test_a_recording_ends_also_while_the_database_is_away() -> None:
    async with Lab.open("recorded", private=True) as lab:
        client = await lab.client()
        run = await lab.record()
        await client.request("create_book", BOOK, request_id="emma")
        async with await lab.faults.kill("database"):
            await run.stop()
        lines = repr(await lab.story("emma"))
    assert "worker-1: committed" in lines
    assert "PostgreSQL" not in lines  # it was not there to be asked
