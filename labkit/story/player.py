"""A story with buttons: the diagram grows by one event at each step."""

import asyncio
from typing import TYPE_CHECKING, Any

from labkit.ui.interactive import Interactive

if TYPE_CHECKING:
    from labkit.story.story import Story

PAUSE = 0.8
"""Seconds between two events while it plays."""


class Player(Interactive):
    """``place`` is how many events are shown, from 1."""

    def __init__(self, story: "Story") -> None:
        self._story = story
        self._playing: asyncio.Task[None] | None = None
        self._place: Any = None
        self._picture: Any = None

    def _widget(self) -> Any:
        import ipywidgets

        last = len(self._story.events)
        self._place = ipywidgets.IntSlider(value=1, min=1, max=last, description="event")
        self._picture = ipywidgets.Output()
        deeds = {"Back": self.back, "Step": self.step, "Play": self.play}
        buttons = []
        for text, deed in deeds.items():
            button = ipywidgets.Button(description=text)
            button.on_click(lambda _, deed=deed: deed())
            buttons.append(button)
        self._place.observe(lambda _: self._draw(), names="value")
        self._draw()
        return ipywidgets.VBox([ipywidgets.HBox([*buttons, self._place]), self._picture])

    def back(self) -> None:
        self._move(-1)

    def step(self) -> None:
        self._move(1)

    def play(self) -> None:
        """From here to the end; from the beginning, if it is there."""
        if self._playing is not None:
            self._playing.cancel()
        if self._place.value == self._place.max:
            self._place.value = 1
        self._playing = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        while self._place.value < self._place.max:
            self._move(1)
            await asyncio.sleep(PAUSE)

    def _move(self, by: int) -> None:
        self._place.value = min(max(self._place.value + by, 1), self._place.max)

    def _draw(self) -> None:
        data = {"text/vnd.mermaid": self._story.mermaid(self._place.value), "text/plain": ""}
        # Not `with self._picture`: that loses what a task displays, as while it plays.
        self._picture.outputs = ({"output_type": "display_data", "data": data, "metadata": {}},)

    def __repr__(self) -> str:
        events = len(self._story.events)
        return f"{self._story.request_id}: {events} events, one at a time in JupyterLab"
