"""A path that every program can bear, to a folder that may be called anything."""

import hashlib
import os
import re
import stat
from pathlib import Path

from labkit.services.errors import ServiceError
from labkit.services.files import make_folder

PLAIN = re.compile(r"[\w/. +@~,:=-]+", re.ASCII)
LINKS = Path("/tmp")  # noqa: S108  (below it, in a folder of the user's own)


def plain(folder: Path) -> Path:
    """`folder`, or a link to it.

    RabbitMQ 3.10 does not start in a folder with letters beyond Latin-1, or with brackets, in its
    path. Raises `ServiceError` if the links' folder belongs to another user.
    """
    if PLAIN.fullmatch(str(folder)):
        return folder
    links = LINKS / f"lab-{os.getuid()}"
    make_folder(links)
    status = links.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise ServiceError(f"{links} belongs to another user: have it removed, then try again.")
    link = links / hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    if not link.is_symlink() or link.readlink() != folder:
        new = link.with_suffix(f".{os.getpid()}")
        new.symlink_to(folder)
        new.replace(link)
    return link
