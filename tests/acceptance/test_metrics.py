"""A real scrape of a real worker: it says what the log says."""

import asyncio
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import aio_pika
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from labkit import Lab
from labkit.errors import WorkerFailed
from labkit.services import ports
from labkit.services.logs import events
from server.contract.errors import NotFound
from server.contract.topology import DEAD_LETTERS, REQUESTS
from tests.support import BOOK, eventually

Labels = tuple[tuple[str, str], ...]


async def scraped(lab: Lab, kind: str = "worker-1") -> dict[tuple[str, Labels], float]:
    log = lab.worker_logs[f"lab-{lab.name}-{kind}"]
    *_, url = (event["url"] for event in events([log]) if event["event"] == "metrics")
    async with httpx.AsyncClient(trust_env=False) as http:
        text = (await http.get(url)).raise_for_status().text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def labels(**given: str) -> Labels:
    return tuple(sorted(given.items()))


async def test_a_scrape_says_what_became_of_the_requests(place: str) -> None:
    async with Lab.open(place, metrics_port=0, retry_delays="0.05") as lab:
        client = await lab.client()
        await client.call("create_book", BOOK)
        with pytest.raises(NotFound):
            await client.call("get_book", {"id": 9})
        for _ in range(3):
            await client.request("no such <action>")
        async with await aio_pika.connect(lab.amqp_url) as connection:
            channel = await connection.channel()
            await channel.default_exchange.publish(aio_pika.Message(b"no JSON"), REQUESTS)

        async def parked() -> bool:
            seen = await scraped(lab)
            return seen.get(("library_queue_ready", labels(queue=DEAD_LETTERS))) == 1

        await eventually(parked, within=15)
        seen = await scraped(lab)
        log = lab.log()
    outcomes = Counter(zip(log["action"].fillna("unknown"), log["outcome"], strict=True))
    for (action, outcome), count in outcomes.items():
        version = "unknown" if action == "unknown" else "v1"
        of_it = labels(action=action, outcome=outcome, version=version)
        assert seen["library_requests_total", of_it] == count
    assert seen["library_dead_letters_total", labels(reason="malformed")] == 1
    created = labels(action="create_book")
    assert seen["library_request_seconds_count", created] == 1
    assert seen["library_sent_to_done_seconds_count", created] == 1
    assert seen["library_sent_to_done_seconds_sum", created] < 10
    assert not any("<action>" in str(name) for name in seen)


async def test_rest_has_metrics_too(place: str) -> None:
    async with Lab.open(place, workers=0, rest=True, metrics_port=0) as lab:
        await (await lab.rest_client()).call("ping")
        seen = await scraped(lab, "rest")
    of_it = labels(action="ping", outcome="ok", version="v1")
    assert seen["library_requests_total", of_it] == 1


async def test_from_sent_to_done_counts_the_wait_for_a_worker(place: str) -> None:
    async with Lab.open(place, workers=0, metrics_port=0) as lab:
        await lab.start_workers(1)
        await lab.stop_workers()
        client = await lab.client()
        call = asyncio.create_task(client.call("ping"))
        await asyncio.sleep(1)
        began = time.monotonic()
        await lab.start_workers(1)
        await call
        assert time.monotonic() - began < 10
        seen = await scraped(lab)
    assert seen["library_sent_to_done_seconds_sum", labels(action="ping")] > 1


async def test_a_port_that_is_taken_is_said_in_a_sentence(place: str) -> None:
    port = ports.any_free()
    async with Lab.open(place, metrics_port=port) as lab:
        with pytest.raises(WorkerFailed, match="METRICS_PORT"):
            await lab.start_workers(1)


async def test_a_worker_that_waits_for_its_database_can_be_scraped(tmp_path: Path) -> None:
    """That is when an operator looks."""
    log = tmp_path / "log"
    environment = os.environ | {
        "AMQP_URL": os.environ["SERVER_AMQP_URL"],
        "DATABASE_URL": "postgresql://lab@127.0.0.1:1/lab",
        "METRICS_PORT": "0",
    }
    with log.open("wb") as output:
        worker = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "server", "worker"), env=environment, stdout=output
        )
    try:

        async def served() -> str | None:
            return next((e["url"] for e in events([log]) if e["event"] == "metrics"), None)

        url = await eventually(served)
        async with httpx.AsyncClient(trust_env=False) as http:
            assert "library_requests" in (await http.get(url)).raise_for_status().text
        assert "ready" not in [event["event"] for event in events([log])]
    finally:
        worker.kill()
        await worker.wait()


def test_switched_off_it_is_not_even_imported() -> None:
    code = (
        "import sys, server.__main__, server.transports.amqp.worker\n"
        "sys.exit('prometheus_client' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
