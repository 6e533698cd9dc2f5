"""Ours and others, on one machine, in one run: the same request, interleaved.

Each server is a process, and each client another one. All run all the time, for idle they cost
nothing; the clients take turns. A figure is the median of all rounds, with the lowest and the
highest beside it.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from labkit.services.environment import ROOT

PEERS = ROOT / "bench" / "peers"
ROUNDS = 3
SECONDS = 2.0
START = 30.0
"""Seconds that a server has until it says that it is ready."""

Figures = dict[str, float]
"""calls_s, p50_ms, p99_ms, max_ms"""


@dataclass(frozen=True)
class Contender:
    """What is measured: a client's command and the server's that answers, each with the variable
    that has the broker's address and user for it.
    """

    name: str
    client: tuple[str, ...]
    server: tuple[str, ...]
    client_url: str = "ADMIN_AMQP_URL"
    server_url: str = "ADMIN_AMQP_URL"


@dataclass(frozen=True)
class Row:
    """What the contenders of one comparison all do: `closed 64` or `open 500`, see `peers/load`."""

    name: str
    kind: str
    number: float
    contenders: tuple[Contender, ...]


def peer(python: Path, name: str, script: str) -> Contender:
    command = (str(python), str(PEERS / script))
    return Contender(name, (*command, "client"), (*command, "server"))


def ours(transport: str, action: str, name: str) -> Contender:
    """``transport`` is ``amqp`` or ``rest``."""
    client = (sys.executable, "-m", "bench.ours", transport, action)
    role = "worker" if transport == "amqp" else "rest"
    server = (sys.executable, "-m", "server", role)
    return Contender(name, client, server, "AMQP_URL", "SERVER_AMQP_URL")


def rows(python: Path) -> list[Row]:
    """`python` is the one that has the peers installed."""
    echo = (
        ours("amqp", "ping", "ours"),
        ours("rest", "ping", "rest"),
        peer(python, "aio_pika_rpc", "aio_pika_rpc.py"),
        peer(python, "faststream", "faststream_request.py"),
        peer(python, "celery", "celery_rpc.py"),
        peer(python, "plain", "plain.py"),
        peer(python, "floor", "floor.py"),
    )
    create = (
        ours("amqp", "create_book", "ours"),
        ours("rest", "create_book", "rest"),
        peer(python, "bare", "bare.py"),
    )
    books = (ours("amqp", "get_books", "ours"), ours("rest", "get_books", "rest"))
    together = {"echo": echo, "create": create, "get_books": books}
    closed = [
        Row(f"{name}_{number}", "closed", number, contenders)
        for number in (1, 64, 1024)
        for name, contenders in together.items()
    ]
    return [*closed, *(Row(f"create_at_{rate}_s", "open", rate, create) for rate in (100, 400))]


class Client:
    """A contender's client, which runs, and waits until it is its turn."""

    def __init__(
        self, contender: Contender, child: asyncio.subprocess.Process, errors: IO[bytes]
    ) -> None:
        """Use ``client``."""
        self._contender = contender
        self._child = child
        self._errors = errors

    async def measure(self, row: Row) -> Figures:
        """Raises ``RuntimeError`` with what it said if it fails."""
        stdin, stdout = self._child.stdin, self._child.stdout
        assert stdin is not None  # noqa: S101  (it has pipes)
        assert stdout is not None  # noqa: S101
        stdin.write(f"{row.kind} {row.number:g} {SECONDS:g}\n".encode())
        output = await stdout.readline()
        if not output:
            self._errors.seek(0)
            said = self._errors.read()[-2000:].decode(errors="replace")
            raise RuntimeError(f"{row.name}, {self._contender.name}: {said}")
        figures: Figures = json.loads(output)
        return figures


@asynccontextmanager
async def client(contender: Contender, environment: Mapping[str, str]) -> AsyncIterator[Client]:
    """For as long as the block lasts."""
    own = {**environment, "AMQP_URL": environment[contender.client_url]}
    with tempfile.TemporaryFile() as errors:
        child = await asyncio.create_subprocess_exec(
            *contender.client,
            env=own,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        try:
            yield Client(contender, child, errors)
        finally:
            if child.returncode is None:
                child.kill()
            await child.wait()


async def measure(
    contests: list[Row], environment: Mapping[str, str], rounds: int = ROUNDS
) -> dict[str, dict[str, list[Figures]]]:
    """Row, contender -> the figures of each round."""
    results: dict[str, dict[str, list[Figures]]] = {}
    async with AsyncExitStack() as stack:
        clients = {
            each: await stack.enter_async_context(client(each, environment))
            for each in dict.fromkeys(each for row in contests for each in row.contenders)
        }
        for number in range(rounds):
            for row in contests:
                print(f"  round {number + 1} of {rounds}: {row.name}", flush=True)  # noqa: T201
                for contender in row.contenders:
                    figures = await clients[contender].measure(row)
                    results.setdefault(row.name, {}).setdefault(contender.name, []).append(figures)
    return results


@asynccontextmanager
async def servers(
    contests: list[Row], environment: Mapping[str, str], folder: Path
) -> AsyncIterator[None]:
    """Those of all contenders, each started once; their output is in `folder`."""
    commands = {each.server: each.server_url for row in contests for each in row.contenders}
    children: list[asyncio.subprocess.Process] = []
    logs: list[Path] = []
    try:
        for number, (command, url) in enumerate(commands.items()):
            log = folder / f"{number}.log"
            own = {**environment, "AMQP_URL": environment[url]}
            with log.open("wb") as output:
                child = await asyncio.create_subprocess_exec(
                    *command, env=own, cwd=ROOT, stdout=output, stderr=output
                )
            children.append(child)
            logs.append(log)
        await asyncio.gather(*map(_ready, children, logs))
        yield
    finally:
        for child in children:
            if child.returncode is None:
                child.terminate()
        await asyncio.gather(*(child.wait() for child in children))


async def _ready(child: asyncio.subprocess.Process, log: Path) -> None:
    end = time.monotonic() + START
    while "ready" not in (said := await asyncio.to_thread(log.read_text)):
        if child.returncode is not None or time.monotonic() > end:
            raise RuntimeError(f"A server did not start: {said[-2000:]}")
        await asyncio.sleep(0.05)


def medians(rounds: list[Figures]) -> Figures:
    return {name: statistics.median(figures[name] for figures in rounds) for name in rounds[0]}
