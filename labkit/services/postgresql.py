"""A private PostgreSQL: its own data, port and superuser, on the loopback interface."""

import contextlib
import locale
import shutil
import signal
import threading
from pathlib import Path

from labkit.services import binaries, handshake, identity, ownership, ports
from labkit.services.errors import NotReady, PortTaken, ServiceError
from labkit.services.files import write_atomically
from labkit.services.inherited import inherited
from labkit.services.layout import Home
from labkit.services.process import Process, find, start
from labkit.services.waiting import adopted, run, until_ready

NAME = ownership.NAME
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


def up(home: Home, cancel: threading.Event) -> dict[str, str]:
    """Start the database, or adopt the one that runs; returns DATABASE_URL.

    Data survives. Raises `NotReady` with the log's tail, `MissingSoftware`, or `Cancelled`.
    """
    running = find(NAME, home.run_dir)
    if running is not None and adopted(running, lambda: _wait(running, home, cancel)):
        return urls(home)
    software = binaries.need_postgresql()
    data = ownership.folder(home) / "data"
    if not (data / "PG_VERSION").exists():
        _initialise(software, data, home, cancel)
    _check_version(software, data)
    for attempt in range(TRIES):
        standard = PORT if home.durable else None
        ports.assign(home, NAME, standard, cancel, remembered=attempt == 0)
        try:
            _wait(_start(software, data, home), home, cancel)
            return urls(home)
        except PortTaken:
            continue
        except handshake.Refused as refused:
            if refused.code != handshake.NO_DATABASE:
                raise ServiceError(_refusal(home, refused)) from refused
        _create_database(software, home, cancel)
        return urls(home)
    raise NotReady("PostgreSQL found each port taken that it tried: see `ss -ltnp`.")


def down(home: Home, *, graceful: bool = True) -> None:
    """Stop it: open connections are closed, and either way nothing committed is lost.

    Not graceful spares the checkpoint; the next start then recovers from the log.
    """
    if (process := find(NAME, home.run_dir)) is not None:
        process.stop(signal.SIGINT if graceful else signal.SIGQUIT, deadline=30)


def urls(home: Home) -> dict[str, str]:
    login = f"{USER}:{home.password(NAME)}@{ports.LOOPBACK}:{home.port(NAME)}"
    return {"DATABASE_URL": f"postgresql://{login}/{DATABASE}"}


def _initialise(
    software: binaries.PostgreSQL, data: Path, home: Home, cancel: threading.Event
) -> None:
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
        run(
            [software.program("initdb"), "-D", draft, *options, *coding],
            cancel=cancel,
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


def _check_version(software: binaries.PostgreSQL, data: Path) -> None:
    made_by = (data / "PG_VERSION").read_text().strip()
    if software.version().split(".")[0] != made_by:
        raise ServiceError(
            f"The data in {data} was made by PostgreSQL {made_by}; installed is "
            f"{software.version()}.\nInstall PostgreSQL {made_by} again, or start from nothing: "
            f"rm -r '{data}'"
        )


def _start(software: binaries.PostgreSQL, data: Path, home: Home) -> Process:
    _discard_stale_pid(data)
    settings = SETTINGS | {"port": str(home.port(NAME))} | ({} if home.durable else FORGETFUL)
    options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
    return start(
        NAME,
        [software.program("postgres"), "-D", data, *options],
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
    lives = identity.started(pid) is not None
    if not (lives and identity.command(pid).rpartition("/")[2].startswith("postgres")):
        pid_file.unlink()


def _wait(process: Process, home: Home, cancel: threading.Event) -> None:
    url = urls(home)["DATABASE_URL"]
    until_ready(process, lambda: handshake.postgresql(url), deadline=START_DEADLINE, cancel=cancel)


def _create_database(software: binaries.PostgreSQL, home: Home, cancel: threading.Event) -> None:
    where = ["--host", ports.LOOPBACK, "--port", str(home.port(NAME)), "--username", USER]
    run(
        [software.program("createdb"), *where, "--maintenance-db=postgres", DATABASE],
        cancel=cancel,
        env=_environment() | {"PGPASSWORD": home.password(NAME)},
        cwd=Path("/"),
    )


def _refusal(home: Home, refused: handshake.Refused) -> str:
    return (
        f"PostgreSQL refuses us: {refused}. Its data was made with another password than that in "
        f"{home.memory}.\nTo begin with an empty database: make down, then "
        f"rm -r '{(home.path / NAME).resolve()}'"
    )


def _environment() -> dict[str, str]:
    """Without the user's own PG… settings, and with messages that we can read."""
    return inherited() | {"LC_ALL": "C", "LANGUAGE": "C"}
