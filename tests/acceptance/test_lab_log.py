"""What workers logged is found whatever has become of a line, or of the file."""

import json
import os

from labkit import Lab
from labkit.services.logs import LIMIT, set_aside
from tests.support import BOOK


async def test_a_worker_whose_log_is_set_aside_at_its_start_is_ready_all_the_same(
    place: str,
) -> None:
    async with Lab.open(place, rest=True) as lab:
        await (await lab.client()).call("create_book", BOOK)
        await lab.settle()
        await lab.stop_workers()
        for log in lab.worker_logs.values():
            with log.open("a") as file:
                file.write(json.dumps({"event": "x" * LIMIT}) + "\n")
        await lab.start_workers()
        assert set_aside(lab.worker_logs[f"lab-{place}-worker-1"]).exists()
        await (await lab.client()).call("ping")
        await lab.settle()
        assert lab.log()["action"].tolist() == ["create_book", "ping"], "of both files"
    async with Lab.open(place) as lab:
        assert lab.log().empty, "an earlier lab's is gone"


async def test_a_line_that_was_cut_hides_no_other(place: str) -> None:
    async with Lab.open(place) as lab:
        client = await lab.client()
        await client.call("create_book", BOOK)
        await lab.settle()
        (log,) = lab.worker_logs.values()
        with log.open("ab") as file:
            file.write(b'{"event": "request", "id": "\xd0')
        await lab.stop_workers()
        await lab.start_workers()
        await client.call("ping")
        await lab.settle()
        assert lab.log()["action"].tolist() == ["create_book", "ping"]


async def test_a_log_is_for_its_owner_only(place: str) -> None:
    before = os.umask(0o022)
    try:
        async with Lab.open(place) as lab:
            (log,) = lab.worker_logs.values()
            for path in (log, log.parent, log.parents[1]):
                assert not path.stat().st_mode & 0o077, path
    finally:
        os.umask(before)
