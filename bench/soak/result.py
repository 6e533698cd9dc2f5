"""What a soak has come to so far: a number for each second, and a line for each fault."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

import pandas as pd

from labkit.client.errors import QueueFull, ReplyTimeout, Unroutable
from labkit.ledger import Verdict, Violation
from labkit.ledger.operations import NO_REPLY, PARKED, Operation
from server.contract.errors import BY_CODE

HONEST = {
    *BY_CODE.keys(),
    *(kind.code for kind in (ReplyTimeout, QueueFull, Unroutable)),
    *(NO_REPLY, PARKED),
}
"""What a call may end in, beside data; anything else is a bug of the client."""


@dataclass(frozen=True)
class Happened:
    """One fault; seconds since the soak began."""

    kind: str
    target: str
    at: float
    healed: float
    recovered: float | None
    """Seconds from its heal to the next ok answer; None if the round ended before."""


@dataclass
class Result:
    """``began`` is seconds since 1970; all other times are seconds since then."""

    seed: int
    began: float
    ended: float = 0.0
    rounds: int = 0
    operations: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(action, outcome or error code) → how many."""
    judgements: Counter[str] = field(default_factory=Counter)
    """Invariant → how many operations it could judge."""
    places: Counter[str] = field(default_factory=Counter)
    """Where accepted requests ended → how many."""
    throughput: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    """Outcome → second → answers."""
    faults: list[Happened] = field(default_factory=list)
    judged: list[tuple[float, float]] = field(default_factory=list)
    """From when to when nothing was asked, because the round was judged."""
    violations: list[tuple[int, Violation]] = field(default_factory=list)
    """With the number of the round."""
    troubles: list[str] = field(default_factory=list)
    """What the soak itself could not do."""
    died: str = ""
    """How the soak ended, if it did so before its time."""

    def add(self, verdict: Verdict, faults: list[Happened]) -> None:
        """One round."""
        self.rounds += 1
        for operation in verdict.evidence.operations:
            self._count(operation)
            if operation.code is not None and operation.code not in HONEST:
                self.troubles.append(f"a call ended in {operation.code}: {operation}")
        self.places.update(verdict.counts)
        self.judgements.update(verdict.judged)
        self.faults += faults
        self.violations += [(self.rounds, violation) for violation in verdict.found]

    def _count(self, operation: Operation) -> None:
        said = operation.outcome if operation.code is None else operation.code
        self.operations[operation.action, said] += 1
        if operation.answered is not None:
            second = int(operation.answered - self.began)
            self.throughput[operation.outcome][second] += 1

    @property
    def ok(self) -> bool:
        return not self.violations and not self.troubles and not self.died

    def by_outcome(self) -> pd.DataFrame:
        """One row for each action, one column for each outcome, with sums."""
        rows = [(action, said, n) for (action, said), n in self.operations.items()]
        if not rows:
            return pd.DataFrame(columns=["all"])
        long = pd.DataFrame(rows, columns=["action", "said", "operations"])
        wide = long.pivot_table(
            index="action", columns="said", values="operations", aggfunc="sum", fill_value=0
        )
        wide = wide[sorted(wide.columns, key=lambda said: (said != "ok", said))]
        wide.insert(0, "all", wide.sum(axis=1))
        wide.loc["all"] = wide.sum()
        return wide.astype(int)

    def by_fault(self) -> pd.DataFrame:
        """One row for each kind: how often, and the seconds from its heal to the next answer."""
        columns = ["fault", "target", "lasted", "recovered"]
        rows = [(f.kind, f.target, f.healed - f.at, f.recovered) for f in self.faults]
        table = pd.DataFrame(rows, columns=columns).astype({"lasted": float, "recovered": float})
        groups = table.groupby(["fault", "target"])
        figures = {
            "times": groups.size(),
            "lasted (median s)": groups["lasted"].median(),
            "recovered (median s)": groups["recovered"].median(),
            "recovered (longest s)": groups["recovered"].max(),
        }
        return pd.DataFrame(figures).round(2).reset_index()

    def by_invariant(self) -> dict[str, int]:
        return dict(Counter(violation.invariant for _, violation in self.violations))
