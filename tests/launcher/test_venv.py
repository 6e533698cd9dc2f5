"""The virtual environment is made by one `make` at a time, and not under a lab that runs."""

import asyncio
import shutil
from pathlib import Path

import pytest

from labkit.launcher import venv
from labkit.services import process
from labkit.services.errors import ServiceError


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With a virtual environment that was made for something else."""
    monkeypatch.setattr(venv, "ROOT", tmp_path)
    monkeypatch.setattr(venv, "FOLDER", tmp_path / ".venv")
    monkeypatch.setattr(venv, "BEGUN", tmp_path / ".venv" / "begun")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "begun").write_text("another Python\n")
    return tmp_path


async def test_it_is_not_removed_while_a_lab_runs_in_it(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = clone / ".lab" / "run"
    service = process.start("jupyter", ["sleep", "60"], run_dir=run_dir, log=clone / "log")
    try:
        with pytest.raises(ServiceError, match=r"jupyter runs in it.*make down"):
            await venv.begin()
        assert venv.BEGUN.exists()
        shutil.copytree(run_dir, clone / "copy" / ".lab" / "run")  # its records are of another lab
        monkeypatch.setattr(venv, "ROOT", clone / "copy")
        venv._require_unused()
    finally:
        await service.stop()
    monkeypatch.setattr(venv, "ROOT", clone)
    venv._require_unused()


async def test_it_is_made_by_one_at_a_time(clone: Path) -> None:
    order: list[str] = []

    async def make(name: str) -> None:
        async with venv._alone():
            order.append(f"{name} begins")
            await asyncio.sleep(0.3)
            order.append(f"{name} ends")

    await asyncio.gather(make("a"), make("b"))
    assert [each.split()[1] for each in order] == ["begins", "ends"] * 2
