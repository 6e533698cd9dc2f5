"""Whether this clone is a folder in which this user can have a lab."""

import os
import pwd
from pathlib import Path

from labkit.services.errors import ServiceError

OURS = (".lab", ".venv")
"""What the launcher makes in the clone."""


def check(root: Path) -> None:
    """Raises `ServiceError`, with what to do, if the clone cannot be written to, or another user
    has started a lab in it: `sudo make up` once, and without sudo later.
    """
    there = [root / name for name in OURS if os.path.lexists(root / name)]
    for path in there:
        owner = path.lstat().st_uid
        if owner != os.geteuid():
            raise ServiceError(
                f"{path} belongs to {_name(owner)}, and you are {_name(os.geteuid())}. {_advice()}"
            )
    if len(there) < len(OURS) and not os.access(root, os.W_OK):
        raise ServiceError(
            f"{root} cannot be written to, and the lab keeps its packages and data in it. Clone it "
            f"into a folder of your own:\n  git clone '{root}' ~/rabbitmq-lab"
        )


def _advice() -> str:
    if os.geteuid() == 0:
        return "Run `make` as that user, without sudo."
    return (
        "Go on as that user, or end that lab and begin one of your own, without its data:\n"
        f"  sudo make down; sudo rm -r {' '.join(OURS)}"
    )


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
