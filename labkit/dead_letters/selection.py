"""Which letters are meant: those that fit everything that is said."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from labkit.dead_letters.letter import UNREADABLE, Summary
from labkit.errors import BadSelection
from labkit.ui.printable import printable

Names = str | Iterable[str] | None
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Selection:
    """None means: whichever."""

    error: frozenset[str] | None = None
    action: frozenset[str] | None = None
    version: frozenset[str] | None = None
    ids: frozenset[str] | None = None
    since: str | None = None
    """When it was parked at the earliest, UTC, as the server writes it: text of one form sorts."""
    replays: int | None = None
    number: frozenset[int] | None = None
    unreadable: bool | None = None

    @classmethod
    def of(
        cls,
        *,
        error: Names = None,
        action: Names = None,
        version: Names = None,
        ids: Names = None,
        since: str | datetime | timedelta | None = None,
        replays: int | None = None,
        number: int | Iterable[int] | None = None,
        unreadable: bool | None = None,
    ) -> Self:
        """A name, or several, for each; ``since`` a time, or how long ago: ``"10m"``; ``number`` a
        place in the list, or several; ``unreadable`` True for those that cannot be decoded alone.

        Raises ``BadSelection``.
        """
        given = {"error": error, "action": action, "version": version, "ids": ids}
        names = {field: _names(field, value) for field, value in given.items()}
        if replays is not None and not isinstance(replays, int):
            raise BadSelection(f"replays is {replays!r}: give a number, 0 for never replayed.")
        return cls(
            **names,
            since=_since(since),
            replays=replays,
            number=_numbers(number),
            unreadable=unreadable,
        )

    def fits(self, letter: Summary) -> bool:
        return (
            (self.error is None or letter.error in self.error)
            and (self.action is None or letter.action in self.action)
            and (self.version is None or letter.version in self.version)
            and (self.ids is None or letter.id in self.ids)
            and (self.since is None or (letter.parked_at or "") >= self.since)
            and (self.replays is None or letter.replays == self.replays)
            and (self.number is None or letter.number in self.number)
            and (self.unreadable is None or (letter.error == UNREADABLE) == self.unreadable)
        )


def _names(field: str, given: Names) -> frozenset[str] | None:
    if given is None:
        return None
    names = frozenset([given] if isinstance(given, str) else given)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise BadSelection(f"{field} is {given!r}: give a name, a list of names, or leave it out.")
    return frozenset(map(printable, names))


def _numbers(given: int | Iterable[int] | None) -> frozenset[int] | None:
    if given is None:
        return None
    numbers = frozenset([given] if isinstance(given, int) else given)
    if not numbers or not all(type(number) is int and number > 0 for number in numbers):
        raise BadSelection(f"number is {given!r}: give places in the list, from 1.")
    return numbers


def _since(given: str | datetime | timedelta | None) -> str | None:
    if given is None:
        return None
    if isinstance(given, timedelta):
        given = datetime.now(UTC) - given
    when = given if isinstance(given, datetime) else _when(str(given))
    when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    return when.isoformat(timespec="milliseconds")


def _when(text: str) -> datetime:
    number, unit = text[:-1], text[-1:]
    if number.isdecimal() and unit in UNITS:
        return datetime.now(UTC) - timedelta(seconds=int(number) * UNITS[unit])
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise BadSelection(
            f"since is {text!r}: give a time, 2031-05-06T07:08, or how long ago: 90s, 10m, 2h, 7d."
        ) from None
