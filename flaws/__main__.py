"""``python -m flaws --flaw NAME``: a worker like ``python -m server worker``, with that flaw.

Like a right worker of a lab it obeys the plan of faults that FAULT_PLAN names.
"""

import argparse
import os

from flaws.now_and_then import Turns
from flaws.servers import SERVERS
from labkit.faults.at_step.worker.role import obeying
from server import lifecycle, logging
from server.contract.steps import Step
from server.settings import Settings


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m flaws", description=__doc__)
    parser.add_argument("--flaw", choices=SERVERS, default="none")
    parser.add_argument("--every", type=int, default=Turns.every, help="of so many, one is wrong")
    parser.add_argument("--dies-at", choices=list(Step), type=Step)
    options = parser.parse_args()
    Turns.every = options.every
    server = SERVERS[options.flaw]
    role = obeying(server.dispatcher, server.worker, fatal=options.dies_at)
    logging.configure()
    lifecycle.run(role, Settings.from_env(os.environ))


if __name__ == "__main__":
    main()
