"""The commands themselves, in the virtual environment: `make`'s targets, and `run`."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Coroutine

from labkit.launcher import lab, testing, venv, watch
from labkit.launcher.doctor import doctor
from labkit.launcher.steps import Steps
from labkit.services import environment
from labkit.services.errors import ServiceError

COMMANDS = {
    "lab": "start everything, JupyterLab included; Ctrl-C ends it",
    "up": "start everything but JupyterLab, in the background",
    "down": "stop everything; your data stays",
    "doctor": "say what works, and how to fix what does not",
    "test": "lint, types, tests and notebooks, on services of their own",
    "unit": "the tests that need no service, in seconds",
    "docs": "run the examples of the API and write its documents, on services of their own",
    "site": "the lessons with their outputs, the manual and a search, as web pages",
    "demo": "the four examples of the API, against the running lab",
    "bench": "measure it beside others that do the same, on services of their own",
    "soak": "10 minutes of load and faults, on services of their own, and a verdict",
    "pairs": "a second fault while the system recovers from the first: all pairs, and a verdict",
    "mutants": "change the server in one place at a time: does a test notice?",
    "run": "run a program in the lab's environment: run -- CMD ...",
}
PROGRAMS = {
    "docs": "reference",
    "site": "reference.site",
    "demo": "labkit.demo",
    "bench": "bench",
    "soak": "bench.soak",
    "pairs": "bench.pairs",
    "mutants": "bench.mutants",
}
"""Targets that are modules, run against the lab."""
ALONE = ("docs", "site", "bench", "soak", "mutants")
"""Those that need no lab: they have services of their own, or need none."""
TESTS = {"test": testing.run, "unit": testing.unit}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m labkit.launcher", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text)
        if name == "run":
            command.add_argument("program", nargs="+")
    arguments = parser.parse_args()
    try:
        code = _interruptible(_prepare(arguments.command))
    except ServiceError as error:
        print(f"\n{error}", file=sys.stderr)  # noqa: T201 - the command line's own output
        return 1
    if code == 0 and arguments.command == "run":
        return _become(arguments.program)
    if code == 0 and arguments.command in PROGRAMS:
        return _become([str(venv.PYTHON), "-m", PROGRAMS[arguments.command]])
    return code


async def _prepare(command: str) -> int:
    """Do what the command says, or what the program needs that it stands for."""
    if command == "doctor":
        return await doctor()
    async with Steps() as steps:
        if command == "lab":
            return await watch.run(steps)
        if command in TESTS:
            return await TESTS[command](steps)
        if command == "down":
            await lab.down(steps)
        elif command in ALONE:
            await lab.install(steps)
        else:
            await lab.up(steps)
        if command == "up":
            steps.say(lab.addresses(lab.home()))
    return 0


def _interruptible(work: Coroutine[None, None, int]) -> int:
    """Ctrl-C, SIGTERM and SIGHUP cancel `work`, once: a second Ctrl-C in the middle of cleaning up
    is how things are left behind.
    """
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # `nohup make up`
        numbers.append(signal.SIGHUP)
    received: list[signal.Signals] = []

    async def watched() -> int:
        task = asyncio.create_task(work)

        def interrupt(number: signal.Signals) -> None:
            if not received:
                task.cancel()
            received.append(number)

        for number in numbers:
            asyncio.get_running_loop().add_signal_handler(number, interrupt, number)
        return await task

    try:
        return asyncio.run(watched())
    except asyncio.CancelledError:
        return 128 + received[0]


def _become(program: list[str]) -> int:
    """Become this program, with the lab's addresses in its environment."""
    values = environment.read_env(lab.home().env_file)
    own = venv.environment() | environment.dotenv() | values
    os.environ["PATH"] = own["PATH"]
    try:
        os.execvpe(program[0], program, own)  # noqa: S606
    except OSError as error:
        print(f"{program[0]} cannot be run: {error}", file=sys.stderr)  # noqa: T201
        return 127


if __name__ == "__main__":
    sys.exit(main())
