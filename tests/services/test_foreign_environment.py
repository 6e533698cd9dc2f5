"""What a student has set for other programs does not change what ours do."""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from labkit import database as lab_database
from labkit.broker.management import Broker
from labkit.launcher import __main__ as launcher
from labkit.launcher import debian, venv
from labkit.place import vhost_of
from labkit.services import environment, handshake, process, software
from labkit.services.errors import MissingSoftware, ServiceError
from labkit.services.inherited import for_pip, inherited
from labkit.services.private import private_services
from server.persistence.database import Database
from server.settings import Settings
from tests.support import process_of, wire

FOREIGN = {
    "PGSSLMODE": "require",
    "PIP_TARGET": "/elsewhere",
    "PYTHONPATH": "/elsewhere",
    "PYTHONIOENCODING": "latin-1",
    "MPLBACKEND": "Agg",
    "LC_ALL": "C",
    "LANG": "en_US.ISO-8859-1",
    "RABBITMQ_NODENAME": "another",
    "ERL_FLAGS": "-name another",
    "JUPYTER_TOKEN": "another",
}


def test_programs_of_ours_inherit_no_setting_for_others() -> None:
    kept = {"HTTP_PROXY": "http://school:3128", "DISPLAY": ":0", "LAB_INSTALL": "no"}
    ours = inherited(FOREIGN | kept)
    assert kept.items() <= ours.items()
    assert not FOREIGN.items() & ours.items()
    assert (ours["LC_ALL"], ours["PYTHONUTF8"]) == ("C.UTF-8", "1")


def test_a_kernel_draws_its_pictures_whatever_the_back_end_of_the_shell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")
    assert "MPLBACKEND" not in venv.environment()


def test_pip_asks_the_index_of_the_user_and_installs_where_we_say() -> None:
    given = {"PIP_INDEX_URL": "https://school/simple", "PIP_USER": "1", "PIP_TARGET": "/elsewhere"}
    ours = for_pip(given)
    assert ours["PIP_INDEX_URL"] == "https://school/simple"
    assert ours["PIP_USER"] == "0"
    assert "PIP_TARGET" not in ours


PROXIES = [
    {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"},
    {"ALL_PROXY": "socks5://127.0.0.1:9"},
    {"NO_PROXY": "fc00::/7"},
]


@pytest.mark.parametrize("proxies", PROXIES, ids=["http", "socks", "no proxy"])
async def test_a_proxy_is_not_handed_the_operators_password(
    vhost: str, monkeypatch: pytest.MonkeyPatch, proxies: dict[str, str]
) -> None:
    for name, value in proxies.items():
        monkeypatch.setenv(name, value)
    async with Broker(os.environ["MANAGEMENT_URL"]) as broker:
        assert await broker.queues(vhost_of(vhost)) == []
    assert await handshake.management(os.environ["MANAGEMENT_URL"]) == "lab"


@pytest.mark.parametrize(
    "variables",
    [{"PGSSLMODE": "require"}, {"PGSSLCERT": "/none"}, {"PGDATABASE": "another"}],
    ids=lambda given: next(iter(given)),
)
async def test_the_databases_of_the_user_are_not_ours(
    settings: Settings,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    again = Database(settings)
    try:
        await again.create_tables()
        assert list((await lab_database.rows(settings.database_url, "users"))["id"]) == [1]
    finally:
        await again.close()


@pytest.mark.parametrize("mode", ["disable", "prefer"])
async def test_a_database_of_ones_own_may_say_how_much_tls_it_wants(
    settings: Settings, database: Database, mode: str
) -> None:
    url = f"{settings.database_url}?sslmode={mode}"
    own = Database(settings.model_copy(update={"database_url": url}))
    try:
        await own.create_tables()
        assert not (await lab_database.rows(url, "users")).empty
    finally:
        await own.close()


async def test_no_locale_makes_a_worker_fail_at_what_it_logs(
    settings: Settings, database: Database
) -> None:
    latin = {"PYTHONIOENCODING": "latin-1", "LANG": "en_US.ISO-8859-1", "PYTHONUTF8": "0"}
    async with (
        process_of(settings, "server", "worker", **latin) as worker,
        wire(settings) as client,
    ):
        assert (await client.ask(client.body("ping", id="запрос-1")))["status"] == "ok"
        await worker.end(signal.SIGTERM)
    assert [line["id"] for line in worker.events("request")] == ["запрос-1"]


async def test_the_folder_may_be_called_anything(tmp_path: Path) -> None:
    async with private_services(tmp_path / "ж [2026] {x} '$`", durable=False) as urls:
        assert await handshake.management(urls["MANAGEMENT_URL"]) == "lab"
        assert await handshake.postgresql(urls["DATABASE_URL"])


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("API_KEY=my#key", "my#key"),
        ("API_KEY = x", "x"),
        ("\ufeffAPI_KEY=x", "x"),
        ("export API_KEY='a b' # of mine", "a b"),
        ('API_KEY="#x"', "#x"),
        ("API_KEY=x # of mine", "x"),
        ("API_KEY=", ""),
        ("# Schlüssel\nAPI_KEY=x", "x"),
    ],
)
def test_a_key_in_dotenv_is_read_as_it_is_meant(clone: Path, line: str, value: str) -> None:
    path = clone / ".env"
    for encoding in ("utf-8",) if "\ufeff" in line else ("utf-8", "latin-1"):
        path.write_bytes(f"{line}\r\n".encode(encoding))
        assert environment.dotenv() == {"API_KEY": value}


@pytest.mark.parametrize("line", ["API_KEY: x", "API-KEY=x", "API_KEY='x", "API_KEY=Schlüssel"])
def test_what_cannot_be_read_in_dotenv_is_named_by_its_line(clone: Path, line: str) -> None:
    (clone / ".env").write_bytes(f"\n{line}\n".encode("latin-1"))
    with pytest.raises(ServiceError, match=r"\.env, line 2, "):
        environment.dotenv()


def test_a_copy_of_the_folder_does_not_end_what_the_original_has_started(tmp_path: Path) -> None:
    original, copy, moved = (tmp_path / name for name in ("original", "copy", "moved"))
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    started = process.start("sleep", sleep, run_dir=original / "run", log=original / "log")
    try:
        shutil.copytree(original, copy)
        assert process.find("sleep", copy / "run") is None
        assert process.recorded(copy / "run") == []
        original.rename(moved)
        found = process.find("sleep", moved / "run")
        assert found is not None
        assert found.pid == started.pid
        assert json.loads(found.record.read_text())["pid"] == started.pid
    finally:
        os.kill(started.pid, signal.SIGKILL)
        started.alive()


async def test_the_user_can_decline_that_anything_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.which", lambda name, **_: f"/usr/bin/{name}")
    monkeypatch.setattr(debian, "_root_command", lambda: ())
    assert debian.may_install()
    monkeypatch.setenv("LAB_INSTALL", "no")
    assert not debian.may_install()
    monkeypatch.setattr(software, "missing", lambda: ["RabbitMQ"])
    monkeypatch.setattr(environment, "given_services", lambda _: {})
    with pytest.raises(MissingSoftware, match="rabbitmq-server"):
        await launcher._install()
