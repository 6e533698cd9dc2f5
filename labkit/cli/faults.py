"""make something go wrong in a notebook's lab, and undo it when the command ends"""

import argparse
import asyncio
import contextlib
import random
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from labkit.broker.management import Broker
from labkit.cli.output import say
from labkit.errors import BrokerAway, FaultImpossible
from labkit.faults.at_step.armed import ArmedFault
from labkit.faults.at_step.orders import ANY_WORKER
from labkit.faults.elsewhere import elsewhere
from labkit.faults.fault import Fault, NotReached
from labkit.faults.faults import Faults
from labkit.faults.messages import POISONS
from labkit.faults.scene import RunningWorkers
from labkit.faults.service_faults import ServiceFaults
from labkit.place import Place
from labkit.services.environment import ROOT
from labkit.ui.progress import StatusLine
from server.contract.steps import Step

STEPS = ", ".join(Step)

Begin = Callable[[Faults, argparse.Namespace], Awaitable[Fault]]


def arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, begin: Begin, text: str, *parents: argparse.ArgumentParser
    ) -> argparse.ArgumentParser:
        its = commands.add_parser(name, help=text, description=text, parents=parents)
        its.set_defaults(begin=begin, at=None, target=None, lasts=None)
        return its

    waits, lasts, always = _waits(), _lasts(), _always()
    _target(command("kill", _kill, "kill -9, now or at a step", waits, lasts, always))
    _target(command("stop", _stop, "SIGTERM, as for an update", waits))
    _target(command("pause", _pause, "freeze it: alive, and silent", waits, lasts))
    slow = command("slow", _slow, "a step takes longer; without --at each request does", waits)
    slow.add_argument("--seconds", type=float, required=True, help="by how much")
    _target(slow)
    _target(command("fail", _fail, "a bug at a step", waits, lasts, always), needs_step=True)
    _target(command("hold", _hold, "a request stays at a step", waits, lasts), needs_step=True)
    messages = command("messages", _message, "lose, double, delay or break a message", waits)
    messages.add_argument("what", choices=["drop", "duplicate", "delay", "corrupt"])
    messages.add_argument("kind", choices=["request", "reply"])
    messages.add_argument("--seconds", type=float, default=1.0, help="of a delay; else 1")
    poison = command("poison", _poison, "send a message that cannot be worked on")
    poison.add_argument("kind", nargs="?", help=f"by chance, or: {', '.join(POISONS)}")
    closing = command("close-connections", _close, "from the other end, with the reason")
    closing.add_argument("of", metavar="WHOSE", help="worker, client or database")


def _target(parser: argparse.ArgumentParser, *, needs_step: bool = False) -> None:
    parser.add_argument("target", nargs="?", metavar="TARGET", help="such as worker-1")
    parser.add_argument("--at", metavar="STEP", required=needs_step, help=f"one of {STEPS}")


def _waits() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--request-id", metavar="ID", help="this request only")
    parser.add_argument(
        "--within", type=float, default=60.0, help="seconds to wait for it; else 60"
    )
    return parser


def _lasts() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    text = "how long it lasts, if it does; else until Ctrl-C"
    parser.add_argument("--seconds", type=float, dest="lasts", metavar="SECONDS", help=text)
    return parser


def _always() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--always", action="store_true", help="every request that gets there, not only the first"
    )
    return parser


async def run(place: Place, options: argparse.Namespace) -> None:
    """Raises ``FaultImpossible``, which says what is possible."""
    _check(options)
    async with Broker(place.management_url) as broker:
        scene = elsewhere(place, ROOT, broker)
        if options.begin in (_poison, _close):
            await _require_shared(broker, place.vhost)
        faults = Faults(scene, random.randrange(2**32))  # noqa: S311  (no secret is made with it)
        await _to_its_end(_happen(faults, scene.workers, options))


def _check(options: argparse.Namespace) -> None:
    if options.at is None and options.begin in (_kill, _stop, _pause):
        _check_at_once(options)
    elif options.target not in (None, ANY_WORKER):
        raise FaultImpossible(
            f"It happens to whichever worker gets to the step: leave {options.target} out."
        )


