"""judge the saved run of a lab again"""

import argparse
from pathlib import Path

from labkit.cli.output import as_text, say, show
from labkit.errors import Violated
from labkit.ledger import Ledger


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="what ledger.save(file) has written")
    parser.add_argument("--operations", action="store_true", help="every single one, too")


async def run(options: argparse.Namespace) -> None:
    """Raises ``Violated`` for a run in which not every invariant holds."""
    verdict = Ledger.load(options.file)
    if options.operations:
        show(verdict.operations, nothing="Nothing was asked.")
    say(as_text(verdict.summary))
    say(", ".join(f"{count} {name}" for name, count in verdict.counts.items()))
    if not verdict.ok:
        show(verdict.violations, nothing="")
        raise Violated(repr(verdict))
    say(repr(verdict))
