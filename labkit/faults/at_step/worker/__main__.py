"""``python -m labkit.faults.at_step.worker``: as ``python -m server worker``, and it obeys."""

import argparse
import os

from labkit.faults.at_step.worker.role import obeying
from server import lifecycle, logging
from server.contract.steps import Step
from server.settings import Settings


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m labkit.faults.at_step.worker", description=__doc__
    )
    parser.add_argument("--dies-at", choices=list(Step), type=Step, metavar="STEP")
    fatal = parser.parse_args().dies_at
    logging.configure()
    lifecycle.run(obeying(fatal=fatal), Settings.from_env(os.environ))


if __name__ == "__main__":
    main()