def _check_at_once(options: argparse.Namespace) -> None:
    if ServiceFaults.names(options.target or ""):
        raise FaultImpossible(
            f"The {options.target} of a private lab belongs to the kernel that has opened the lab: "
            f'there, `await lab.faults.{options.begin.__name__[1:]}("{options.target}")`.'
        )
    if options.target is None:
        raise FaultImpossible(f"Say which, such as worker-1, or --at a step: {STEPS}.")
    if options.request_id is not None or getattr(options, "always", False):
        raise FaultImpossible(
            f"Without --at it happens to {options.target} at once, whatever it does."
        )


async def _require_shared(broker: Broker, vhost: str) -> None:
    try:
        await broker.queues_last_reported(vhost)
    except BrokerAway as error:
        raise FaultImpossible(
            f"The running broker has no {vhost}. If that lab is private, its broker and database "
            "belong to the kernel that has opened it: there, `lab.faults` does this."
        ) from error


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """SIGTERM, or a closed terminal, ends it as Ctrl-C does: what it did is undone."""
    task = asyncio.create_task(work)
    with contextlib.suppress(RuntimeError, ValueError):  # not in the main thread
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        current = asyncio.current_task()
        if current is not None and current.cancelling():  # Ctrl-C, which `main` tells
            raise


async def _happen(faults: Faults, crew: RunningWorkers, options: argparse.Namespace) -> None:
    pids = {worker.name: worker.pid for worker in crew.processes}  # a killed one is not in it later
    async with await options.begin(faults, options) as fault:
        if isinstance(fault, ArmedFault):
            await _reached(fault, options.within)
            say(f"{fault.name}: pid {fault.pid}, request {fault.request_id or 'not known yet'}")
            lasts = fault.lasts is None
        else:
            pid = next((p for name, p in pids.items() if name.endswith(f"-{fault.target}")), None)
            say(f"{fault.name}: {fault.target}" + (f", pid {pid}" if pid else ""))
            lasts = fault.healed is None
        sys.stdout.flush()
        if lasts:
            await _go_on(options.lasts)


async def _reached(fault: ArmedFault, within: float) -> None:
    line = StatusLine()
    line.show(f"{fault.name}: waiting for a request, up to {within:g} s …")
    try:
        await fault.reached(within)
    except NotReached as error:
        raise FaultImpossible(f"Nothing in {within:g} s. {error}") from error
    finally:
        line.clear()


async def _go_on(seconds: float | None) -> None:
    """None is until Ctrl-C."""
    line = StatusLine()
    line.show("until Ctrl-C …" if seconds is None else f"for {seconds:g} s …")
    try:
        async with asyncio.timeout(seconds):
            await asyncio.Event().wait()
    except TimeoutError:
        pass
    finally:
        line.clear()


async def _kill(faults: Faults, o: argparse.Namespace) -> Fault:
    return await faults.kill(_target_of(o), at=o.at, request_id=o.request_id, always=o.always)


async def _stop(faults: Faults, o: argparse.Namespace) -> Fault:
    return await faults.stop(_target_of(o), at=o.at, request_id=o.request_id)


async def _pause(faults: Faults, o: argparse.Namespace) -> Fault:
    return await faults.pause(_target_of(o), at=o.at, request_id=o.request_id)


def _target_of(options: argparse.Namespace) -> str:
    return options.target or ANY_WORKER


async def _slow(faults: Faults, o: argparse.Namespace) -> Fault:
    return await faults.slow(o.seconds, at=o.at, request_id=o.request_id)


async def _fail(faults: Faults, o: argparse.Namespace) -> Fault:
    return await faults.fail(at=o.at, request_id=o.request_id, always=o.always)


async def _hold(faults: Faults, o: argparse.Namespace) -> Fault:
    return await faults.hold(at=o.at, request_id=o.request_id)


async def _message(faults: Faults, o: argparse.Namespace) -> Fault:
    if o.what == "delay":
        return await faults.messages.delay(o.kind, o.seconds, request_id=o.request_id)
    happens = getattr(faults.messages, o.what)
    fault: Fault = await happens(o.kind, request_id=o.request_id)
    return fault


async def _poison(faults: Faults, o: argparse.Namespace) -> Fault:
    return await faults.messages.poison(o.kind)


async def _close(faults: Faults, o: argparse.Namespace) -> Fault:
    return await faults.close_connections(o.of)
