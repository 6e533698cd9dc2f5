"""Makes the passwords of the lab on Docker, once, and puts them where each service reads its own.

    python passwords.py FOLDER

    passwords.json     all of them; delete the volume, and there are others
    definitions.json   the broker's users, whenever it starts
    postgres           the password of the database's user, for its first start
    authorization      of the management API, for health checks
    cookie             by which the nodes of a cluster know each other
    server.env         for worker and REST
    lab.env            for JupyterLab and the demo

BROKER in the environment is how clients reach the broker, MANAGEMENT how they reach its API; {}
stands for user and password, and each may name several, with commas. API_KEY and JUPYTER_TOKEN may
be given. The folder is a volume that only our containers have.
"""

import base64
import json
import os
import secrets
import shlex
import sys
from pathlib import Path

from labkit.services.permissions import USERS, definitions

OTHERS = ("postgres", "jupyter", "api", "cookie")
"""What needs a password, a token or a key beside the users of the broker."""


def main() -> None:
    folder = Path(sys.argv[1])
    passwords = _passwords(folder / "passwords.json")
    users = {user.name: passwords[user.name] for user in USERS}
    logins = {name: f"{name}:{password}" for name, password in users.items()}
    amqp = {user.name: os.environ["BROKER"].replace("{}", logins[user.name]) for user in USERS}
    management = os.environ.get("MANAGEMENT") or "http://{}@rabbitmq:15672"
    database = f"postgresql://lab:{passwords['postgres']}@postgres:5432/library"
    shared = {"DATABASE_URL": database, "API_KEY": os.environ.get("API_KEY") or passwords["api"]}
    lab = {user.url: amqp[user.name] for user in USERS} | {
        "MANAGEMENT_URL": management.replace("{}", logins["lab"]),
        "REST_URL": "http://rest:8080",
        "JUPYTER_TOKEN": os.environ.get("JUPYTER_TOKEN") or passwords["jupyter"],
    }
    basic = base64.b64encode(logins["lab"].encode()).decode()
    _write(folder / "definitions.json", json.dumps(definitions(users)))
    _write(folder / "postgres", passwords["postgres"])
    _write(folder / "cookie", passwords["cookie"])
    _write(folder / "authorization", f"Basic {basic}")
    _write(folder / "server.env", _env({"AMQP_URL": amqp["server"]} | shared))
    _write(folder / "lab.env", _env(lab | shared))


def _passwords(path: Path) -> dict[str, str]:
    """Letters and digits, so that they need no quoting anywhere."""
    known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    names = [*(user.name for user in USERS), *OTHERS]
    passwords = {name: known.get(name) or secrets.token_hex(16) for name in names}
    _write(path, json.dumps(passwords))
    return passwords


def _env(values: dict[str, str]) -> str:
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


def _write(path: Path, text: str) -> None:
    """Each service has a user of its own, so every one may read it; whole, or not at all."""
    draft = path.with_suffix(".draft")
    draft.write_text(text)
    draft.chmod(0o444)
    draft.replace(path)


if __name__ == "__main__":
    main()
