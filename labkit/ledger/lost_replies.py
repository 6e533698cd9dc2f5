"""A reply that was sent and did not come, though its caller waited: does a fault explain it?

The last line that a worker logged of a request is followed by its ack, on the same channel as the
reply; and what was not acknowledged is delivered again, and logged again. So when the queues have
drained, that reply was in the broker's hands. If the client had one and the same connection all the
time, it must have come, unless a fault was at work, or there was no time. That there was time is
known if a reply came which the same worker began to work on later: a reply queue keeps its order.
Else the time has to be long.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator

from labkit.ledger.evidence import LogLine
from labkit.ledger.operations import Operation
from labkit.ledger.run import Run

AROUND = 1.0
"""Seconds before a reply: what went wrong in them may have taken it along."""
AFTERMATH = 10.0
"""Seconds after a fault in which silence is no wonder: a heartbeat's time."""
LONG = 1.0
"""Seconds from the worker's line to the deadline: a reply takes milliseconds."""
LATE = 0.5
"""Seconds after its deadline at which a call ended: so long its program may have been asleep."""

Way = tuple[int, str]
"""Client and worker: between them replies keep their order."""


class LostReplies:
    """Those of one run that nothing explains."""

    def __init__(self, run: Run) -> None:
        self._run = run
        came: defaultdict[Way, list[tuple[float, float]]] = defaultdict(list)
        for operation in run.evidence.operations:
            last = self._last(operation)
            if operation.replied and operation.answered is not None and last is not None:
                way = operation.client, last.worker
                came[way].append(((last.at or 0.0) - last.took, operation.answered))
        self._came = {way: _soonest(pairs) for way, pairs in came.items()}

    def unexplained(self, operation: Operation) -> str:
        """What was seen; empty if the reply may have been lost, or late, without a mistake."""
        last, end, deadline = self._last(operation), operation.answered, operation.deadline
        if operation.code != "timeout" or not operation.steady or end is None:
            return ""  # its caller gave up, or had another connection meanwhile
        if deadline is not None and end < deadline - LATE:
            fault = self._fault(operation.asked, end)
            return "" if fault else "one came that could not be read"
        if last is None or last.at is None:
            return ""
        sent = self._run.evidence.clocks.machine.latest(last.at)
        before = end - sent
        if before <= 0:
            return ""
        overtaken = self._overtaken(operation, last)
        if overtaken < end and not self._fault(sent - AROUND, overtaken):
            return f"sent {before:.1f} s before its caller gave up; a later one came"
        punctual = deadline is not None and end - deadline < LATE
        if punctual and before > LONG and not self._fault(operation.asked - AFTERMATH, end):
            return f"sent {before:.1f} s before its caller gave up; no fault explains the silence"
        return ""

    def _last(self, operation: Operation) -> LogLine | None:
        """What was logged of its last delivery; all have to tell their times."""
        lines = [line for line in self._run.lines.get(operation.id, []) if line.final]
        if not lines or any(line.at is None for line in lines):
            return None
        return max(lines, key=lambda line: line.at or 0.0)

    def _overtaken(self, operation: Operation, last: LogLine) -> float:
        """The first moment at which a reply came that was surely sent later, to the same queue."""
        began, came = self._came.get((operation.client, last.worker), ([], []))
        first = bisect_right(began, last.at or 0.0)
        return came[first] if first < len(came) else float("inf")

    def _fault(self, start: float, end: float) -> bool:
        return any(
            fault.began <= end and (fault.healed is None or fault.healed >= start)
            for fault in (*self._run.evidence.faults, *self._run.evidence.earlier)
        )


def _soonest(pairs: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """When work began, in order; and the soonest answer to what began then or later."""
    pairs.sort()
    return [began for began, _ in pairs], list(_minima(pairs))[::-1]


def _minima(pairs: list[tuple[float, float]]) -> Iterator[float]:
    soonest = float("inf")
    for _, answered in reversed(pairs):
        soonest = min(soonest, answered)
        yield soonest
