"""A worker that says which step it has reached, before anything else happens there."""

from pathlib import Path

from labkit.faults.at_step import reports
from server.application.hooks import Observer
from server.contract.steps import Step


def reporting(folder: Path, observer: Observer) -> Observer:
    """``observer``, after a line in the lab's file, if the lab records."""

    async def observe(step: Step, request_id: str | None) -> None:
        reports.note(folder, step, request_id)
        await observer(step, request_id)

    return observe
