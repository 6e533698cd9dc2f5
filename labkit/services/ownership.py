"""Where PostgreSQL's data is, and whose: it refuses to run as root, and root's folders are closed
to everybody else."""

import hashlib
import os
import pwd
import shutil
import subprocess
from pathlib import Path

from labkit.services import identity
from labkit.services.errors import ServiceError
from labkit.services.layout import Home

NAME = "postgresql"


def other_user() -> str | None:
    """As whom PostgreSQL runs when we are root, which it refuses to be."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def folder(home: Home) -> Path:
    """Where its things are. If its user cannot reach them under `home`, a link leads to them."""
    link = home.path / NAME
    user = other_user()
    if user is None:
        link.mkdir(mode=0o700, parents=True, exist_ok=True)
        return link
    if not link.is_symlink():
        link.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.chown(link, user)
        if _reaches(user, link):
            return link
        link.rmdir()
    digest = hashlib.sha256(str(home.path.resolve()).encode()).hexdigest()[:16]
    target = Path("/var/tmp") / f"lab-postgresql-{digest}"  # noqa: S108 - ours alone, see below
    _claim(target, user)
    link.unlink(missing_ok=True)  # a copied folder's link leads to the data of the original
    link.symlink_to(target)
    return target


def discard(home: Home) -> None:
    """Remove the data, wherever it is."""
    link = home.path / NAME
    shutil.rmtree(link.resolve(), ignore_errors=True)
    if link.is_symlink():
        link.unlink()


def _claim(target: Path, user: str) -> None:
    """Anybody may write to /var/tmp: refuse a folder that somebody else has put there."""
    if not os.path.lexists(target):
        target.mkdir(mode=0o700)
        shutil.chown(target, user)
    status = target.lstat()
    if target.is_symlink() or status.st_uid != pwd.getpwnam(user).pw_uid or status.st_mode & 0o077:
        raise ServiceError(f"{target} belongs to somebody else: look at it, and remove it.")


def _reaches(user: str, folder: Path) -> bool:
    command = ["test", "-w", str(folder), "-a", "-x", str(folder)]
    return subprocess.run(command, check=False, cwd="/", **identity.run_as(user)).returncode == 0
