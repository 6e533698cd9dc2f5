"""What a command prints: a table, as wide as it is."""

import sys

import pandas as pd

from labkit.ui.printable import printable_lines


def say(text: str) -> None:
    """Nothing of it does anything to a terminal, whatever its sender has written."""
    sys.stdout.write(printable_lines(text) + "\n")


def show(table: pd.DataFrame, *, nothing: str) -> None:
    """The table as text; ``nothing`` is the sentence for one without rows."""
    say(as_text(table) if len(table) else nothing)


def as_text(table: pd.DataFrame) -> str:
    index = table.index.name is not None
    return table.to_string(index=index, na_rep="", max_colwidth=80)
