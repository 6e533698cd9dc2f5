"""A RabbitMQ and a PostgreSQL of one's own: they keep their data, and never stay behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest

from labkit.services import handshake, ownership
from labkit.services.environment import ROOT
from labkit.services.home import Home
from labkit.services.private import private_services
from labkit.services.process import recorded
from tests.support import running_in, until

HOLDER = """
import asyncio, sys
from pathlib import Path
from labkit.services.private import private_services
async def hold():
    async with private_services(Path(sys.argv[1]), durable=False):
        print("ready", flush=True)
        await asyncio.sleep(60)
asyncio.run(hold())
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder whose name would break a careless script."""
    path = tmp_path / "the students lab, ü"
    yield path
    ownership.discard(Home(path))  # root's is outside of `tmp_path`


@pytest.fixture
def holder(home: Path) -> Iterator["subprocess.Popen[str]"]:
    """A program that holds private services until it is ended."""
    command = [sys.executable, "-c", HOLDER, str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        yield process
        process.kill()


def nothing_runs(home: Path) -> bool:
    return not running_in(home) and not recorded(home / "run")


def written(home: Path, word: bytes) -> bool:
    """The broker keeps the definition of a queue to itself for up to two seconds."""
    files = [path for path in (home / "rabbitmq" / "data").rglob("*") if path.is_file()]
    return any(word in path.read_bytes() for path in files if path.exists())


async def test_data_survives_when_everything_is_killed(home: Path) -> None:
    async with private_services(home) as urls:
        database = await asyncpg.connect(urls["DATABASE_URL"])
        await database.execute("CREATE TABLE books AS SELECT 'Solaris' AS title")
        management = urls["MANAGEMENT_URL"]
        async with httpx.AsyncClient(base_url=management, trust_env=False) as broker:
            created = await broker.put("/api/queues/%2F/kept", json={"durable": True})
            assert created.is_success
        until(lambda: written(home, b"kept"), within=20)
        for process in recorded(home / "run"):
            os.kill(process.pid, signal.SIGKILL)
        database.terminate()
    async with private_services(home) as urls:
        database = await asyncpg.connect(urls["DATABASE_URL"])
        assert await database.fetchval("SELECT title FROM books") == "Solaris"
        await database.close()
        async with httpx.AsyncClient(base_url=urls["MANAGEMENT_URL"], trust_env=False) as broker:
            assert (await broker.get("/api/queues/%2F/kept")).is_success
        for process in recorded(home / "run"):  # their graceful end would take six seconds
            process.kill()
    until(lambda: nothing_runs(home), within=20)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whoever_holds_services_may_die_at_once(
    home: Path, holder: "subprocess.Popen[str]", number: signal.Signals
) -> None:
    """While they are starting: RabbitMQ needs some seconds, and has begun after one record."""
    while not list(home.glob("run/rabbitmq.json")):
        assert holder.poll() is None
        time.sleep(0.02)
    holder.send_signal(number)
    holder.wait()
    until(lambda: nothing_runs(home), within=20)


async def test_a_wrong_password_is_refused_and_said_so() -> None:
    url = os.environ["DATABASE_URL"]
    password = urlsplit(url).password or ""
    with pytest.raises(handshake.Refused) as refused:
        await handshake.postgresql(url.replace(password, "guess"))
    assert refused.value.final
    amqp = os.environ["AMQP_URL"]
    with pytest.raises(handshake.Refused, match="ACCESS_REFUSED"):
        await handshake.amqp(amqp.replace(urlsplit(amqp).password or "", "guess"))
