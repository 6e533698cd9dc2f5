"""Our own errors are one sentence in a notebook, and the traceback is one line away."""

from collections.abc import Iterator
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from labkit import AsyncAPIClient, Lab
from labkit.errors import BadArgument, BrokerAway
from labkit.services.errors import LabNotRunning
from server.contract.errors import ApiError


@pytest.fixture(scope="module")
def shell() -> Iterator[InteractiveShell]:
    yield InteractiveShell.instance()
    InteractiveShell.clear_instance()


@pytest.mark.parametrize("kind", [ApiError, LabNotRunning, BadArgument])
def test_an_error_is_one_sentence_and_the_traceback_one_command_away(
    shell: Any, kind: type[Exception]
) -> None:
    shell.user_ns["Kind"] = kind
    with capture_output() as shown:
        shell.run_cell("def f():\n    raise Kind('The lamp is off: switch it on.')\nf()")
    text = shown.stdout + shown.stderr
    assert "The lamp is off: switch it on." in text
    assert len(text.strip().splitlines()) == 2
    with capture_output() as shown:
        shell.run_cell("%tb Plain")
    assert "in f" in shown.stdout + shown.stderr


async def test_a_broker_that_is_away_is_one_sentence_with_both_ways_out(shell: Any) -> None:
    with pytest.raises(BrokerAway) as away:
        await AsyncAPIClient("amqp://u:secret@127.0.0.1:1/").connect()
    text = "\n".join(away.value._render_traceback_())
    assert "127.0.0.1:1" in text
    assert "secret" not in text
    assert "make up" in text
    assert "lab.faults.undo()" in text


@pytest.mark.parametrize(
    ("open_lab", "says"),
    [
        (lambda: Lab.open(8), 'as in Lab.open("08")'),  # type: ignore[arg-type]
        (lambda: Lab.open("A b"), "letters a-z, digits and hyphens"),
        (lambda: Lab.open("08", workers=-1), "workers is -1: give a whole number from 0"),
        (lambda: Lab.open("08", workers="2"), "workers is '2'"),  # type: ignore[arg-type]
        (lambda: Lab.open("08", seed=1.5), "seed is 1.5"),  # type: ignore[arg-type]
    ],
)
def test_an_argument_that_cannot_be_used_is_named_at_once(open_lab: Any, says: str) -> None:
    with pytest.raises(BadArgument, match=says.replace("(", r"\(").replace(")", r"\)")):
        open_lab()


@pytest.mark.parametrize("timeout", ["5", 0, -1, float("nan"), 10**9])
def test_a_timeout_that_cannot_be_used_is_named(timeout: Any) -> None:
    client = AsyncAPIClient("amqp://127.0.0.1:1/")
    with pytest.raises(BadArgument, match="timeout is"):
        client._seconds(timeout)
