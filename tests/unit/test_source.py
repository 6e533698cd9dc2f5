"""The code that a lesson shows."""

from labkit.faults.at_step.worker import obeys
from labkit.ui.source import source


def test_it_is_shown_without_what_is_said_to_the_linter() -> None:
    shown = repr(source(obeys))
    assert "while not armed.released():\n" in shown
    assert "noqa" not in shown
