"""The capstone: a server that keeps the promise, built from an empty file in fifteen stages."""

from labkit.capstone.course import (
    STAGES,
    changes,
    check,
    check_all,
    hint,
    my_server,
    solution,
    stage,
)
from labkit.capstone.stage import Result, Stage
from labkit.capstone.trial import Broken, Trial

__all__ = [
    "STAGES",
    "Broken",
    "Result",
    "Stage",
    "Trial",
    "changes",
    "check",
    "check_all",
    "hint",
    "my_server",
    "solution",
    "stage",
]
