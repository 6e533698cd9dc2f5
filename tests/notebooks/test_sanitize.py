"""nbval ignores a malformed line of its sanitize file without a word. This does not."""

import configparser
import re
from pathlib import Path

import pytest

SANITIZE = Path(__file__).with_name("sanitize.cfg")


def pairs() -> list[tuple[str, str]]:
    """As nbval reads them: ``regex:`` and ``replace:`` on adjacent lines."""
    found = re.findall(r"^regex: (.*)$\n^replace: (.*)$", SANITIZE.read_text(), flags=re.MULTILINE)
    return [(regex, replacement) for regex, replacement in found]


def test_every_regex_has_its_replacement_on_the_next_line() -> None:
    assert len(pairs()) == SANITIZE.read_text().count("regex:")
    assert configparser.ConfigParser(interpolation=None).read(SANITIZE)


@pytest.mark.parametrize(
    ("shown", "compared"),
    [
        ("'created_at': '2026-11-23T06:41:10.935516Z'", "'created_at': 'TIME'"),
        ("0 2026-11-23 06:41:10.935516+00:00", "0 TIME"),
        ("amq.gen-Lp4IKFUbt06anfattSHc3g  classic", "amq.gen-NAME  classic"),
        ("id 0e7dfbb6-4a9e-4c7a-9bde-3f1e0c4f8a11 ok", "id UUID ok"),
        ("<Connection at 0x7f77dc4aa850>", "<Connection at ADDRESS>"),
        ("id 1984, year 1949, 42 ready", "id 1984, year 1949, 42 ready"),
    ],
)
def test_only_what_differs_from_run_to_run_is_replaced(shown: str, compared: str) -> None:
    for regex, replacement in pairs():
        shown = re.sub(regex, replacement, shown)
    assert shown == compared
