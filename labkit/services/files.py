"""Small files that are either complete or not there."""

import contextlib
import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

OTHERS = 0o077
"""What group and others may do."""


def make_folder(path: Path) -> None:
    """The folder is there, and for its owner only, like those above it that have to be made."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def tighten(folder: Path) -> None:
    """Group and others may do nothing with the folder and what is in it. Links are not followed."""
    for parent, _, files in os.walk(folder):
        for path in (Path(parent), *(Path(parent, file) for file in files)):
            with contextlib.suppress(FileNotFoundError, PermissionError):  # gone since, or not ours
                mode = path.lstat().st_mode
                if mode & OTHERS and not stat.S_ISLNK(mode):
                    path.chmod(stat.S_IMODE(mode) & ~OTHERS)


def write_atomically(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Replace `path`; a reader, or a crash, sees the old text or the new, never half of it."""
    make_folder(path.parent)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def identity(folder: Path) -> str:
    """The folder itself, whatever its name: it may be renamed, and a copy of it is another one."""
    try:
        status = folder.stat()
    except OSError:
        return ""
    return f"{status.st_dev} {status.st_ino}"


def read_json(path: Path) -> dict[str, Any]:
    """An object; empty when there is no such file or it holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_json(path: Path, content: dict[str, Any]) -> None:
    write_atomically(path, json.dumps(content, indent=2) + "\n")


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log, with control characters taken out."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 16_384))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    printable = "".join(c for c in text if c.isprintable() or c in "\n\t")
    return "\n".join(printable.splitlines()[-lines:])
