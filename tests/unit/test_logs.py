"""A log never fails what it tells of."""

from pathlib import Path

from server.logging import Unfailing


def test_what_a_full_disk_does_not_take_is_dropped() -> None:
    with Path("/dev/full").open("wb") as full:
        Unfailing(full.fileno()).write("a line\n")


def test_what_is_no_text_is_written_as_well_as_can_be(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as file:
        Unfailing(file.fileno()).write("\ud800 ж\n")
    assert path.read_text(encoding="utf-8") == "\\ud800 ж\n"
