"""Where PostgreSQL's data is, and whose: it refuses to run as root, and root's folders are closed
to everybody else."""

import hashlib
import os
import pwd
import shutil
from pathlib import Path

from labkit.services.errors import ServiceError
from labkit.services.files import make_folder, write_atomically
from labkit.services.home import Home
from labkit.services.stopping import POSTGRESQL

ELSEWHERE = Path("/var/tmp")  # noqa: S108 - each folder there is ours alone: see `_claim`
NAME = "lab-postgresql-"
HOME = "home"
"""A file beside the data: which home it belongs to."""


def other_user() -> str | None:
    """As whom PostgreSQL runs when we are root, which it refuses to be."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def folder(home: Home) -> Path:
    """Where its things are. Another user may not pass through `home`: a link leads to them then."""
    link = home.path / POSTGRESQL
    user = other_user()
    if user is None:
        make_folder(link)
        return link
    digest = hashlib.sha256(str(home.path.resolve()).encode()).hexdigest()[:16]
    target = ELSEWHERE / f"{NAME}{digest}"
    if not os.path.lexists(link) and target.is_dir():  # removed, to begin with an empty database
        _claim(target, user)
        shutil.rmtree(target)
    _claim(target, user)
    if link.is_dir() and not link.is_symlink():  # an older lab's, which let its user pass
        _move(link, target, user)
    link.unlink(missing_ok=True)  # a copied folder's link leads to the data of the original
    link.symlink_to(target)
    write_atomically(target / HOME, str(home.path.resolve()))
    return target


def discard(home: Home) -> None:
    """Remove the data, wherever it is."""
    link = home.path / POSTGRESQL
    shutil.rmtree(link.resolve(), ignore_errors=True)
    if link.is_symlink():
        link.unlink()


def discard_all(under: Path) -> None:
    """Remove the data of all homes in this folder, which is thrown away itself."""
    for name in ELSEWHERE.glob(f"{NAME}*/{HOME}"):
        if under.resolve() in Path(name.read_text("utf-8")).parents:
            shutil.rmtree(name.parent)


def _claim(target: Path, user: str) -> None:
    """Anybody may write to /var/tmp: refuse a folder that another user has put there."""
    if not os.path.lexists(target):
        target.mkdir(mode=0o700)
        shutil.chown(target, user)
    status = target.lstat()
    if target.is_symlink() or status.st_uid != pwd.getpwnam(user).pw_uid or status.st_mode & 0o077:
        raise ServiceError(f"{target} belongs to another user: look at it, and remove it.")


def _move(source: Path, target: Path, user: str) -> None:
    for entry in source.iterdir():
        shutil.move(entry, target / entry.name)
    for parent, folders, files in os.walk(target):
        for name in (*folders, *files):
            shutil.chown(Path(parent, name), user)
    source.rmdir()
