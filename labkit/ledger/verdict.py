"""The judgement of a run: seven invariants, and what was seen where one does not hold."""

from collections import Counter
from dataclasses import dataclass

import pandas as pd

from labkit.ledger.evidence import Evidence, counted, effect_of
from labkit.ledger.invariants import INVARIANTS, Violation
from labkit.ledger.operations import Operation, tally
from labkit.ledger.whereabouts import Account, counts

COLUMNS = ["invariant", "operation", "seen"]


@dataclass(frozen=True)
class Verdict:
    """What an evidence says. A notebook shows it as a small table."""

    evidence: Evidence
    found: tuple[Violation, ...]

    @property
    def ok(self) -> bool:
        """Whether every invariant holds."""
        return not self.found

    @property
    def violations(self) -> pd.DataFrame:
        """One row for each: the invariant, the operation's id, and what was seen."""
        rows = [(v.invariant, v.operation, v.seen) for v in self.found]
        return pd.DataFrame(rows, columns=COLUMNS)

    @property
    def counts(self) -> dict[str, int]:
        """How many requests the broker accepted, and where each of them ended."""
        return counts(self.evidence)

    @property
    def operations(self) -> pd.DataFrame:
        """One row for each: what was asked, what was answered, and what became of it."""
        account, there = Account.of(self.evidence), counted(self.evidence.changes)
        table = as_table(self.evidence.operations)
        table["where"] = [account.where(o) for o in self.evidence.operations]
        effects = [effect_of(o) for o in self.evidence.operations]
        table["in the database"] = [0 if e is None else there[e] for e in effects]
        return table

    @property
    def summary(self) -> pd.DataFrame:
        """One row for each invariant."""
        seen = Counter(violation.invariant for violation in self.found)
        rows = [(name, text, seen[name]) for name, (text, _) in INVARIANTS.items()]
        return pd.DataFrame(rows, columns=["invariant", "says", "violations"]).set_index(
            "invariant"
        )

    def __repr__(self) -> str:
        number = len(self.evidence.operations)
        asked = f"{number} operation{'s' * (number != 1)} ({tally(self.evidence.operations)})"
        if self.ok:
            return f"Nothing lost, nothing doubled: all seven invariants hold for {asked}."
        seen = Counter(violation.invariant for violation in self.found)
        broken = ", ".join(f"{name} {_often(count)}" for name, count in sorted(seen.items()))
        first = self.found[0]
        return f"Violated in {asked}: {broken}. First {first.invariant}: {first.seen}."

    def _repr_html_(self) -> str:
        tables = [self.summary] + ([] if self.ok else [self.violations.head(10)])
        return f"<p>{_escaped(repr(self))}</p>" + "".join(table.to_html() for table in tables)


def judge(evidence: Evidence) -> Verdict:
    """All that is violated, in the order of the invariants."""
    found = (violation for _, law in INVARIANTS.values() for violation in law(evidence))
    return Verdict(evidence, tuple(found))


def as_table(operations: list[Operation]) -> pd.DataFrame:
    """``asked`` is UTC; ``took`` is seconds, empty while there is no answer."""
    columns = ["id", "key", "version", "action", "asked", "took", "outcome", "code", "replayed"]
    rows = [
        (
            *(o.id, o.key or "", o.version, o.action, pd.Timestamp(o.asked, unit="s", tz="UTC")),
            *(None if o.answered is None else round(o.answered - o.asked, 3), o.outcome),
            *(o.code or "", o.replayed),
        )
        for o in operations
    ]
    return pd.DataFrame(rows, columns=columns)


def _often(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
