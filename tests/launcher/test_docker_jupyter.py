"""JupyterLab as it is on Docker: no web page can run code in it, and its log says who can."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from labkit.services import ports
from tests.support import ROOT, eventually

TOKEN = "0123456789abcdef0123456789abcdef"
FOREIGN = {"Origin": "http://evil.example", "Content-Type": "text/plain"}
"""What a page of another site can make a browser send, without asking first."""
REFUSED = (403, 404)
"""No token; or another site's page, to which the API is not there."""


class Jupyter:
    def __init__(self, port: int, log: Path, pid: int, http: aiohttp.ClientSession) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        self.pid = pid
        self._http = http

    async def status(self, method: str, path: str, **headers: str) -> int:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._http.request(method, self.url + path, data=b"{}", headers=given) as answer:
            return answer.status

    async def kernels(self) -> list[object]:
        mine = {"Authorization": f"token {TOKEN}"}
        async with self._http.get(f"{self.url}/api/kernels", headers=mine) as answer:
            found: list[object] = await answer.json()
            return found


@pytest.fixture
async def jupyter(tmp_path: Path) -> AsyncIterator[Jupyter]:
    (tmp_path / "lab.env").write_text(
        f"JUPYTER_TOKEN={TOKEN}\nMANAGEMENT_URL=http://lab:a-password@rabbitmq:15672\n"
    )
    port, log = ports.any_free(), tmp_path / "log"
    entrypoint, start = (str(ROOT / "docker" / name) for name in ("entrypoint.sh", "jupyter.sh"))
    options = [f"--ServerApp.port={port}", f"--ServerApp.root_dir={tmp_path}"]
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "SECRETS": str(tmp_path),
        "PUBLISHED_PORT": "9999",
    }
    with log.open("w") as output:
        process = await asyncio.create_subprocess_exec(
            "sh",
            *(entrypoint, "lab", "sh", start, *options),
            env=environment,
            stdout=output,
            stderr=output,
            cwd=tmp_path,
        )
    async with aiohttp.ClientSession() as http:
        there = Jupyter(port, log, process.pid, http)

        async def answers() -> bool:
            assert process.returncode is None, log.read_text()
            return not ports.is_free(port)

        try:
            await eventually(answers, 60)
            yield there
        finally:
            process.kill()
            await process.wait()


async def test_a_page_of_another_site_starts_no_kernel_and_no_token_can_be_guessed(
    jupyter: Jupyter,
) -> None:
    assert await jupyter.status("POST", "/api/kernels", **FOREIGN) in REFUSED
    for guess in ("lab", "", "jupyter", "token"):
        assert await jupyter.status("POST", f"/api/kernels?token={guess}", **FOREIGN) in REFUSED
        assert await jupyter.status("POST", "/api/kernels", Authorization=f"token {guess}") == 403
    rebound = {"Host": "evil.example"}
    assert await jupyter.status("POST", f"/api/kernels?token={TOKEN}", **rebound) == 403
    assert await jupyter.kernels() == []
    command = _command(jupyter.pid)
    assert "allow_remote_access=False" in command
    assert TOKEN not in command


def _command(pid: int) -> str:
    return Path("/proc", str(pid), "cmdline").read_bytes().decode()


async def test_its_log_says_where_it_is_and_where_the_broker_is(jupyter: Jupyter) -> None:
    said = jupyter.log.read_text()
    assert f"http://127.0.0.1:9999/lab?token={TOKEN}\n" in said
    assert re.search("http://127.0.0.1:15672, user lab, password a-password\n", said)


async def test_students_work_in_copies_without_outputs(jupyter: Jupyter) -> None:
    assert (ROOT / "my_work" / "00_start_here.ipynb").exists()
    assert "default_url=/lab/tree/my_work/00_start_here.ipynb" in _command(jupyter.pid)
