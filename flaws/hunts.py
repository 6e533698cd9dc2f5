"""Which server a bug hunt puts before a student: by the seed, and by nothing that can be seen."""

import random

HUNTED = (
    "none",
    "adds-a-copy",
    "changes-another",
    "none",
    "does-not-update",
    "updates-half",
    "replies-with-other-data",
    "commits-half",
    "forgets-the-effect",
    "none",
    "applies-and-refuses",
    "remembers-reads",
    "makes-up-values",
    "cannot-find",
    "omits-a-row",
    "doubles-a-row",
    "swaps-two",
    "forgets-the-filter",
)
"""Fifteen flaws, each of which a few dozen requests show, and the right server."""


def hunted(seed: int) -> str:
    """The name of the flaw, or ``none``."""
    cycle, place = divmod(seed, len(HUNTED))  # so that neighbours are never the same
    order = random.Random(f"cycle {cycle}").sample(HUNTED, len(HUNTED))  # noqa: S311  (no secret)
    return order[place]
