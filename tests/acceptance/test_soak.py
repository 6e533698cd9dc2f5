"""The soak itself: whatever ends it, its report is written."""

from pathlib import Path

import pytest

from bench.soak.__main__ import run_and_report
from bench.soak.soak import Soak
from labkit import Lab
from labkit.errors import LabNotOpen


async def test_a_soak_that_dies_writes_its_report_and_says_how_it_died(
    place: str, tmp_path: Path
) -> None:
    async with Lab.open(place, workers=0) as lab:
        soak = Soak(lab, 1, 60.0, tmp_path)
    with pytest.raises(LabNotOpen):
        await run_and_report(soak, tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "It ended before its time" in text
    assert "LabNotOpen" in text
