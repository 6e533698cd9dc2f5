"""What a private broker's node is asked by command line tools."""

import os

import pytest

from labkit.services.broker_tools import BrokerTools, ToolFailed


def tools() -> BrokerTools:
    """Those of the run's broker."""
    found = BrokerTools.of(os.environ, os.environ["ADMIN_AMQP_URL"])
    assert found is not None
    return found


def test_an_expression_has_its_value_from_the_node() -> None:
    assert tools().evaluate("{node(), 1 + 1}") == "{lab@localhost, 2}"


@pytest.mark.parametrize("wrong", ["1 +", "undefined_module:f()", "exit(gone)"])
def test_an_expression_that_fails_says_why(wrong: str) -> None:
    with pytest.raises(ToolFailed) as failed:
        tools().evaluate(wrong)
    assert failed.value.output


def test_a_node_that_does_not_answer_in_time_is_an_error() -> None:
    with pytest.raises(ToolFailed, match="says nothing within"):
        tools().evaluate("timer:sleep(5000)", within=0.3)
