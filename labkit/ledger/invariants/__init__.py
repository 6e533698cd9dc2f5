"""What must never happen: ten functions over a run, each of which names what it saw.

    I1   answered ok ⇒ the effect is there, and the reply says what was stored
    I2   at most one effect for each key or id, also when the outcome is unknown
    I3   refused ⇒ no effect
    I4   same key ⇒ the same bytes
    I5   accepted = replied + reply lost by a fault + dead-lettered + still queued; nothing is
         queued in the end, and what was said to be dead-lettered is
    I6   attempts never over the limit
    I7   nothing is stuck: an answer within 30 s of each heal
    I8   every change was requested, and the rows are the sum of the changes
    I9   every read is true: so it was at some moment between request and reply
    I10  order: what was acknowledged, or read, is visible to all that is asked after it

A correct server is never accused. What cannot be known, such as the very moment of a commit, is an
interval, and whatever is possible within it is accepted.
"""

from collections.abc import Callable

from labkit.ledger.findings import Findings
from labkit.ledger.invariants.accounting import nothing_is_lost
from labkit.ledger.invariants.effects import (
    answered_ok_is_there,
    at_most_one_effect,
    refused_has_no_effect,
)
from labkit.ledger.invariants.order import order_is_kept
from labkit.ledger.invariants.progress import attempts_are_bounded, nothing_is_stuck
from labkit.ledger.invariants.reads import every_read_is_true
from labkit.ledger.invariants.repetition import same_key_same_bytes
from labkit.ledger.invariants.requested import every_change_was_requested
from labkit.ledger.run import Run

Invariant = Callable[[Run, Findings], None]

INVARIANTS: dict[str, tuple[str, Invariant]] = {
    "I1": ("answered ok ⇒ the effect is there", answered_ok_is_there),
    "I2": ("at most one effect for each key or id", at_most_one_effect),
    "I3": ("refused ⇒ no effect", refused_has_no_effect),
    "I4": ("same key ⇒ the same bytes", same_key_same_bytes),
    "I5": ("every accepted request is accounted for", nothing_is_lost),
    "I6": ("attempts never over the limit", attempts_are_bounded),
    "I7": ("nothing is stuck after a heal", nothing_is_stuck),
    "I8": ("every change was requested", every_change_was_requested),
    "I9": ("every read is true", every_read_is_true),
    "I10": ("what was acknowledged is visible from then on", order_is_kept),
}
