"""The story of a request, by those who saw it."""

import asyncio

import pytest

from labkit import Lab
from labkit.client.errors import QueueFull, ReplyTimeout, Unroutable
from labkit.errors import NoStory
from labkit.experiments import crash
from tests.support import BOOK

PLAIN = """\
The story of emma
  client: asks
  client → api.requests: request
  api.requests → client: confirm
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
        assert len(story.table()) == 15
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


async def test_a_caller_who_gave_up_and_the_reply_that_came_too_late(place: str) -> None:
    async with Lab.open(place) as lab:
        await lab.stop_workers()
        client = await lab.client()
        async with lab.record() as run:
            with pytest.raises(ReplyTimeout):
                await client.request("ping", request_id="late", timeout=0.3)
            await lab.start_workers(obedient=True)
            await lab.settle()
    lines = repr(await run.story("late")).splitlines()
    assert lines[1:6] == [
        "  client: asks",
        "  client → api.requests: request",
        "  api.requests → client: confirm",
        "  client: gives up: outcome unknown",
        "  api.requests → worker-1: deliver",
    ]
    assert "  reply queue → client: reply: expired, late" in lines


async def test_faults_are_in_the_stories_of_the_requests_that_they_concern(place: str) -> None:
    async with Lab.open(place, workers=0, retry_delays="0.1") as lab:
        client = await lab.client(timeout=30)
        async with lab.record() as run:
            await lab.start_workers(obedient=True)
            await lab.faults.fail(at="applied", request_id="unlucky")
            await client.request("create_book", BOOK, request_id="unlucky")
            await client.request("create_book", BOOK, request_id="lucky")
            await lab.faults.kill(at="committed", request_id="killed")
            call = asyncio.create_task(client.request("create_book", BOOK, request_id="killed"))
            await crash.ended(lab, "worker-1")
            await lab.start_workers(obedient=True)
            await call
            await lab.settle()
    unlucky = repr(await run.story("unlucky")).splitlines()
    assert unlucky[unlucky.index("  worker-1: applied") + 1] == "  ⚡ fail at applied"
    assert "⚡" not in repr(await run.story("lucky"))
    killed = repr(await run.story("killed")).splitlines()
    assert killed[killed.index("  worker-1: committed") + 1] == "  ⚡ kill at committed"
    assert "⚡ kill at committed" in (await run.story("killed")).mermaid()


async def test_a_letter_that_an_operator_edited_and_sent_again(place: str) -> None:
    async with Lab.open(place, workers=0, retry_delays="0.1") as lab:
        await lab.start_workers(obedient=True)
        client = await lab.client(timeout=30)
        async with lab.record() as run:
            await lab.faults.fail(at="applied", request_id="emma", always=True)
            await client.request("create_book", BOOK, request_id="emma")
            await lab.faults.undo()
            await lab.dead_letters.replay(ids=["emma"])
            await lab.settle()
    lines = repr(await run.story("emma")).splitlines()
    again = lines.index("  operator → api.requests: replay 1")
    assert lines[again + 1] == "  api.requests → worker-1: deliver"
    assert "  reply queue → operator: reply: ok" in lines[again:]


async def test_a_few_requests_are_one_diagram_and_many_open_one_by_one(place: str) -> None:
    async with Lab.open(place, workers=0) as lab:
        await lab.start_workers(obedient=True)
        client = await lab.client(timeout=30)
        async with lab.record() as few:
            for name in ("one", "two; #2"):
                await client.request("ping", request_id=name)
            await lab.settle()
        async with lab.record() as many:
            await lab.faults.messages.duplicate("request", request_id="<twin>")
            for name in ("a", "b", "c", "d", "e", "<twin>"):
                await client.request("create_book", BOOK, request_id=name)
            await lab.settle()
    drawn = few._repr_mimebundle_()["text/vnd.mermaid"]
    assert "client->>api_requests: one: request" in drawn
    assert "client->>api_requests: two#59; #35;2: request" in drawn
    page = many._repr_mimebundle_()["text/html"]
    assert page.count("<details>") == 1
    assert "&lt;twin&gt;" in page
    assert "6 requests, of which 1 are unusual" in page
    assert "api.requests → worker-1: deliver" in page


async def test_what_the_broker_never_took_has_a_story_too(place: str) -> None:
    async with Lab.open(place, max_queue_length=1) as lab:
        await lab.stop_workers()
        client = await lab.client(timeout=1)
        async with lab.record() as run:
            refused: list[str] = []
            while not refused:  # it is full a little after it has one too many
                ids = [f"ping-{len(run.requests()) + n}" for n in range(20)]
                calls = [client.request("ping", request_id=name) for name in ids]
                ends = await asyncio.gather(*calls, return_exceptions=True)
                refused = [
                    i for i, end in zip(ids, ends, strict=True) if isinstance(end, QueueFull)
                ]
    assert "client: is refused: the queue is full, or not up yet" in repr(
        await run.story(refused[0])
    )


async def test_a_recording_before_any_worker_ends_without_tables(place: str) -> None:
    async with Lab.open(place, workers=0) as lab:
        client = await lab.client()
        async with lab.record() as run:
            with pytest.raises(Unroutable):
                await client.request("ping", request_id="early")
    assert "client: gets it back: there is no queue" in repr(await run.story("early"))
