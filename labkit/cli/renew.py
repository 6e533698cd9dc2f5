"""a new copy of a notebook in my_work/; the old one is kept in my_work/earlier/"""

import argparse

from labkit import own_notebooks
from labkit.cli.output import say


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("notebook", help="its number, such as 04")


async def run(options: argparse.Namespace) -> None:
    copy, kept = own_notebooks.renew(options.notebook)
    say(f"{copy} is new." + (f" The old one: {kept}" if kept.exists() else ""))
