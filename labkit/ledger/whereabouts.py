"""Where each accepted request ended: the accounting behind I5."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from labkit.ledger.evidence import Evidence
from labkit.ledger.operations import BY_ID, Claim, Operation

Where = Literal[
    "replied", "dead-lettered", "reply lost", "still queued", "dropped", "not accepted", "lost"
]
PLACES: tuple[Where, ...] = ("replied", "reply lost", "dead-lettered", "still queued", "dropped")
"""What accepted requests are the sum of; what is ``lost`` is missing in it."""


@dataclass(frozen=True)
class Account:
    """What the evidence proves, request by request."""

    replied: frozenset[str]
    finished: frozenset[str]
    """Ids whose reply a worker sent, by its log."""
    stored: frozenset[Claim]
    parked: frozenset[str]
    dropped: frozenset[str]
    anything_queued: bool

    @classmethod
    def of(cls, evidence: Evidence) -> "Account":
        askers = Counter(o.claim for o in evidence.operations if o.claim is not None)
        return cls(
            replied=frozenset(o.id for o in evidence.operations if o.replied),
            finished=frozenset(line.id for line in evidence.lines if line.final),
            # A key's reply may have been stored for a duplicate: it proves nothing for the others.
            stored=frozenset(c for c, _ in evidence.stored if c.scope == BY_ID or askers[c] == 1),
            parked=frozenset(letter.id for letter in evidence.letters),
            dropped=frozenset(evidence.dropped),
            anything_queued=any(evidence.queued.values()),
        )

    def where(self, operation: Operation) -> Where:
        """The first that is proven, in this order."""
        proofs: list[tuple[Where, bool]] = [
            ("replied", operation.replied),
            ("dead-lettered", operation.id in self.parked),
            ("reply lost", operation.id in self.finished or operation.claim in self.stored),
            ("dropped", operation.id in self.dropped),
            ("not accepted", not operation.accepted),
            ("still queued", self.anything_queued),
        ]
        return next((place for place, proven in proofs if proven), "lost")


def whereabouts(evidence: Evidence) -> list[tuple[Operation, Where]]:
    """Of every operation that a broker could have accepted."""
    account = Account.of(evidence)
    return [(o, account.where(o)) for o in evidence.operations if o.transport == "amqp"]


def counts(evidence: Evidence) -> dict[str, int]:
    """How many requests were accepted, and where those ended."""
    found = Counter(where for _, where in whereabouts(evidence))
    accepted = sum(found.values()) - found["not accepted"]
    return {"accepted": accepted, **{place: found[place] for place in (*PLACES, "lost")}}
