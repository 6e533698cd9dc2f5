"""REST keeps to its OpenAPI document: schemathesis asks for what it allows, and for what not."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from server.settings import Settings
from tests.support import ROOT, worker_process

CHECKS = "tests.acceptance.schemathesis_checks"
PHASES = "examples,coverage,fuzzing"
EXAMPLES = 5
"""Of each kind, for each of the twenty operations, beside those of the schema's own limits."""


async def test_schemathesis_finds_nothing(settings: Settings, tmp_path: Path) -> None:
    anywhere = settings.model_copy(update={"rest_port": 0, "rate_limit": 1_000_000})
    async with worker_process(anywhere, "rest") as server:
        url = server.events("ready")[0]["url"]
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"]
        options = {
            "--header": f"X-API-Key: {settings.api_key}",
            "--phases": PHASES,
            "--max-examples": str(EXAMPLES),
            "--exclude-checks": "positive_data_acceptance",
        }
        found = await asyncio.to_thread(
            subprocess.run,
            [*command, *(part for option in options.items() for part in option)],
            env={**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": CHECKS},
            cwd=tmp_path,  # it keeps notes
            capture_output=True,
            text=True,
        )
    assert found.returncode == 0, found.stdout
    assert "Tested: 20" in found.stdout
