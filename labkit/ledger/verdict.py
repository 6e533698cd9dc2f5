"""The judgement of a run: ten invariants, how much each of them could judge, and what was seen
where one does not hold.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from labkit.ledger.evidence import Evidence
from labkit.ledger.findings import Findings, Violation
from labkit.ledger.invariants import INVARIANTS
from labkit.ledger.operations import Operation, tally
from labkit.ledger.run import Run
from labkit.ledger.whereabouts import Account, counts

COLUMNS = ["invariant", "operation", "seen"]
DOUBT = 0.1
"""Seconds: two clocks of one machine, or of one network, can be compared much better than that."""


@dataclass(frozen=True)
class Verdict:
    """What an evidence says. A notebook shows it as a small table."""

    evidence: Evidence
    found: tuple[Violation, ...]
    judged: dict[str, int]
    """Invariant → how many operations it could judge; for I7 they are heals, for I8 changes, and
    for I9 and I10 what was read of each row or list.
    """

    @cached_property
    def _run(self) -> Run:
        return Run(self.evidence)

    @property
    def ok(self) -> bool:
        """Whether every invariant holds."""
        return not self.found

    @property
    def violations(self) -> pd.DataFrame:
        """One row for each: ``invariant`` (I1 … I10), the ``operation``'s id, and what was ``seen``
        (all str).
        """
        rows = [(v.invariant, v.operation, v.seen) for v in self.found]
        return pd.DataFrame(rows, columns=COLUMNS)

    @property
    def counts(self) -> dict[str, int]:
        """How many requests the broker accepted, and where each of them ended."""
        return counts(self._run)

    @property
    def operations(self) -> pd.DataFrame:
        """One row for each: what was asked, what was answered, and what became of it. For the
        columns see ``Ledger.operations``.
        """
        run = self._run
        account, applied = Account.of(run), run.owned.applied
        table = as_table(self.evidence.operations)
        table["where"] = [account.where(o) for o in self.evidence.operations]
        claims = [operation.claim for operation in self.evidence.operations]
        made = [0 if claim is None else len(applied.get(claim, ())) for claim in claims]
        table["in the database"] = made
        return table

    @property
    def summary(self) -> pd.DataFrame:
        """One row for each invariant: what it ``says`` (str), how many operations it ``judged``,
        and how many ``violations`` it found (int64).
        """
        seen = Counter(violation.invariant for violation in self.found)
        rows = [(n, text, self.judged.get(n, 0), seen[n]) for n, (text, _) in INVARIANTS.items()]
        columns = ["invariant", "says", "judged", "violations"]
        return pd.DataFrame(rows, columns=columns).set_index("invariant")

    def __repr__(self) -> str:
        number = len(self.evidence.operations)
        asked = f"{number} operation{'s' * (number != 1)} ({tally(self.evidence.operations)})"
        if self.ok:
            held = f"Nothing lost, nothing doubled: all ten invariants hold for {asked}."
            return held + self._doubt()
        seen = Counter(violation.invariant for violation in self.found)
        broken = ", ".join(f"{name} {_often(count)}" for name, count in seen.items())
        first = self.found[0]
        said = f"Violated in {asked}: {broken}. First {first.invariant}: {first.seen}."
        return said + self._doubt()

    def _doubt(self) -> str:
        """Of what depends on clocks that cannot be compared."""
        seconds = self.evidence.clocks.doubt
        if seconds < DOUBT:
            return ""
        return (
            f" The clocks could be compared to {seconds:.1f} s only (was one set meanwhile?): what "
            "is in order by them alone was not judged."
        )

    def _repr_html_(self) -> str:
        tables = [self.summary] + ([] if self.ok else [self.violations.head(10)])
        return f"<p>{_escaped(repr(self))}</p>" + "".join(table.to_html() for table in tables)


def judge(evidence: Evidence) -> Verdict:
    """All that is violated, in the order of the invariants."""
    run = Run(evidence)
    findings = []
    for name, (_, law) in INVARIANTS.items():
        found = Findings(name)
        law(run, found)
        findings.append(found)
    violations = tuple(violation for found in findings for violation in found.violations)
    return Verdict(evidence, violations, {found.invariant: found.judged for found in findings})


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
    return pd.DataFrame(rows, columns=columns).astype({"took": float})


def _often(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
