"""Faults in pairs: forty of the 1,128, which the seed chooses. `make pairs` runs them all."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from bench.pairs import trial
from bench.pairs.cells import CELLS, OF_A_WORKER, OF_THE_LEADER, Cell, Cells, matrix, pairs, sample
from labkit import Lab
from server.contract.steps import Step

SEED, COUNT = 1, 40


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with trial.opened(f"pairs-{os.getpid()}") as lab:
        yield lab


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("pair", sample(COUNT, SEED), ids=lambda pair: f"{pair[0]}, {pair[1]}")
async def test_a_second_fault_while_it_recovers_loses_nothing_and_doubles_nothing(
    lab: Lab, pair: Cells
) -> None:
    outcome = await trial.run(lab, pair)
    assert not outcome.seen


@pytest.mark.asyncio(loop_scope="module")
async def test_a_violation_leaves_its_ledger_and_the_story_of_its_request(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "DUNE", trial.BOOK)  # two keys for one book: it is there twice
    pair = (Cell("SIGKILL", "committed"), Cell("exception", "claimed"))
    outcome = await trial.run(lab, pair, tmp_path)
    assert "books" in outcome.seen
    assert (tmp_path / "ledger.json.gz").stat().st_size
    story = (tmp_path / "story.md").read_text()
    assert "SIGKILL at committed, then exception at claimed" in story
    assert "sequenceDiagram" in story
    assert "worker-" in story


def test_there_is_every_pair_once_and_the_sample_has_every_fault_and_step() -> None:
    assert len(CELLS) == 48
    assert len({frozenset(pair) for pair in pairs()}) == len(pairs()) == 1128
    chosen = [cell for pair in sample(COUNT, SEED) for cell in pair]
    assert {cell.fault for cell in chosen} == set(OF_A_WORKER)
    assert {cell.step for cell in chosen} == {str(step) for step in Step}
    assert sample(COUNT, SEED) == sample(COUNT, SEED)
    assert sample(COUNT, SEED) != sample(COUNT, SEED + 1)


def test_on_a_cluster_each_fault_meets_each_step() -> None:
    cells = [cell for (cell,) in matrix()]
    assert len(set(cells)) == len(cells) == 72
    assert {cell.fault for cell in cells} == {*OF_A_WORKER, *OF_THE_LEADER}
