"""A lab of its own for each notebook."""

import asyncio
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from labkit import Lab
from labkit.errors import LabNotOpen, NoSuchTable, WorkerFailed
from labkit.exercises.lesson_01 import OneStays
from labkit.exercises.lesson_02 import OneBookTwoCalls
from labkit.exercises.lesson_04 import ImpatientClient
from labkit.exercises.lesson_08 import Encyclopedia
from labkit.exercises.lesson_09 import TheOtherDoor
from labkit.worker_settings import NAMES
from server.contract.errors import TooLarge
from server.contract.limits import Limits
from server.contract.topology import REQUESTS
from tests.support import BOOK, ROOT, eventually, paste


async def test_an_open_lab_answers_and_shows_rows_and_queues(place: str) -> None:
    async with Lab.open(place) as lab:
        client = await lab.client()
        await client.call("create_book", BOOK, idempotency_key="k")
        await lab.settle()
        rows, queues, log = await lab.rows("books_v1"), await lab.queues(), lab.log()
    assert rows["title"].tolist() == ["1984"]
    assert queues.loc[REQUESTS].to_dict() == {"type": "quorum", "ready": 0, "unacked": 0}
    assert log[["action", "attempt", "outcome"]].values.tolist() == [["create_book", 1, "ok"]]


async def test_labs_do_not_see_each_other(place: str) -> None:
    async with Lab.open(f"{place}-a") as one, Lab.open(f"{place}-b") as two:
        await (await one.client()).call("create_book", BOOK)
        assert (await two.rows("books_v1")).empty


async def test_opening_again_begins_anew_and_ends_the_workers_before(place: str) -> None:
    first = await Lab.open(place)
    await (await first.client()).call("create_book", BOOK)
    async with Lab.open(place, workers=2) as second:
        assert (await second.rows("books_v1")).empty
        client = await second.client()
        await asyncio.gather(*(client.call("ping") for _ in range(20)))
        await second.settle()
        assert set(second.log()["worker"]) == {f"lab-{place}-worker-{n}" for n in (1, 2)}
    await first.close()


async def test_reset_empties_the_lab_and_keeps_it_working(place: str) -> None:
    async with Lab.open(place) as lab:
        client = await lab.client()
        await client.call("create_book", BOOK, idempotency_key="k")
        await lab.reset()
        assert (await lab.rows("books_v1")).empty
        assert (await client.call("create_book", BOOK, idempotency_key="k"))["id"] == 1


async def test_a_call_that_a_reset_has_left_without_its_request_ends_and_can_be_made_again(
    place: str,
) -> None:
    async with Lab.open(place) as lab:
        client = await lab.client(timeout=60)
        await lab.stop_workers()
        call = asyncio.create_task(client.request("ping", request_id="again"))
        await eventually(lambda: _one_waits(lab))
        await lab.reset()
        await asyncio.wait([call], timeout=5)
        assert call.cancelled()
        await lab.start_workers(1)
        assert (await client.request("ping", request_id="again")).status == "ok"


async def _one_waits(lab: Lab) -> bool:
    return bool((await lab.queues())["ready"].get(REQUESTS, 0) == 1)


async def test_settings_reach_the_workers(place: str) -> None:
    async with Lab.open(place, max_body=2000) as lab:
        client = await lab.client()
        with pytest.raises(TooLarge, match="2000"):
            await client.call("create_book", BOOK | {"title": "T" * 2000})


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"prefetch": -1}, ValueError, "prefetch: Input should be greater than or equal to 1"),
        ({"retry_delays": "soon"}, ValueError, "retry_delays: "),
        ({"prefech": 1}, TypeError, "no setting 'prefech'. Did you mean 'prefetch'?"),
        ({"database_url": "postgres://"}, TypeError, "There is: commit_batch, delivery_limit, "),
    ],
)
async def test_a_setting_that_cannot_be_used_is_explained_at_once(
    place: str, settings: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=re.escape(says)):
        Lab.open(place, **settings)
    async with Lab.open(place, workers=0) as lab:
        with pytest.raises(error, match=re.escape(says)):
            await lab.start_workers(1, **settings)


def test_the_settings_of_a_lab_are_the_limits_of_its_server() -> None:
    decided_by_the_lab = {"clustered"}  # it follows from `brokers`
    where_it_is_seen = {"rest_port", "metrics_port", "otel_exporter_otlp_endpoint"}
    assert set(NAMES) == {*Limits.model_fields, *where_it_is_seen} - decided_by_the_lab


async def test_a_table_that_does_not_exist_names_those_that_do(place: str) -> None:
    async with Lab.open(place, workers=1) as lab:
        with pytest.raises(NoSuchTable, match="books_v1"):
            await lab.rows("book")


async def test_a_lab_that_was_not_awaited_says_so(place: str) -> None:
    lab = Lab.open(place)
    with pytest.raises(LabNotOpen, match="await"):
        await lab.queues()


async def test_workers_end_with_their_kernel(place: str) -> None:
    script = (
        "import asyncio, labkit\n"
        f"lab = asyncio.run(labkit.Lab.open({place!r})._open())\n"
        "print(lab._open_workspace().workers.processes[0].pid)\n"
    )
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


