"""Which letters an operator took out of the dead letter queue, for who looks for them later.

A file for each virtual host, since a command in a terminal may do it to the lab of a notebook.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from server.contract.brokers import first

FOLDER = Path(__file__).resolve().parents[2] / ".lab" / "letters"


def note(
    amqp_url: str,
    how: str,
    ids: Iterable[str | None],
    request: Mapping[str, Any] | None = None,
) -> None:
    """The letters with these ids have left the queue of this virtual host. ``request`` is what was
    sent in a letter's place.
    """
    names = [name for name in dict.fromkeys(ids) if name]
    _write(amqp_url, [{"id": name, "how": how, "request": request} for name in names])


def note_unseen(amqp_url: str, how: str, count: int) -> None:
    """So many letters have left the queue, and were not looked at."""
    _write(amqp_url, [{"id": None, "how": how, "count": count}])


def _write(amqp_url: str, entries: list[dict[str, Any]]) -> None:
    """Where nothing can be written, nothing is: it is not to keep an operator from the work."""
    lines = [json.dumps(entry | {"at": time.time()}) for entry in entries]
    with suppress(OSError):
        FOLDER.mkdir(parents=True, exist_ok=True)
        with _file(amqp_url).open("a", encoding="utf-8") as file:
            file.write("".join(f"\n{line}" for line in lines))


def read(amqp_url: str, since: float) -> Iterator[dict[str, Any]]:
    """``id``, ``how``, ``at`` and ``request`` or ``count`` of each since this moment, seconds since
    1970. A line that a full disk has cut off tells nothing.
    """
    with suppress(OSError):
        for line in _file(amqp_url).read_text(encoding="utf-8").splitlines():
            with suppress(json.JSONDecodeError):
                entry = json.loads(line)
                if entry["at"] >= since:
                    yield entry


def _file(amqp_url: str) -> Path:
    return (
        FOLDER / f"{urlsplit(first(amqp_url)).path.strip('/').replace('/', '_') or 'default'}.jsonl"
    )
