"""RabbitMQ and PostgreSQL for one run of the tests: started when a test first needs them.

The process that controls the run starts and ends them, once. xdist's workers ask it for them
through a file, and learn where they are from another one. nbval's kernels inherit it from the
environment.
"""

import asyncio
import json
import os
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from labkit.services import ownership
from labkit.services.files import write_atomically
from labkit.services.private import private_services

NEEDS_NONE = "unit"
"""The folder of the tests that need no service."""
DEADLINE = 120.0
FOLDER = "LAB_TEST_HOME"
MEMORY = "/dev/shm"
ROOM = 4 * 2**30
"""Bytes that the services of a run may need."""


def _prefer_memory() -> None:
    """What lives as long as the run is kept in memory, where there is room: a database is made of
    three hundred files. Who has set ``TMPDIR`` knows better.
    """
    if "TMPDIR" in os.environ or not Path(MEMORY).is_dir():
        return
    system = os.statvfs(MEMORY)
    is_usable = os.access(MEMORY, os.W_OK) and not system.f_flag & (os.ST_NOEXEC | os.ST_RDONLY)
    if is_usable and system.f_bavail * system.f_frsize > ROOM:
        os.environ["TMPDIR"] = MEMORY
        tempfile.tempdir = None  # it was asked for before


class ServicesOnDemand:
    """A plugin of pytest, in the controlling process and in each of xdist's workers."""

    def __init__(self, config: pytest.Config) -> None:
        self._stack = ExitStack()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._known = False
        self._config = config
        if not hasattr(config, "workerinput"):
            _prefer_memory()
            made = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="lab-test-"))
            os.environ[FOLDER] = made
            self._thread = threading.Thread(target=self._serve, args=(Path(made),), daemon=True)
            self._thread.start()
        home = Path(os.environ[FOLDER])
        self._wanted, self._urls, self._error = home / "wanted", home / "urls", home / "error"

    def _serve(self, home: Path) -> None:
        """Wait until they are wanted, start them, and end them with the run."""
        while not (home / "wanted").exists():
            if self._ended.wait(0.05):
                return
        try:
            asyncio.run(self._hold(home))
        except Exception as error:
            write_atomically(home / "error", f"{type(error).__name__}: {error}")

    async def _hold(self, home: Path) -> None:
        async with private_services(home / "services", durable=False) as urls:
            write_atomically(home / "urls", json.dumps(urls))
            await asyncio.to_thread(self._ended.wait)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if not self._known and NEEDS_NONE not in item.path.parts:
            self._wanted.touch()
            os.environ.update(self._wait())
            os.environ["LAB_QUICK"] = "1"  # notebooks that measure do so roughly
            os.environ["LAB_RECORD"] = ""  # and none knows what a student has predicted
            own = self._wanted.with_name("my_server.py")  # nor what they have built
            os.environ["MY_SERVER"] = str(own)
            self._known = True

    def _wait(self) -> dict[str, str]:
        end = time.monotonic() + DEADLINE
        while not self._urls.exists():
            if self._error.exists():
                pytest.exit(f"The services did not start. {self._error.read_text()}", 1)
            assert time.monotonic() < end, f"no services within {DEADLINE:.0f} s"
            time.sleep(0.02)
        urls: dict[str, str] = json.loads(self._urls.read_text())
        return urls

    def pytest_unconfigure(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            # Those of labs that tests have opened as root, as a student's `make lab` would.
            ownership.discard_all(self._config._tmp_path_factory.getbasetemp())  # type: ignore[attr-defined]
        self._stack.close()
