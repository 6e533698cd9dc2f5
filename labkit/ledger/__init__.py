"""Asked, answered, done: the account of a run, and its verdict.

ledger = Ledger(lab)
client = ledger.watch(await lab.client())
…
await ledger.verdict()
"""

from labkit.ledger.evidence import Evidence
from labkit.ledger.findings import Violation
from labkit.ledger.invariants import INVARIANTS
from labkit.ledger.ledger import Ledger
from labkit.ledger.operations import Operation
from labkit.ledger.verdict import Verdict, judge

__all__ = ["INVARIANTS", "Evidence", "Ledger", "Operation", "Verdict", "Violation", "judge"]
