"""``python -m labkit COMMAND``: one module for each command, in ``labkit/__main__.py`` one line.

The first line of a module's docstring is its help. It has two functions: ``arguments``, which says
what may be written behind the command, and ``run``, which does it.
"""

import argparse
from collections.abc import Awaitable, Callable
from typing import Protocol

from labkit.place import Place

Run = Callable[[Place, argparse.Namespace], Awaitable[None]]


class Command(Protocol):
    """A module of this package."""

    __doc__: str | None

    def arguments(self, parser: argparse.ArgumentParser) -> None: ...

    async def run(self, place: Place, options: argparse.Namespace) -> None:
        """Prints what was asked for. Raises an ``ApiError`` that says the next step."""


class FreeCommand(Protocol):
    """The same, for one that looks at files and needs no running lab."""

    __doc__: str | None

    def arguments(self, parser: argparse.ArgumentParser) -> None: ...

    async def run(self, options: argparse.Namespace) -> None: ...
