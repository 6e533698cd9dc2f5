"""``lab.board()``: queues, their depths and the workers, as they are now, with buttons."""

import asyncio
import html
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.errors import LabNotOpen, LabTakenOver
from labkit.services.errors import ServiceError
from labkit.ui.sparkline import sparkline
from server.contract.errors import ApiError

if TYPE_CHECKING:
    from labkit.lab import Lab

KEPT = 120
"""Readings of each queue: about a minute."""
PAUSE = 0.2
"""Seconds between two readings, beside what the broker takes for one."""
REQUEST = b'"event":"request"'
FIELD = "padding: 0 0.8em; text-align: "


class Board:
    """It looks on as long as its lab is open, or until ``stop()``; showing it again does not start
    a second one. What a look costs does not depend on how much is in the queues.
    """

    def __init__(self, lab: "Lab") -> None:
        self._lab = lab
        self._depths: dict[str, deque[int]] = {}
        self._requests = 0
        self._read: dict[Path, int] = {}
        """Log → how much of it was counted."""
        self._said = ""
        self._looking: asyncio.Task[None] | None = None
        self._page: Any = None
        self._doing: set[asyncio.Task[None]] = set()

    def start(self) -> "Board":
        """Look on, in the running event loop. Twice is harmless."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look_on())
        return self

    async def stop(self) -> None:
        """What it shows stays."""
        tasks = [*self._doing, *([self._looking] if self._looking else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def running(self) -> bool:
        return self._looking is not None and not self._looking.done()

    async def _look_on(self) -> None:
        while True:
            try:
                await self._look()
            except (LabNotOpen, LabTakenOver):
                return  # the board ends with its lab
            except (ApiError, ServiceError, OSError) as error:
                self._said = str(error)  # a broker that is away, say
            self._show()
            await asyncio.sleep(PAUSE)

    async def _look(self) -> None:
        queues = await self._lab.queues()
        messages = queues["ready"] + queues["unacked"]
        for name in queues.index:
            self._depths.setdefault(name, deque(maxlen=KEPT))
        for name, depths in self._depths.items():
            depths.append(int(messages.get(name, 0)))
        for log in self._lab.worker_logs.values():
            self._count(log)

    def _count(self, log: Path) -> None:
        """The requests that were logged since the last look."""
        with suppress(FileNotFoundError), log.open("rb") as lines:
            lines.seek(self._read.get(log, 0))
            new = lines.read()
            self._read[log] = lines.tell()
            self._requests += new.count(REQUEST)

    def html(self) -> str:
        """What it shows now."""
        rows = "".join(
            f"<tr><td style='{FIELD}left'>{html.escape(name)}</td>"
            f"<td style='{FIELD}right'>{depths[-1]}</td>"
            f"<td>{sparkline(depths, f'messages in {name}')}</td></tr>"
            for name, depths in self._depths.items()
        )
        workers = self._lab.workers() if self.running else None
        alive = int(workers["alive"].sum()) if workers is not None and len(workers) else 0
        line = f"{alive} workers alive, {self._requests:,} requests logged"
        said = f"<p>{html.escape(self._said)}</p>" if self._said else ""
        return f"<table>{rows}</table><p>{line}</p>{said}"

    def _show(self) -> None:
        if self._page is not None:
            self._page.value = self.html()

    def _ipython_display_(self) -> None:
        import ipywidgets
        from IPython.display import display

        self._page = self._page or ipywidgets.HTML("…")
        deeds: dict[str, Callable[[], Awaitable[object]]] = {
            "Start a worker": self._lab.start_workers,
            "Kill a worker": lambda: self._lab.faults.kill("worker"),
            "Stop all workers": self._lab.stop_workers,
            "Undo all faults": self._lab.faults.undo,
            "Empty the lab": self._lab.reset,
        }
        buttons = [self._button(text, deed) for text, deed in deeds.items()]
        display(ipywidgets.VBox([self._page, ipywidgets.HBox(buttons)]))  # type: ignore[no-untyped-call]

    def _button(self, text: str, deed: Callable[[], Awaitable[object]]) -> Any:
        import ipywidgets

        button = ipywidgets.Button(description=text, layout={"width": "max-content"})

        async def do() -> None:
            self._said = f"{text} …"
            try:
                await deed()
                self._said = ""
            except (ApiError, ServiceError, OSError) as error:
                self._said = str(error)

        def pressed(_: Any) -> None:
            task = asyncio.ensure_future(do())
            self._doing.add(task)
            task.add_done_callback(self._doing.discard)

        button.on_click(pressed)
        return button

    def __repr__(self) -> str:
        return f"The board of {self._lab.vhost}"
