"""A story with buttons: the diagram grows by one event at each step."""

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.story.story import Story

PAUSE = 0.8
"""Seconds between two events while it plays."""


def player(story: "Story") -> Any:
    """A widget for JupyterLab."""
    import ipywidgets
    from IPython.display import display

    last = len(story.events)
    place = ipywidgets.IntSlider(value=1, min=1, max=last, description="event")
    back, step, play = (ipywidgets.Button(description=text) for text in ("Back", "Step", "Play"))
    picture = ipywidgets.Output()

    def show(_: Any = None) -> None:
        with picture:
            picture.clear_output(wait=True)
            drawn = {"text/vnd.mermaid": story.mermaid(place.value), "text/plain": ""}
            display(drawn, raw=True)  # type: ignore[no-untyped-call]

    def move(by: int) -> None:
        place.value = min(max(place.value + by, 1), last)

    async def run() -> None:
        while place.value < last:
            move(1)
            await asyncio.sleep(PAUSE)

    tasks: set[asyncio.Task[None]] = set()

    def start(_: Any) -> None:
        for task in tasks:
            task.cancel()
        tasks.clear()
        if place.value == last:
            place.value = 1
        tasks.add(asyncio.ensure_future(run()))

    back.on_click(lambda _: move(-1))
    step.on_click(lambda _: move(1))
    play.on_click(start)
    place.observe(show, names="value")
    show()
    return ipywidgets.VBox([ipywidgets.HBox([back, step, play, place]), picture])
