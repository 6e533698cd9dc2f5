"""`python3 -m labkit.services COMMAND`, which is what each target of the Makefile runs."""

import argparse
import os
import sys

from labkit.services import environment, lab, signals, testing, venv, watch
from labkit.services.doctor import doctor
from labkit.services.errors import ServiceError
from labkit.services.progress import Progress

COMMANDS = {
    "lab": "start everything, JupyterLab included; Ctrl-C ends it",
    "up": "start everything but JupyterLab, in the background",
    "down": "stop everything; your data stays",
    "doctor": "say what works, and how to fix what does not",
    "test": "lint, types, tests and notebooks, on services of their own",
    "unit": "the tests that need no service, in seconds",
    "docs": "run the examples of the API and write its documents, on services of their own",
    "demo": "the four examples of the API, against the running lab",
    "bench": "measure what is claimed to be fast",
    "soak": "10 minutes of load and faults, on services of their own, and a verdict",
    "run": "run a program in the lab's environment: run -- CMD ...",
}
PROGRAMS = {"docs": "reference", "demo": "labkit.demo", "bench": "bench", "soak": "bench.soak"}
"""Targets that are modules, run against the lab."""
TESTS = {"test": testing.run, "unit": testing.unit}
ALONE = ("docs", "soak")
"""Those that need no lab: they have services of their own."""


def main() -> int:
    arguments = _parse()
    os.chdir(environment.ROOT)
    try:
        with signals.as_interruption():
            return _execute(arguments)
    except ServiceError as error:
        print(f"\n{error}", file=sys.stderr)  # noqa: T201 - the command line's own output
        return 1
    except signals.Interrupted as interrupted:
        return interrupted.exit_code


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python3 -m labkit.services", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text)
        if name == "run":
            command.add_argument("program", nargs="+")
    return parser.parse_args()


def _execute(arguments: argparse.Namespace) -> int:
    command = arguments.command
    if command == "doctor":
        return doctor()
    with Progress() as progress:
        if command == "lab":
            return watch.run(progress)
        if command in TESTS:
            return TESTS[command](progress)
        if command == "down":
            lab.down(progress)
            return 0
        if command in ALONE:
            lab.prepare(progress)
        else:
            lab.up(progress)
        if command == "up":
            progress.say(lab.addresses(lab.home()))
            return 0
    if command == "run":
        return _replace_by(arguments.program)
    return _replace_by([str(venv.PYTHON), "-m", PROGRAMS[command]])


def _replace_by(program: list[str]) -> int:
    """Become this program, with the lab's addresses in its environment."""
    values = environment.read_env(lab.home().env_file)
    os.environ["PATH"] = venv.environment()["PATH"]
    try:
        os.execvpe(program[0], program, venv.environment() | environment.dotenv() | values)  # noqa: S606
    except OSError as error:
        raise ServiceError(f"{program[0]} cannot be run: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
