"""`make bench`: how fast it is, compared with others that do the same. About a quarter of an hour.

It has a RabbitMQ and a PostgreSQL of its own; other programs that run make it worse. The figures go
to bench/results.json, and into docs/performance.md with a picture.
"""

import asyncio
import os
import tempfile
from pathlib import Path

from bench import amounts, contest, pages, report, starts
from labkit.services import ownership, ports, separate
from labkit.services.environment import ROOT
from labkit.services.private import private_services

PEERS = ROOT / ".lab" / "bench" / "peers"
UNLIMITED = "1000000"


async def main() -> None:
    print(__doc__)  # noqa: T201
    print("  installing the others …", flush=True)  # noqa: T201
    python = separate.environment(PEERS, ROOT / "bench" / "peers" / "requirements.txt")
    with tempfile.TemporaryDirectory() as folder:
        try:
            async with private_services(Path(folder) / "home") as services:
                results = await _contest(python, services, Path(folder))
                os.environ.update(services)  # labs are opened on them
                figures = await amounts.main() | await starts.main(Path(folder), services)
        finally:
            ownership.discard_all(Path(folder))
    figures |= await pages.main()
    report.write(results, figures)
    print(report.tables(results, figures))  # noqa: T201


async def _contest(python: Path, services: dict[str, str], folder: Path) -> report.Results:
    rows = contest.rows(python)
    environment = {**os.environ, **services, "RATE_LIMIT": UNLIMITED}
    environment["REST_PORT"] = str(ports.any_free())
    environment["REST_URL"] = f"http://127.0.0.1:{environment['REST_PORT']}"
    async with contest.servers(rows, environment, folder):
        return await contest.measure(rows, environment)


if __name__ == "__main__":
    asyncio.run(main())
