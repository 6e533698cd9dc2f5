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
    ids: Iterable[str | None] | None,
    request: Mapping[str, Any] | None = None,
) -> None:
    """The letters with these ids have left the queue of this virtual host; None: all that it had.

    ``request`` is what was sent in a letter's place. Where nothing can be written, nothing is: it
    is not to keep an operator from the work.
    """
    names = [None] if ids is None else [name for name in dict.fromkeys(ids) if name]
    lines = [{"id": n, "how": how, "at": time.time(), "request": request} for n in names]
    with suppress(OSError):
        FOLDER.mkdir(parents=True, exist_ok=True)
        with _file(amqp_url).open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines))


def read(amqp_url: str, since: float) -> Iterator[dict[str, Any]]:
    """``id``, ``how``, ``at`` and ``request`` of each since this moment, seconds since 1970."""
    with suppress(OSError):
        for line in _file(amqp_url).read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            if entry["at"] >= since:
                yield entry


def _file(amqp_url: str) -> Path:
    return (
        FOLDER / f"{urlsplit(first(amqp_url)).path.strip('/').replace('/', '_') or 'default'}.jsonl"
    )
