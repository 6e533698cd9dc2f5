"""However a soak ends, its report says what it has come to, and how it ended."""

from pathlib import Path

import pytest

from bench.soak import report
from bench.soak.__main__ import run_and_report
from bench.soak.result import Result
from bench.soak.soak import Soak
from labkit import Lab
from labkit.errors import LabNotOpen
from labkit.ledger import judge
from tests.unit.runs import asked, evidence, made, row


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


def test_the_report_says_how_many_operations_each_invariant_judged() -> None:
    result = Result(seed=1, began=0.0)
    for _ in range(2):
        result.add(judge(evidence(asked(), changes=[made(row())])), [])
    assert "| I1 | answered ok ⇒ the effect is there | 2 | 0 |" in report.markdown(result)
    assert result.ok
    result.died = "BrokerAway: gone"
    assert not result.ok
