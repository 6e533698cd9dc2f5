"""What no delivery of a request brings about, and so has its place in a story by its time."""

import math
from collections.abc import Iterable, Sequence

from labkit.client.moments import Moment
from labkit.faults.at_step.orders import ANY_WORKER
from labkit.faults.fault import Fault
from labkit.story.event import CLIENT, Event, Kind
from labkit.story.noted import Noted

TEXTS = {
    Moment.ASKED: "asks",
    Moment.REFUSED: "is refused: the queue is full, or not up yet",
    Moment.RETURNED: "gets it back: there is no queue",
    Moment.GAVE_UP: "gives up: outcome unknown",
}
HITS_A_WORKER = ("kill", "stop", "pause")
"""Such a fault concerns all requests that the worker has, not only the one that met it."""


def client_moments(noted: Iterable[Noted]) -> list[Event]:
    """What a client did by itself."""
    return [
        Event(0, 0, each.at, CLIENT, CLIENT, TEXTS[each.moment])
        for each in noted
        if each.moment in TEXTS
    ]


def faults_meanwhile(
    request_id: str, events: Sequence[Event], faults: Iterable[Fault]
) -> list[Event]:
    """Those that were there at some time between the first and the last of ``events``."""
    if not events:
        return []
    begin, end = events[0].at, max(event.at for event in events)
    found = []
    for fault in faults:
        at, healed = fault.at or math.inf, fault.healed or math.inf
        if at <= end and healed >= begin and _concerns(fault, request_id):
            found.append(_event(at, _name(fault)))
            if at < healed <= end:
                found.append(_event(healed, f"undone: {_name(fault)}"))
    return sorted(found, key=lambda event: event.at)


def placed(late: Iterable[Event], events: Sequence[Event]) -> list[Event]:
    """``late`` among ``events``, whose order stays: each behind the last one that was before it.
    A gap has no time: it is what comes after that, as far as anyone knows.
    """
    story = list(events)
    for each in late:
        known = [(n, event) for n, event in enumerate(story) if event.kind is not Kind.GAP]
        before = [n for n, event in known if event.at <= each.at]
        story.insert(before[-1] + 1 if before else 0, each)
    return story


def _concerns(fault: Fault, request_id: str) -> bool:
    return fault.request_id in (None, request_id) or fault.name.startswith(HITS_A_WORKER)


def _name(fault: Fault) -> str:
    if fault.target == ANY_WORKER:
        return fault.name
    return fault.name if fault.target in fault.name else f"{fault.name}: {fault.target}"


def _event(at: float, label: str) -> Event:
    return Event(0, 0, at, "", "", label, Kind.FAULT)
