"""A stage of the capstone: what is asked for, and the experiment that shows whether it is there."""

from collections.abc import Awaitable, Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any

from labkit.capstone.trial import Trial
from labkit.exercises.exercise import Assessment, in_stars
from labkit.story.story import Story


@dataclass(frozen=True)
class Stage:
    """A notebook shows it as text."""

    number: int
    title: str
    _: KW_ONLY
    minutes: int
    stars: int
    """How hard it is, from 1 to 3."""
    task: str
    """What the server has to do, and why. Markdown."""
    tips: tuple[str, ...]
    """Each says a little more than the one before."""
    check: Callable[[Trial], Awaitable[str]]
    """Does things to the server. Returns what it did right; raises ``Broken``."""
    private: bool = False
    """Whether the broker and the database are broken, too: they have to be its own."""

    def label(self) -> str:
        """Its name in a student's record."""
        return f"10/stage_{self.number:02}"

    def _heading(self) -> str:
        return f"Stage {self.number} · {self.title} · {in_stars(self.stars)} · {self.minutes} min"

    def __repr__(self) -> str:
        return f"{self._heading()}\n\n{self.task}"

    def _repr_markdown_(self) -> str:
        return f"**{self._heading()}**\n\n{self.task}"


@dataclass(frozen=True, repr=False)
class Result(Assessment):
    """How a stage stands; if it broke, with the story of the request that shows it."""

    story: Story | None = None
    log: str = ""
    """The server's last output."""

    def __repr__(self) -> str:
        parts = [super().__repr__()]
        if self.log:
            parts.append(f"The last output of your server:\n{self.log}")
        if self.story is not None:
            parts.append(repr(self.story))
        return "\n\n".join(parts)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        shown = {"text/plain": repr(self)}
        if self.story is not None:
            parts = [super().__repr__()]
            if self.log:
                parts.append(f"The last output of your server:\n\n```text\n{self.log}\n```")
            parts.append(f"```mermaid\n{self.story.mermaid()}\n```")
            shown["text/markdown"] = "\n\n".join(parts)
        return shown
