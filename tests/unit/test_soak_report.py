"""However a soak ends, its report says what it has come to, and how it ended."""

from bench.soak import report
from bench.soak.result import Result
from labkit.ledger import judge
from tests.unit.runs import asked, evidence, made, row


def test_the_report_says_how_many_operations_each_invariant_judged() -> None:
    result = Result(seed=1, began=0.0)
    for _ in range(2):
        result.add(judge(evidence(asked(), changes=[made(row())])), [])
    assert "| I1 | answered ok ⇒ the effect is there | 2 | 0 |" in report.markdown(result)
    assert result.ok
    result.died = "BrokerAway: gone"
    assert not result.ok
