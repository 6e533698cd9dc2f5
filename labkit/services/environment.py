"""Where the lab listens: `.lab/lab.env`, or the environment."""

import codecs
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from labkit.services import handshake
from labkit.services.errors import LabNotRunning, ServiceError
from labkit.services.files import write_atomically
from labkit.services.layout import Home

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
"""Names the folder of a broker that is a private one of this machine: see `console`."""


def lab_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """AMQP_URL, DATABASE_URL and the rest of `lab.env`; from `environ` if both are set there.

    Raises `LabNotRunning` if there is no such file, or its broker does not answer: a reboot leaves
    the file behind.
    """
    if given := given_services(environ):
        return given | {"API_KEY": api_key(Home(LAB), environ)}
    values = read_env(LAB / "lab.env")
    if not all(name in values for name in ADDRESSES):
        raise LabNotRunning("The lab is not running. Start it: make up")
    values = _all_users(values)
    try:
        handshake.amqp(values["AMQP_URL"])
    except OSError as error:
        raise LabNotRunning(
            f"The lab is not running: its broker does not answer ({error}). Start it: make up"
        ) from error
    return values


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
    """The user's own settings, from `.env` in the clone."""
    return read_env(ROOT / ".env")


def read_env(path: Path) -> dict[str, str]:
    """NAME=value lines, with `export`, blanks around `=`, quotes, and comments after a blank; empty
    if there is no such file.

    Raises `ServiceError`, which names the line, for one that cannot be understood: to leave it out
    in silence would set nothing where the user has set something.
    """
    try:
        lines = path.read_bytes().removeprefix(codecs.BOM_UTF8).splitlines()
    except OSError:
        return {}
    values = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith(b"#"):
            continue
        try:
            name, value = _setting(line.decode("utf-8"))
        except ValueError:
            raise ServiceError(
                f"{path}, line {number}, is no NAME=value in UTF-8. Write it as API_KEY=value, "
                "with quotes if the value has blanks in it; or begin the line with #."
            ) from None
        values[name] = value
    return values


def _setting(line: str) -> tuple[str, str]:
    """Raises `ValueError`."""
    match = re.fullmatch(r"\s*(?:export\s+)?(\w+)\s*=\s*(.*?)\s*", line)
    if match is None:
        raise ValueError(line)
    name, text = match.groups()
    is_quoted = text.startswith(("'", '"'))
    if not is_quoted:
        text = re.split(r"(?:^|\s)#", text, maxsplit=1)[0]
    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    words = list(lexer)
    if is_quoted and words[1:] and not words[1].startswith("#"):
        raise ValueError(line)
    return name, words[0] if is_quoted else " ".join(words)


def write_env(path: Path, values: Mapping[str, str]) -> None:
    """A file that `read_env` and every POSIX shell read alike; for its owner only."""
    lines = [f"{name}={shlex.quote(value)}" for name, value in values.items()]
    write_atomically(path, "\n".join(["# Load into a shell: set -a; . .lab/lab.env", *lines, ""]))
