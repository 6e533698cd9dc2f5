"""One fault, and the record of all of a lab's: what happened when, and how it is undone."""

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

import pandas as pd

from server.contract.errors import ApiError

Undo = Callable[[], Awaitable[None]]


async def nothing_to_undo() -> None:
    """A killed worker stays dead: only the lab's supervisor, or a new one, replaces it."""


class NotReached(ApiError):
    """It did not happen in time: is anything sent, and is a worker there to take it?"""


@dataclass
class Fault:
    """Something that was done to ``target``. ``async with`` undoes it at the end of the block.

    ``at`` and ``healed`` are seconds since 1970, None for what has not happened yet.
    """

    name: str
    target: str
    undo: Undo = field(default=nothing_to_undo, repr=False)
    at: float | None = field(default_factory=time.time)
    healed: float | None = None

    async def heal(self) -> None:
        """Undo it. Twice is harmless."""
        if self.healed is None:
            await self.undo()
            self.healed = time.time()

    def happened(self) -> bool:
        return self.at is not None

    @property
    def request_id(self) -> str | None:
        """Of the request that it happened to; None if it was not one, or is not known."""
        return None

    async def reached(self, within: float = 10.0) -> str | None:
        """Returns when it has happened: the id of the request that it happened to, if it was one.

        Raises ``NotReached`` if that takes longer than ``within`` seconds.
        """
        return None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.heal()


class Journal:
    """All faults of a lab, in the order in which they were asked for."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def note(self, fault: Fault) -> Fault:
        self.faults.append(fault)
        return fault

    @contextmanager
    def noting(self, fault: Fault) -> Iterator[None]:
        """``fault`` happens in the block. One that is interrupted there may have happened, too: a
        ledger without it could not explain what it did.
        """
        try:
            yield
        except Exception:
            raise
        except BaseException:
            self.note(fault)
            raise
        self.note(fault)

    def at_once(self, name: str, target: str) -> Fault:
        """It is over in the moment in which it happens, as a kill is."""
        now = time.time()
        return self.note(Fault(name, target, at=now, healed=now))

    async def undo(self) -> None:
        """Heal all that is not, the last one first. One that cannot be does not keep the others."""
        errors: list[Exception] = []
        for fault in reversed(self.faults):
            try:
                await fault.heal()
            except Exception as error:
                errors.append(error)
        if errors:
            raise ExceptionGroup("Some faults cannot be undone: open the lab again.", errors)

    def happened(self) -> list[Fault]:
        """Each that has begun."""
        return [fault for fault in self.faults if fault.happened()]

    def timeline(self) -> pd.DataFrame:
        """One row for each fault that happened: ``at`` and ``healed`` in UTC."""
        rows = [
            (fault.name, fault.target, _utc(fault.at), _utc(fault.healed))
            for fault in self.happened()
        ]
        return pd.DataFrame(rows, columns=["fault", "target", "at", "healed"])


def _utc(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
