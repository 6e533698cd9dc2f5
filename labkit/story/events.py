"""One request's events, of all who saw them, in the order of cause and effect.

Clocks do not give it: the broker's copy of a message comes a little after the message itself. What
does is the life of a request: each delivery begins a chapter, and within a chapter the steps have
their order. Only what has no place there, a fault or a caller who gave up, is placed by its time.
"""

from collections.abc import Iterable, Mapping, Sequence

from labkit.client.moments import Moment
from labkit.faults.at_step.reports import Report
from labkit.faults.fault import Fault
from labkit.story.event import CLIENT, DATABASE, OPERATOR, REPLIES, RETRIES, WORKER, Event, Kind
from labkit.story.firehose import Seen
from labkit.story.noted import Noted
from labkit.story.placed_by_time import client_moments, faults_meanwhile, placed
from server.contract.steps import Step
from server.contract.topology import DEAD_LETTERS, REQUESTS, RETRY_PREFIX

STEPS = [str(step) for step in Step]
LATE = 0.05
"""Seconds by which the broker's copy may come after what it is a copy of."""


def of_request(
    request_id: str,
    seen: Sequence[Seen],
    reports: Sequence[Report],
    committed: Iterable[float],
    workers: Mapping[int, str],
    noted: Sequence[Noted] = (),
    faults: Sequence[Fault] = (),
) -> list[Event]:
    """``committed``: when the transactions began whose claims of this request are committed.
    ``workers``: a process's id → its name. ``noted``: by clients, ``faults``: of the lab.
    """
    mine = [each for each in seen if each.request_id == request_id]
    steps = _chapters([each for each in reports if each.request_id == request_id])
    own = [each for each in noted if each.request_id == request_id]
    who = {chapter: workers.get(step.pid, WORKER) for chapter, step in steps}
    events = list(_by_broker(mine, who, own))
    events += [_step(chapter, step, who[chapter]) for chapter, step in steps]
    begun = [event.at for event in events if event.label.startswith("deliver")]
    events += [_commit(at, begun, who) for at in committed]
    events += _gaps(steps, len(begun), who)
    ordered = sorted(events, key=lambda event: (event.chapter, event.rank))
    with_client = placed(client_moments(own), ordered)
    return placed(faults_meanwhile(request_id, with_client, faults), with_client)


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


def _by_broker(
    seen: Sequence[Seen], who: Mapping[int, str], own: Sequence[Noted]
) -> Iterable[Event]:
    """What went through its queues; a client's notes say what was confirmed, and came too late."""
    chapter, sender = 0, CLIENT
    confirmed = _belonging(own, Moment.ACCEPTED, [s for s in seen if s.enters(REQUESTS)])
    late = _belonging(own, Moment.CAME_LATE, [s for s in seen if s.is_reply and not s.published])
    for each in seen:
        worker = who.get(chapter, WORKER)
        if each.enters(REQUESTS):
            sender = OPERATOR if each.replays else CLIENT
            yield Event(chapter, 90, each.at, sender, REQUESTS, each.kind_of_request)
            if each in confirmed:
                yield Event(chapter, 91, each.at, REQUESTS, sender, "confirm")
        elif each.queue == REQUESTS:
            chapter += 1
            label = "deliver again" if each.redelivered else "deliver"
            yield Event(chapter, 0, each.at, REQUESTS, who.get(chapter, WORKER), label)
        elif each.published:
            yield from _sent_on(each, chapter, worker)
        elif each.is_reply:
            label = each.kind_of_reply + (", late" if each in late else "")
            yield Event(chapter, 57, each.at, REPLIES, sender, label)


def _sent_on(each: Seen, chapter: int, worker: str) -> Iterable[Event]:
    """What a worker published."""
    if each.queue.startswith(RETRY_PREFIX):
        yield Event(chapter, 50, each.at, worker, RETRIES, f"set aside, attempt {each.attempt}")
        yield Event(chapter, 80, each.at, RETRIES, REQUESTS, "time is up")
    elif each.queue == DEAD_LETTERS:
        yield Event(chapter, 50, each.at, worker, DEAD_LETTERS, "dead letter")
    elif each.is_reply:
        yield Event(chapter, 55, each.at, worker, REPLIES, each.kind_of_reply)


def _belonging(own: Sequence[Noted], moment: Moment, copies: Sequence[Seen]) -> list[Seen]:
    """Those of the broker's copies that a client has noted, too: of each the newest one then."""
    times = [each.at + LATE for each in own if each.moment is moment]
    before = [[copy for copy in copies if copy.at <= at] for at in times]
    return [copies_then[-1] for copies_then in before if copies_then]


def _step(chapter: int, report: Report, worker: str) -> Event:
    rank = {"replied": 56.0, "acked": 60.0}.get(report.step, 10.0 + STEPS.index(report.step))
    if report.step == Step.ACKED:
        return Event(chapter, rank, report.at, worker, REQUESTS, "ack")
    return Event(chapter, rank, report.at, worker, worker, report.step)


def _commit(at: float, begun: Sequence[float], who: Mapping[int, str]) -> Event:
    chapter = max(1, sum(each - LATE <= at for each in begun))
    rank = 10 + STEPS.index(Step.COMMITTED) - 0.5
    return Event(chapter, rank, at, who.get(chapter, WORKER), DATABASE, "claim, effect, reply")


def _gaps(
    steps: Sequence[tuple[int, Report]], deliveries: int, who: Mapping[int, str]
) -> list[Event]:
    """Chapters in which a worker said something, not that it was done, and another began."""
    last = dict(steps)
    return [
        Event(chapter, 70, report.at, who[chapter], who[chapter], "says nothing more", Kind.GAP)
        for chapter, report in last.items()
        if report.step != Step.ACKED and chapter < deliveries
    ]
