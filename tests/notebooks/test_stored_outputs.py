"""Only a cell that was run is compared, so every cell of a committed notebook was run."""

import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_cells_were_run_once_from_top_to_bottom(path: Path) -> None:
    cells = json.loads(path.read_text())["cells"]
    counts = [cell["execution_count"] for cell in cells if cell["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_stored_output_holds_a_password_or_a_path_of_somebodys_machine(path: Path) -> None:
    text = path.read_text()
    assert "amqp://" not in text
    assert "postgresql://" not in text
    assert "/home/" not in text
    assert "/root/" not in text