async def test_what_happened_before_a_reset_is_no_part_of_an_answer(place: str) -> None:
    dune = {"title": "Dune", "author": "Frank Herbert"}
    async with Lab.open(place, rest=True) as lab:
        two_doors, five_times = TheOtherDoor(lab), ImpatientClient(lab)
        await paste(two_doors)
        await paste(five_times)
        await lab.settle()
        await lab.reset()
        client = await lab.client()
        for title in ("Dune", "Emma", "Ulysses"):
            await client.call("create_book", dune | {"title": title}, idempotency_key=title)
        assert "one server" in repr(await two_doors.check())
        assert "only 3 calls" in repr(await five_times.check())


async def test_one_call_after_the_other_is_not_at_once(place: str) -> None:
    async with Lab.open(place) as lab:
        exercise, client = ImpatientClient(lab), await lab.client()
        for title in ("Dune", "Emma", "Ulysses"):
            for _ in range(5):
                book = {"title": title, "author": "A"}
                await client.call("create_book", book, idempotency_key=title)
        assert "one call after the other" in repr(await exercise.check())


async def test_a_wrong_attempt_a_reset_and_the_solution_is_right(place: str) -> None:
    async with Lab.open(place) as lab:
        exercise, client = OneBookTwoCalls(lab), await lab.client()
        for _ in range(2):
            await client.call("create_book", {"title": "Brave New World", "author": "A. Huxley"})
        assert (await exercise.check()).outcome == "wrong"
        await lab.reset()
        assert (await exercise.check()).outcome == "not attempted"
        await paste(exercise)
        assert (await exercise.check()).outcome == "right"


async def test_the_usual_wrong_answers_are_told_apart(place: str) -> None:
    async with Lab.open(place) as lab:
        client = await lab.client()
        book = {"title": "Brave New World", "author": "Aldous Huxley", "year": 1932}
        await client.call("create_book", book)
        assert "no call since" in repr(await OneBookTwoCalls(lab).check())
        await client.call("create_book", book)
        assert "2 rows" in repr(await OneBookTwoCalls(lab).check())


async def test_one_door_twice_is_not_two_doors(place: str) -> None:
    async with Lab.open(place, rest=True) as lab:
        exercise, rest, rabbitmq = TheOtherDoor(lab), await lab.rest_client(), await lab.client()
        dune = {"title": "Dune", "author": "Frank Herbert"}
        await rest.call("create_book", dune, idempotency_key="k")
        assert "ask again" in repr(await exercise.check())
        await rest.call("create_book", dune, idempotency_key="k")
        assert "one server" in repr(await exercise.check())
        await rabbitmq.call("create_book", dune, idempotency_key="another")
        assert "same idempotency key" in repr(await exercise.check())


async def test_volumes_that_are_missing_nameless_or_doubled_are_told_apart(place: str) -> None:
    async with Lab.open(place) as lab:
        exercise, client = Encyclopedia(lab), await lab.client()

        async def create(number: int, key: str | None = None) -> None:
            book = {"title": f"Volume {number}", "author": "Denis Diderot"}
            await client.call("create_book", book, idempotency_key=key)

        await asyncio.gather(*(create(number, f"volume-{number}") for number in range(1, 61)))
        assert "40 of 100 volumes are missing" in repr(await exercise.check())
        await asyncio.gather(*(create(number) for number in range(61, 101)))
        assert "not every request had an idempotency key" in repr(await exercise.check())
        await create(7)
        assert "1 of them more than once: Volume 7 …" in repr(await exercise.check())


async def test_a_lab_that_is_down_is_not_taken_for_a_wrong_answer(place: str) -> None:
    lab = await Lab.open(place)
    await lab.close()
    assert (await OneStays(lab).check()).outcome == "lab broken"


async def test_the_counts_of_a_queue_are_those_of_now(place: str) -> None:
    async with Lab.open(place) as lab:
        await lab.stop_workers()
        client = await lab.client()
        calls = [asyncio.create_task(client.call("ping", timeout=30)) for _ in range(10)]

        async def all_ready() -> bool:
            return bool((await lab.queues()).loc[REQUESTS, "ready"] == 10)

        await eventually(all_ready, within=1)
        with pytest.raises(TimeoutError):
            await lab.settle(within=0.5)
        await lab.start_workers()
        await asyncio.gather(*calls)
        await lab.settle()
        assert (await lab.queues()).loc[REQUESTS, ["ready", "unacked"]].sum() == 0


async def test_a_client_has_the_labs_key_another_or_none(place: str) -> None:
    async with Lab.open(place) as lab:
        assert (await (await lab.client()).request("ping")).status == "ok"
        for key in ("made up", None):
            refused = await (await lab.client(api_key=key)).request("ping")
            assert refused.error is not None
            assert refused.error["code"] == "unauthorized"


async def test_a_worker_that_does_not_start_says_why_in_one_sentence(place: str) -> None:
    async with Lab.open(place) as lab:
        with pytest.raises(WorkerFailed) as failed:
            await lab.start_workers(1, "no_such_program")
    said = str(failed.value)
    assert re.search("No module named '?no_such_program", said)
    assert ".log" in said
    assert len(said.splitlines()) == 1
