"""``python -m labkit.faults.at_step.worker``: as ``python -m server worker``, and it obeys."""

import argparse
import os

from labkit.faults.at_step.worker.role import obeying
from server import lifecycle
from server.contract.steps import Step
from server.settings import Settings
from server.telemetry import Telemetry


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m labkit.faults.at_step.worker", description=__doc__
    )
    parser.add_argument("--dies-at", choices=list(Step), type=Step, metavar="STEP")
    fatal = parser.parse_args().dies_at
    settings = Settings.from_env(os.environ)
    with Telemetry("worker", settings) as telemetry:
        lifecycle.run(obeying(telemetry, fatal=fatal), settings)


if __name__ == "__main__":
    main()
