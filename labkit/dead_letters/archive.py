"""Letters as a file: one line of JSON for each, to be put back from it at any time.

A line holds what ``letter.read`` has built of known names, and nothing as its sender wrote it.
"""

import base64
import json
import os
import struct
from collections.abc import Iterator
from copy import copy
from pathlib import Path
from typing import Any, TextIO

from pamqp import commands as spec
from pamqp.header import ContentHeader

from labkit.dead_letters import letter as letters
from labkit.dead_letters.letter import Letter
from labkit.errors import BadSelection

READABLE = ("id", "version", "action", "error", "attempts", "parked_at", "replays", "edited_from")


def create(path: Path) -> TextIO:
    """A new file, for its owner only. Raises ``BadSelection`` if there is one."""
    try:
        return os.fdopen(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
        )
    except FileExistsError:
        raise BadSelection(f"There is a file {path} already: name another one.") from None
    except OSError as error:
        raise BadSelection(f"{path} cannot be written: {error.strerror}.") from error


def write(file: TextIO, letters: list[Letter], user: str) -> None:
    """Returns when the disk has them. ``user`` signs them, to be believed when they come back."""
    for letter in letters:
        file.write(json.dumps(_line(letter, user), ensure_ascii=False) + "\n")
    file.flush()
    os.fsync(file.fileno())


def keep(path: Path) -> None:
    """The file's name is on the disk, too."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _line(letter: Letter, user: str) -> dict[str, Any]:
    """First for people, then exactly: properties with the headers as AMQP spells them."""
    readable = {name: getattr(letter.summary, name) for name in READABLE}
    properties = copy(letter.properties)
    properties.user_id = user
    return (
        readable
        | {"text": letter.text()}
        | {
            "header": _base64(ContentHeader(properties=properties).marshal()),
            "body": _base64(letter.body),
        }
    )


def read(path: Path, own_user: str) -> Iterator[Letter]:
    """What of each line is believed. Raises ``BadSelection`` with the number of a line that is none
    of ours.
    """
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                properties, body = _message(line, f"{path}, line {number}")
                yield letters.of(number, properties, body, own_user)
    except OSError as error:
        raise BadSelection(f"{path} cannot be read: {error.strerror}.") from error


def _message(line: str, where: str) -> tuple[spec.Basic.Properties, bytes]:
    try:
        said = json.loads(line)
        header = ContentHeader()
        header.unmarshal(base64.b64decode(said["header"], validate=True))
        return header.properties, base64.b64decode(said["body"], validate=True)
    except (ValueError, KeyError, TypeError, struct.error) as error:
        raise BadSelection(f"{where}: this is no archived letter ({error}).") from error


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
