"""One request's events, of all who saw them, in the order of cause and effect.

Clocks do not give it: the broker's copy of a message comes a little after the message itself. What
does is the life of a request: each delivery begins a chapter, and within a chapter the steps have
their order.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from labkit.faults.at_step.reports import Report
from labkit.story.firehose import Seen
from server.contract.steps import Step
from server.contract.topology import DEAD_LETTERS, REQUESTS, RETRY_PREFIX

CLIENT, WORKER, DATABASE, REPLIES = "client", "worker", "PostgreSQL", "reply queue"
STEPS = [str(step) for step in Step]
LATE = 0.05
"""Seconds by which the broker's copy may come after what it tells of."""


@dataclass(frozen=True)
class Event:
    """``source`` did something to ``target``; the same one for what it did by itself."""

    chapter: int
    """0 is before the first delivery; each delivery begins another one."""
    rank: float
    at: float
    """Seconds since 1970."""
    source: str
    target: str
    label: str
    is_gap: bool = False
    """Not seen by anyone: a worker said nothing more."""


def of_request(
    request_id: str,
    seen: Sequence[Seen],
    reports: Sequence[Report],
    committed: Iterable[float],
    workers: Mapping[int, str],
) -> list[Event]:
    """``committed``: when the transactions began whose claims of this request are committed.
    ``workers``: a process's id → its name.
    """
    mine = [each for each in seen if each.request_id == request_id]
    steps = _chapters([each for each in reports if each.request_id == request_id])
    who = {chapter: workers.get(step.pid, WORKER) for chapter, step in steps}
    events = list(_by_broker(mine, who))
    events += [_step(chapter, step, who[chapter]) for chapter, step in steps]
    begun = [event.at for event in events if event.label.startswith("deliver")]
    events += [_commit(at, begun, who) for at in committed]
    events += _gaps(steps, len(begun), who)
    return sorted(events, key=lambda event: (event.chapter, event.rank))


def _chapters(reports: Sequence[Report]) -> list[tuple[int, Report]]:
    """Each step with its chapter. Requests are not parsed yet when they are received, so their
    first step has no id: ``parsed`` begins a chapter.
    """
    chapter = 0
    found: list[tuple[int, Report]] = []
    for report in reports:
        chapter += report.step in (Step.RECEIVED, Step.PARSED) and (
            not found or found[-1][1].step != Step.RECEIVED
        )
        found.append((chapter, report))
    return found


def _by_broker(seen: Sequence[Seen], who: dict[int, str]) -> Iterable[Event]:
    chapter = 0
    for each in seen:
        worker = who.get(chapter, WORKER)
        if each.what == "delivered" and each.queue == REQUESTS:
            chapter += 1
            label = "deliver again" if each.redelivered else "deliver"
            yield Event(chapter, 0, each.at, REQUESTS, who.get(chapter, WORKER), label)
        elif each.what == "published" and each.queue == REQUESTS:
            yield Event(chapter, 90, each.at, CLIENT, REQUESTS, "request")
        elif each.what == "published" and each.queue.startswith(RETRY_PREFIX):
            label = f"set aside, attempt {each.attempt}"
            yield Event(chapter, 50, each.at, worker, "retry queue", label)
            yield Event(chapter, 80, each.at, "retry queue", REQUESTS, "time is up")
        elif each.what == "published" and each.queue == DEAD_LETTERS:
            yield Event(chapter, 50, each.at, worker, DEAD_LETTERS, "dead letter")
        elif each.status:
            kind = f"reply: {each.status}" + (", replayed" if each.replayed else "")
            if each.what == "published":
                yield Event(chapter, 55, each.at, worker, REPLIES, kind)
            else:
                yield Event(chapter, 57, each.at, REPLIES, CLIENT, kind)


def _step(chapter: int, report: Report, worker: str) -> Event:
    rank = {"replied": 56.0, "acked": 60.0}.get(report.step, 10.0 + STEPS.index(report.step))
    if report.step == Step.ACKED:
        return Event(chapter, rank, report.at, worker, REQUESTS, "ack")
    return Event(chapter, rank, report.at, worker, worker, report.step)


def _commit(at: float, begun: Sequence[float], who: dict[int, str]) -> Event:
    chapter = max(1, sum(each - LATE <= at for each in begun))
    rank = 10 + STEPS.index(Step.COMMITTED) - 0.5
    return Event(chapter, rank, at, who.get(chapter, WORKER), DATABASE, "claim, effect, reply")


def _gaps(steps: list[tuple[int, Report]], deliveries: int, who: dict[int, str]) -> list[Event]:
    """Chapters in which a worker said something, not that it was done, and another began."""
    last = dict(steps)
    return [
        Event(chapter, 70, report.at, who[chapter], who[chapter], "says nothing more", is_gap=True)
        for chapter, report in last.items()
        if report.step != Step.ACKED and chapter < deliveries
    ]
