"""``make soak``: 10 minutes, or ``make soak DURATION=3600 SEED=7``; on a cluster, with the faults
of one, ``make soak BROKERS=3``. Exit code 1 for any violation.

It has a RabbitMQ and a PostgreSQL of its own; the lab that runs is neither needed nor disturbed.
What it saw is in ``.lab/soak/<seed>/``: report.md, throughput.png, and the ledger of the newest
round and of each that was violated (``python -m labkit ledger FILE`` judges it again).
"""

import asyncio
import os
import random
import sys
from pathlib import Path

from bench.soak import report
from bench.soak.soak import RETRY_DELAYS, WORKERS, Soak
from labkit.lab import Lab
from labkit.services.environment import ROOT

DURATION = 600.0


async def main() -> int:
    seed = int(os.environ.get("SEED") or random.randrange(10_000))  # noqa: S311  (no secret)
    duration = _seconds(os.environ.get("DURATION"))
    brokers = _brokers(os.environ.get("BROKERS"))
    folder = ROOT / ".lab" / "soak" / str(seed)
    on = "one broker" if brokers == 1 else f"{brokers} brokers"
    print(f"Soak of {duration:.0f} s on {on} with the seed {seed}: {folder}")  # noqa: T201
    async with Lab.open(
        f"soak-{seed}",
        workers=WORKERS,
        private=True,
        brokers=brokers,
        supervised=True,
        seed=seed,
        retry_delays=RETRY_DELAYS,
    ) as lab:
        return await run_and_report(Soak(lab, seed, duration, folder, brokers=brokers), folder)


def _seconds(given: str | None) -> float:
    """Of DURATION; exits with a sentence for what is no number."""
    try:
        return float(given or DURATION)
    except ValueError:
        sys.exit(f"DURATION is {given!r}: give seconds, as in `make soak DURATION=600`.")


def _brokers(given: str | None) -> int:
    """Of BROKERS; exits with a sentence for what is no number of nodes."""
    if (given or "1") not in ("1", "3"):
        sys.exit(f"BROKERS is {given!r}: give 1, or 3 for a cluster.")
    return int(given or "1")


async def run_and_report(soak: Soak, folder: Path) -> int:
    """The exit code. However the soak ends, there is a report, which says so."""
    try:
        await soak.run()
    except BaseException as error:
        soak.result.died = f"{type(error).__name__}: {error}"
        raise
    finally:
        print(report.write(soak.result, folder))  # noqa: T201
    return 0 if soak.result.ok else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
