"""what of the course is done, notebook by notebook"""

import argparse

from labkit.cli.output import say
from labkit.course.progress import progress


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--csv", action="store_true", help="as CSV, for a teacher's table")


async def run(options: argparse.Namespace) -> None:
    table = progress()
    say(table.to_csv(index_label="number").rstrip() if options.csv else table.to_string())
