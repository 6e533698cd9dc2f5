"""Who has the lab of a name open. Two kernels in one lab would empty each other's tables."""

import os
import time
import uuid
from pathlib import Path
from typing import Any

from filelock import FileLock

from labkit.errors import LabInUse, LabTakenOver
from labkit.services import process
from labkit.services.files import read_json, write_json

NOTEBOOK = "JPY_SESSION_NAME"
"""Where JupyterLab tells a kernel the path of its notebook."""


class Occupancy:
    """Of one open lab. It is written down beside the workers' records; a dead kernel has none."""

    def __init__(self, vhost: str, run_dir: Path) -> None:
        self._record = run_dir / f"{vhost}.open"
        self._vhost = vhost
        self._token = uuid.uuid4().hex

    def begin(self, *, takeover: bool) -> None:
        """A kernel may open its own lab again. Raises ``LabInUse`` if another one has it, unless it
        is to be taken over.
        """
        with FileLock(self._record.with_suffix(".lock"), mode=0o600):
            holder = read_json(self._record)
            if not takeover and holder.get("pid") != os.getpid() and _alive(holder):
                raise LabInUse(self._sentence(holder))
            me = {"token": self._token, "pid": os.getpid(), "started": process.started(os.getpid())}
            shown = {"notebook": os.environ.get(NOTEBOOK), "since": time.strftime("%H:%M")}
            write_json(self._record, me | shown)

    @property
    def ours(self) -> bool:
        return read_json(self._record).get("token") == self._token

    def require(self) -> None:
        """Raises ``LabTakenOver``."""
        if not self.ours:
            raise LabTakenOver

    def end(self) -> None:
        if self.ours:
            self._record.unlink(missing_ok=True)

    def _sentence(self, holder: dict[str, Any]) -> str:
        name = self._vhost.removeprefix("lab-")
        where = Path(holder["notebook"]).name if holder.get("notebook") else "another program"
        return (
            f"Lab {name} is open in {where} (process {holder['pid']}, since {holder['since']}); to "
            "open it here would empty its tables and end its workers. Close it there "
            f"(`await lab.close()`), or take it over: `Lab.open({name!r}, takeover=True)`."
        )


def _alive(holder: dict[str, Any]) -> bool:
    return bool(holder) and process.started(holder["pid"]) == holder["started"]
