"""The board itself: it looks on, and has buttons."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from labkit.board.page import page
from labkit.board.readings import Readings
from labkit.broker.management import Broker
from labkit.errors import LabNotOpen, LabTakenOver, NoStatistics
from labkit.services.errors import ServiceError
from labkit.ui.interactive import Interactive
from server.contract.errors import ApiError

if TYPE_CHECKING:
    from labkit.lab import Lab

PAUSE = 0.2
"""Seconds between two readings, beside what the broker takes for one."""


class Board(Interactive):
    """It looks on as long as its lab is open, or until ``stop()``; showing it again does not start
    a second one. What a look costs does not depend on how much is in the queues.
    """

    def __init__(self, lab: "Lab", broker: Broker) -> None:
        self._lab, self.broker = lab, broker
        self._readings: Readings | None = None
        self._counts = True
        """Whether the broker keeps statistics."""
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
        if self._readings is None:
            self._readings = await self._begun()
        queues = await self._lab.queues_last_reported()
        self._readings.see_queues(queues["ready"] + queues["unacked"])
        if self._counts:
            self._readings.see_counters(await self.broker.counters(self._lab.vhost))
        self._readings.see_logs(self._lab.worker_logs.values())

    async def _begun(self) -> Readings:
        try:
            return Readings(await self.broker.counts_every())
        except NoStatistics:  # then it shows no rates
            self._counts = False
            return Readings()

    def html(self) -> str:
        """What it shows now."""
        workers = self._lab.workers() if self.running else None
        alive = int(workers["alive"].sum()) if workers is not None and len(workers) else 0
        return page(self._readings or Readings(), alive, self._said)

    def _show(self) -> None:
        if self._page is not None:
            self._page.value = self.html()

    def _widget(self) -> Any:
        import ipywidgets

        self._page = self._page or ipywidgets.HTML("…")
        deeds: dict[str, Callable[[], Awaitable[object]]] = {
            "Start a worker": self._lab.start_workers,
            "Kill a worker": lambda: self._lab.faults.kill("worker"),
            "Stop all workers": self._lab.stop_workers,
            "Undo all faults": self._lab.faults.undo,
            "Empty the lab": self._lab.reset,
        }
        buttons = [self._button(text, deed) for text, deed in deeds.items()]
        row = ipywidgets.HBox(buttons, layout={"flex_flow": "row wrap"})
        return ipywidgets.VBox([self._page, row])

    def _button(self, text: str, deed: Callable[[], Awaitable[object]]) -> Any:
        import ipywidgets

        button = ipywidgets.Button(description=text, layout={"width": "max-content"})

        async def do() -> None:
            self._said = f"{text} …"
            try:
                await deed()
                self._said = ""
            except Exception as error:  # a button has no other place to say it
                self._said = str(error)

        def pressed(_: Any) -> None:
            task = asyncio.ensure_future(do())
            self._doing.add(task)
            task.add_done_callback(self._doing.discard)

        button.on_click(pressed)
        return button

    def __repr__(self) -> str:
        return f"The board of {self._lab.vhost}: it moves in JupyterLab"
