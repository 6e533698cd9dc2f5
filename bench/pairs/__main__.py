"""``make pairs``: all 1,128 pairs of the crash matrix, in ``LABS`` labs at a time; or so many,
chosen by a seed, ``make pairs COUNT=100 SEED=7``. ``make pairs BROKERS=3`` is the matrix on a
cluster: each of its 48 cells by itself, and 24 that befall the leader of the requests' queue. Exit
code 1 for any violation.

Its table is in ``.lab/pairs/report.md``, as far as it has come, with a folder for each violation:
its ledger, and the story of its request. A cluster is its own; else it works in labs of the running
lab, ``make up``.
"""

import asyncio
import os
import sys
import time

import pandas as pd

from bench.pairs import trial
from bench.pairs.cells import matrix, pairs, sample
from bench.pairs.trial import Outcome
from labkit.services.environment import ROOT
from labkit.services.files import write_atomically
from labkit.ui.progress import StatusLine

LABS = 2
FOLDER = ROOT / ".lab" / "pairs"
REPORT = FOLDER / "report.md"


async def main() -> int:
    count, seed, brokers = _number("COUNT", 0), _number("SEED", 1), _number("BROKERS", 1)
    if brokers not in (1, 3):
        sys.exit(f"BROKERS is {brokers}: give 1, or 3 for a cluster.")
    chosen = matrix() if brokers > 1 else sample(count, seed) if count else pairs()
    began = time.monotonic()
    outcomes: list[Outcome] = []
    left = iter(enumerate(chosen))
    line = StatusLine()

    async def lab(number: int) -> None:
        async with trial.opened(f"pairs-{number}", brokers=brokers) as lab:
            for place, cells in left:
                outcome = await trial.run(lab, cells, FOLDER / f"{place:04}")
                outcomes.append(outcome)
                write_atomically(REPORT, report(outcomes, time.monotonic() - began))
                wrong = sum(bool(each.seen) for each in outcomes)
                line.show(f"{len(outcomes)} of {len(chosen)} trials · {wrong} violations")

    async with asyncio.TaskGroup() as group:
        for number in range(LABS if brokers == 1 else 1):
            group.create_task(lab(number))
    line.clear()
    print(REPORT.read_text())  # noqa: T201
    return 1 if any(each.seen for each in outcomes) else 0


def report(outcomes: list[Outcome], seconds: float) -> str:
    """How many trials there were of each two faults, in this order, or of a fault at each step; and
    below, what was wrong.
    """
    is_single = len(outcomes[0].cells) == 1
    kinds = [
        (each.cells[0].fault, each.cells[0].step if is_single else each.cells[1].fault)
        for each in outcomes
    ]
    over = "fault \\ step" if is_single else "first \\ then"
    table = pd.DataFrame(kinds, columns=["down", "across"])
    counts = pd.crosstab(table["down"], table["across"])
    head = [over, *counts.columns]
    rows = [[name, *counts.loc[name]] for name in counts.index]
    lines = [f"| {' | '.join(map(str, row))} |" for row in [head, ["---"] * len(head), *rows]]
    wrong = [f"- {', then '.join(map(str, e.cells))}: {e.seen}" for e in outcomes if e.seen]
    verdict = f"{len(outcomes)} trials in {seconds:.0f} s: {len(wrong)} violations."
    if spared := sum(each.spared for each in outcomes):
        verdict += f" In {spared} a fault found no connection to break."
    return "\n".join([verdict, "", *lines, "", *wrong]).rstrip() + "\n"


def _number(name: str, otherwise: int) -> int:
    given = os.environ.get(name) or str(otherwise)
    if not given.isdigit():
        sys.exit(f"{name} is {given!r}: give a whole number, as in `make pairs {name}=100`.")
    return int(given)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
