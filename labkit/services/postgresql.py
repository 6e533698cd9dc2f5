"""A private PostgreSQL: its own data, port and superuser, on the loopback interface."""

import contextlib
import locale
import shutil
from pathlib import Path

import psutil

from labkit.services import handshake, ownership, ports, software, stopping
from labkit.services.errors import PortTaken, ServiceError
from labkit.services.files import write_atomically
from labkit.services.home import Home
from labkit.services.inherited import inherited
from labkit.services.process import Process, find, start
from labkit.services.ready import adopted, until_ready
from labkit.services.running import run

NAME = stopping.POSTGRESQL
USER = DATABASE = "lab"
PORT = 5432
START_DEADLINE = 60.0
TRIES = 4

SETTINGS = {
    "listen_addresses": ports.LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "300",
    "log_timezone": "UTC",
    "timezone": "UTC",
}
FORGETFUL = {"fsync": "off", "full_page_writes": "off"}
"""For data that may be lost in a power cut; the lab's own is safe. What was committed survives
a kill -9 here too, or no private lab could promise anything."""


async def up(home: Home) -> dict[str, str]:
    """Start the database, or adopt the one that runs; returns DATABASE_URL.

    Data survives. Raises `NotReady` with the log's tail, or `MissingSoftware`.
    """
    running = find(NAME, home.run_dir)
    if running is not None and await adopted(running, lambda: _wait(running, home)):
        return urls(home)
    installed = software.postgresql()
    data = ownership.folder(home) / "data"
    if not (data / "PG_VERSION").exists():
        await _initialise(installed, data, home)
    _check_version(installed, data)
    for attempt in range(TRIES):
        standard = PORT if home.durable else None
        await ports.assign(home, NAME, standard, remembered=attempt == 0)
        try:
            await _wait(_start(installed, data, home), home)
            return urls(home)
        except PortTaken:
            continue
        except handshake.Refused as refused:
            if refused.code != handshake.NO_DATABASE:
                raise ServiceError(_refusal(home, refused)) from refused
        await _create_database(installed, home)
        return urls(home)
    raise ports.all_taken("PostgreSQL")


def urls(home: Home) -> dict[str, str]:
    login = f"{USER}:{home.password(NAME)}@{ports.LOOPBACK}:{home.port(NAME)}"
    return {"DATABASE_URL": f"postgresql://{login}/{DATABASE}"}


async def _initialise(installed: software.PostgreSQL, data: Path, home: Home) -> None:
    """Make the data directory under another name first: what is interrupted is not taken for it."""
    draft, secret = data.with_name("draft"), data.with_name("password")
    user = ownership.other_user()
    shutil.rmtree(draft, ignore_errors=True)
    write_atomically(secret, home.password(NAME) + "\n")
    if user is not None:
        shutil.chown(secret, user)
    options = ["--auth=scram-sha-256", f"--username={USER}", f"--pwfile={secret}", "--no-sync"]
    coding = ["--encoding=UTF8", "--locale=C", f"--lc-ctype={_letters()}"]
    try:
        await run(
            [installed.program("initdb"), "-D", draft, *options, *coding],
            env=_environment(),
            user=user,
            cwd=data.parent,
        )
        draft.rename(data)
    finally:
        secret.unlink(missing_ok=True)


def _letters() -> str:
    """A locale that knows the capitals of every alphabet; its name differs between systems.

    With plain C, a search for the word «война» would not find «Война». Sorting stays by code
    point, which is quick and the same everywhere.
    """
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        for name in ("C.UTF-8", "en_US.UTF-8", "UTF-8"):
            with contextlib.suppress(locale.Error):
                locale.setlocale(locale.LC_CTYPE, name)
                return name
        return "C"
    finally:
        locale.setlocale(locale.LC_CTYPE, before)


def _check_version(installed: software.PostgreSQL, data: Path) -> None:
    made_by = (data / "PG_VERSION").read_text().strip()
    if installed.version().split(".")[0] != made_by:
        raise ServiceError(
            f"The data in {data} was made by PostgreSQL {made_by}; installed is "
            f"{installed.version()}.\nInstall PostgreSQL {made_by} again, or start from nothing: "
            f"rm -r '{data}'"
        )


def _start(installed: software.PostgreSQL, data: Path, home: Home) -> Process:
    _discard_stale_pid(data)
    settings = SETTINGS | {"port": str(home.port(NAME))} | ({} if home.durable else FORGETFUL)
    options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
    return start(
        NAME,
        [installed.program("postgres"), "-D", data, *options],
        run_dir=home.run_dir,
        log=home.log(NAME),
        env=_environment(),
        user=ownership.other_user(),
        cwd=data,
    )


def _discard_stale_pid(data: Path) -> None:
    """After a crash the pid in this file may be another program's by now, or, in a container where
    dead processes stay as zombies. PostgreSQL would refuse to start beside either. Where that
    pid *is* a living postgres, the decision is left to it.
    """
    pid_file = data / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().splitlines()[0])
    except (OSError, ValueError, IndexError):
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if process.status() != psutil.STATUS_ZOMBIE and process.name().startswith("postgres"):
            return
    pid_file.unlink()


async def _wait(process: Process, home: Home) -> None:
    url = urls(home)["DATABASE_URL"]
    await until_ready(process, lambda: handshake.postgresql(url), deadline=START_DEADLINE)


async def _create_database(installed: software.PostgreSQL, home: Home) -> None:
    where = ["--host", ports.LOOPBACK, "--port", str(home.port(NAME)), "--username", USER]
    await run(
        [installed.program("createdb"), *where, "--maintenance-db=postgres", DATABASE],
        env=_environment() | {"PGPASSWORD": home.password(NAME)},
        cwd=Path("/"),
    )


def _refusal(home: Home, refused: handshake.Refused) -> str:
    return (
        f"PostgreSQL rejected the lab's login ({refused}): its data was created with a different "
        f"password from the one in {home.memory}.\n"
        f"To begin with an empty database: make down, then rm -r '{(home.path / NAME).resolve()}'"
    )


def _environment() -> dict[str, str]:
    """Without the user's own PG… settings, and with messages that we can read."""
    return inherited() | {"LC_ALL": "C", "LANGUAGE": "C"}
