"""``make pairs``: all 1,128 pairs of the crash matrix, in ``LABS`` labs at a time; or so many,
chosen by a seed, ``make pairs COUNT=100 SEED=7``. Exit code 1 for any violation.

It works in labs of the running lab, ``make up``. Its table is in ``.lab/pairs/report.md``, as far
as it has come, with a folder for each violation: its ledger, and the story of its request.
"""

import asyncio
import os
import sys
import time

import pandas as pd

from bench.pairs import trial
from bench.pairs.cells import pairs, sample
from bench.pairs.trial import Outcome
from labkit.services.environment import ROOT
from labkit.services.files import write_atomically
from labkit.ui.progress import StatusLine

LABS = 2
FOLDER = ROOT / ".lab" / "pairs"
REPORT = FOLDER / "report.md"


async def main() -> int:
    count, seed = _number("COUNT", 0), _number("SEED", 1)
    chosen = sample(count, seed) if count else pairs()
    began = time.monotonic()
    outcomes: list[Outcome] = []
    left = iter(enumerate(chosen))
    line = StatusLine()

    async def lab(number: int) -> None:
        async with trial.opened(f"pairs-{number}") as lab:
            for place, pair in left:
                outcome = await trial.run(lab, pair, FOLDER / f"{place:04}")
                outcomes.append(outcome)
                write_atomically(REPORT, report(outcomes, time.monotonic() - began))
                wrong = sum(bool(each.seen) for each in outcomes)
                line.show(f"{len(outcomes)} of {len(chosen)} pairs · {wrong} violations")

    async with asyncio.TaskGroup() as group:
        for number in range(LABS):
            group.create_task(lab(number))
    line.clear()
    print(REPORT.read_text())  # noqa: T201
    return 1 if any(each.seen for each in outcomes) else 0


def report(outcomes: list[Outcome], seconds: float) -> str:
    """How many pairs of each two faults, in this order; and below, what was wrong."""
    kinds = [[cell.fault for cell in each.pair] for each in outcomes]
    table = pd.DataFrame(kinds, columns=["first", "then"])
    counts = pd.crosstab(table["first"], table["then"])
    head = ["first \\ then", *counts.columns]
    rows = [[name, *counts.loc[name]] for name in counts.index]
    lines = [f"| {' | '.join(map(str, row))} |" for row in [head, ["---"] * len(head), *rows]]
    wrong = [f"- {e.pair[0]}, then {e.pair[1]}: {e.seen}" for e in outcomes if e.seen]
    verdict = f"{len(outcomes)} pairs in {seconds:.0f} s: {len(wrong)} violations."
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
