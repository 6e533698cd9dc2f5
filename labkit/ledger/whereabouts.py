"""Where each accepted request ended: the accounting behind I5."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from math import inf
from typing import Literal

from labkit.ledger.operations import EffectKey, Operation
from labkit.ledger.run import Run

Where = Literal[
    "replied", "dead-lettered", "reply lost", "still queued", "dropped", "not accepted", "lost"
]
PLACES: tuple[Where, ...] = ("replied", "reply lost", "dead-lettered", "still queued", "dropped")
"""What accepted requests are the sum of; what is ``lost`` is missing in it."""


@dataclass(frozen=True)
class Account:
    """What the evidence proves, request by request."""

    finished: frozenset[str]
    """Ids whose reply a worker sent, by its log."""
    stored: frozenset[EffectKey]
    letters: frozenset[str]
    removed: Mapping[str, float]
    """Id of a letter that an operator took away → when, at the latest."""
    purged: frozenset[str]
    """Ids of those that may have been among the letters that an operator purged unseen."""
    dropped: frozenset[str]
    anything_queued: bool

    @classmethod
    def of(cls, run: Run) -> "Account":
        evidence = run.evidence
        removed: defaultdict[str, float] = defaultdict(float)
        for removal in evidence.removals:
            if removal.id is not None:
                removed[removal.id] = max(removed[removal.id], removal.at)
        account = cls(
            finished=frozenset(line.id for line in evidence.lines if line.final),
            # A key's reply may have been stored for a duplicate: it proves nothing for the others.
            stored=frozenset(
                claim for claim in run.stored if claim.is_by_id or len(run.askers[claim]) == 1
            ),
            letters=frozenset(n for each in evidence.letters for n in (each.id, each.asked_as)),
            removed=dict(removed),
            purged=frozenset(),
            dropped=frozenset(evidence.dropped),
            anything_queued=any(evidence.queued.values()),
        )
        return replace(account, purged=account._purged(run))

    def _purged(self, run: Run) -> frozenset[str]:
        """As many as were purged unseen: first of those that are said to be parked, then of those
        that nothing else explains.
        """
        purges = [each for each in run.evidence.removals if each.id is None]
        if not purges:
            return frozenset()
        said = [o for o in run.evidence.operations if parked_by_report(run, o)]
        lost = [o for o in run.evidence.operations if self.where(o) == "lost"]
        missing = [o for o in (*said, *lost) if not self.parked(o)]
        found: set[str] = set()
        for purge in sorted(purges, key=lambda each: each.at):
            mine = (o.id for o in missing if o.id not in found and o.asked <= purge.at)
            found.update(islice(dict.fromkeys(mine), purge.count))
        return frozenset(found)

    def parked(self, operation: Operation) -> bool:
        """Whether it is in the dead letter queue, or an operator took it from there."""
        taken = self.removed.get(operation.id, -inf) >= operation.asked
        return taken or operation.id in self.letters or operation.id in self.purged

    def where(self, operation: Operation) -> Where:
        """The first that is proven, in this order."""
        finished = operation.id in self.finished or operation.claim in self.stored
        proofs: list[tuple[Where, bool]] = [
            ("replied", operation.replied),
            ("dead-lettered", self.parked(operation)),
            ("reply lost", finished and not operation.is_poison),
            ("dropped", operation.id in self.dropped),
            ("not accepted", not operation.accepted),
            ("still queued", self.anything_queued),
        ]
        return next((place for place, proven in proofs if proven), "lost")


def parked_by_report(run: Run, operation: Operation) -> bool:
    """By the reply, or by the worker's log if no reply came."""
    return operation.parked or any(line.parks for line in run.lines.get(operation.id, []))


def whereabouts(run: Run) -> list[tuple[Operation, Where]]:
    """Of every operation that a broker could have accepted."""
    account = Account.of(run)
    operations = run.evidence.operations
    return [(o, account.where(o)) for o in operations if o.transport == "amqp"]


def counts(run: Run) -> dict[str, int]:
    """How many requests were accepted, and where those ended."""
    found = Counter(where for _, where in whereabouts(run))
    accepted = sum(found.values()) - found["not accepted"]
    return {"accepted": accepted, **{place: found[place] for place in (*PLACES, "lost")}}
