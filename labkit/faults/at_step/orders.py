"""Orders to the workers of one lab: what has to happen as soon as a request gets to a step."""

from collections.abc import Callable

from labkit.errors import FaultImpossible
from labkit.faults.at_step.armed import ArmedFault
from labkit.faults.at_step.plan import Order, Plan
from labkit.faults.fault import Journal
from server.contract.steps import Step

ANY_WORKER = "worker"


class Orders:
    """``plan`` is where the workers look for them, and ``obedient`` says whether any does."""

    def __init__(self, obedient: Callable[[], bool], plan: Plan, journal: Journal) -> None:
        self._obedient = obedient
        self._journal = journal
        self._plan = plan

    def at_step(
        self,
        what: str,
        step: str,
        request_id: str | None,
        seconds: float = 0.0,
        *,
        always: bool = False,
    ) -> ArmedFault:
        """Raises ``FaultImpossible`` if there is no such step, or no worker that obeys."""
        if step not in list(Step):
            raise FaultImpossible(f"There is no step {step!r}. Choose one of: {', '.join(Step)}.")
        order = Order(step, what, seconds, request_id, always=always)
        return self._arm(order, f"{what} at {step}", ANY_WORKER)

    def to_message(
        self, what: str, kind: str, request_id: str | None, seconds: float = 0.0, chance: float = 0
    ) -> ArmedFault:
        """The same for a message itself, ``request`` or ``reply``."""
        order = Order(kind, what, seconds, request_id, chance)
        return self._arm(order, f"{what} {kind}", kind)

    def _arm(self, order: Order, name: str, target: str) -> ArmedFault:
        if not self._obedient():
            raise FaultImpossible(
                "No worker of this lab obeys: start some that do, `await "
                "lab.start_workers(obedient=True)`, or open the lab with private=True."
            )
        armed = self._plan.arm(order)
        fault = ArmedFault(name, target, at=None, armed=armed, lasts=_lasts(order))
        fault.undo = fault.disarm
        self._journal.note(fault)
        return fault


def _lasts(order: Order) -> float | None:
    """Seconds; None for what goes on until it is healed."""
    return None if order.always or order.what in ("hold", "pause") else order.seconds
