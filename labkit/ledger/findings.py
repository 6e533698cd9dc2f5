"""What a judge found: how many operations it could judge, and what was wrong with which."""

from dataclasses import dataclass, field

from labkit.ledger.operations import Operation


@dataclass(frozen=True)
class Violation:
    """``operation`` is a request's id; None for what no single one is to blame for."""

    invariant: str
    operation: str | None
    seen: str


@dataclass
class Findings:
    """Of one invariant."""

    invariant: str
    judged: int = 0
    violations: list[Violation] = field(default_factory=list)

    def violated(self, operation: Operation | None, seen: str) -> None:
        """What was seen, about this operation."""
        if operation is None:
            self.violations.append(Violation(self.invariant, None, seen))
        else:
            self.violations.append(Violation(self.invariant, operation.id, f"{operation}: {seen}"))
