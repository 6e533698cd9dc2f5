"""Where the lab listens: `.lab/lab.env`, or the environment."""

import os
import shlex
import socket
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from urllib.parse import urlsplit

from labkit.services.errors import LabNotRunning, ServiceError
from labkit.services.files import write_atomically
from labkit.services.home import Home

ROOT = Path(__file__).resolve().parents[2]
"""The clone."""
LAB = ROOT / ".lab"
ADDRESSES = ("AMQP_URL", "DATABASE_URL")
"""What has to be given, together, to use services that the lab does not run."""
OWN = "LAB_HOME"
"""Names the lab whose `lab.env` was loaded into a shell: its services are no stranger's."""
OTHER_USERS = ("SERVER_AMQP_URL", "ADMIN_AMQP_URL")
"""How a worker, and an operator, log in to the same broker."""
BROKER_HOME = "BROKER_HOME"
"""Names the folder of a broker that is a private one of this machine: see `broker_tools`."""


def lab_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """AMQP_URL, DATABASE_URL and the rest of `lab.env`; from `environ` if both are set there.

    Raises `LabNotRunning` if there is no such file, or nothing listens where its broker should: a
    reboot leaves the file behind.
    """
    if given := given_services(environ):
        return given | {"API_KEY": api_key(Home(LAB), environ)}
    values = read_env(LAB / "lab.env")
    if not all(name in values for name in ADDRESSES):
        raise LabNotRunning("The lab is not running. Start it: make up")
    broker = urlsplit(values["AMQP_URL"])
    try:
        socket.create_connection((broker.hostname or "", broker.port or 0), timeout=5).close()
    except OSError as error:
        raise LabNotRunning(
            f"The lab is not running: its broker does not answer ({error}). Start it: make up"
        ) from error
    return _all_users(values)


def given_services(environ: Mapping[str, str]) -> dict[str, str]:
    """The services that the user's environment names; empty if it names none.

    Where it names one user of the broker only, it is the server's and the operator's, too.
    Raises `ServiceError` if it names only one of the two that are needed.
    """
    if environ.get(OWN) == str(LAB):
        return {}
    given = {name: environ[name] for name in ADDRESSES if environ.get(name)}
    if len(given) == 1:
        (there,) = given
        (absent,) = set(ADDRESSES) - set(given)
        raise ServiceError(
            f"{there} is set in the environment, {absent} is not. Set both to use services of your "
            f"own, or neither (unset {there}) and the lab starts them."
        )
    if not given:
        return {}
    others = (*OTHER_USERS, "MANAGEMENT_URL", "REST_URL", BROKER_HOME)
    also = {name: environ[name] for name in others if environ.get(name)}
    return _all_users(given | also)


def _all_users(values: dict[str, str]) -> dict[str, str]:
    return dict.fromkeys(OTHER_USERS, values["AMQP_URL"]) | values


def api_key(home: Home, environ: Mapping[str, str] = os.environ) -> str:
    """The key of the environment, else of `.env`, else one that was made at the first start."""
    return environ.get("API_KEY") or dotenv().get("API_KEY") or home.password("API key")


def dotenv() -> dict[str, str]:
    """The user's own settings, from `.env` in the clone.

    Raises `ServiceError`, which names the line, for one that cannot be understood: to leave it out
    in silence would set nothing where the user has set something.
    """
    from dotenv.parser import parse_stream  # not installed yet when the launcher begins

    path = ROOT / ".env"
    try:
        # What is no UTF-8 may stand in a comment.
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError:
        return {}
    values: dict[str, str] = {}
    for binding in parse_stream(StringIO(text)):
        name, value = binding.key, binding.value
        if name is None and not binding.error:
            continue  # a comment
        if name is None or value is None or not name.isidentifier() or not _is_utf8(value):
            text = binding.original.string
            line = binding.original.line + text[: -len(text.lstrip())].count("\n")
            raise ServiceError(
                f"{path}, line {line}, is no NAME=value in UTF-8. Write it as API_KEY=value, with "
                "quotes if the value has blanks in it; or begin the line with #."
            )
        values[name] = value
    return values


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def read_env(path: Path) -> dict[str, str]:
    """What `write_env` wrote; empty if there is no such file."""
    try:
        text = path.read_text("utf-8")
    except OSError:
        return {}
    return dict(word.split("=", 1) for word in shlex.split(text, comments=True))


def write_env(path: Path, values: Mapping[str, str]) -> None:
    """A file that every POSIX shell reads as `read_env` does; for its owner only."""
    lines = [f"{name}={shlex.quote(value)}" for name, value in values.items()]
    write_atomically(path, "\n".join(["# Load into a shell: set -a; . .lab/lab.env", *lines, ""]))
