"""Steps side by side, and which port a service gets."""

import io
import socket
import threading
from concurrent.futures import Future

import pytest

from labkit.services import ports
from labkit.services.errors import Cancelled, ServiceError
from labkit.services.progress import Progress
from labkit.services.steps import Steps


def patient(cancel: threading.Event) -> str:
    """Waits until it is told to stop."""
    assert cancel.wait(10), "nobody cancelled it"
    raise Cancelled


def failing(cancel: threading.Event) -> str:
    raise ServiceError("the cable is cut")


def test_steps_that_do_not_need_each_other_run_at_the_same_time() -> None:
    meeting = threading.Barrier(2, timeout=10)
    with Progress(io.StringIO()) as progress, Steps(progress) as steps:
        for title in ("one", "two"):
            steps.begin(title, lambda _: str(meeting.wait()))


def test_a_step_begins_when_what_it_needs_is_done() -> None:
    order: list[str] = []

    def note(title: str) -> str:
        order.append(title)
        return title

    with Progress(io.StringIO()) as progress, Steps(progress) as steps:
        first = steps.begin("first", lambda _: note("first"))
        steps.begin("second", lambda _: note("second"), first)
    assert order == ["first", "second"]


def test_a_failure_cancels_the_others_and_is_what_the_user_sees() -> None:
    out = io.StringIO()

    def attempt() -> None:
        with Progress(out) as progress, Steps(progress) as steps:
            steps.begin("patient", patient)
            failed = steps.begin("failing", failing)
            steps.begin("needs it", lambda _: "never", failed)

    with pytest.raises(ServiceError, match="the cable is cut"):
        attempt()
    assert "needs it" not in out.getvalue()


def test_an_interruption_cancels_the_steps_and_waits_for_them() -> None:
    begun: list[Future[None]] = []

    def attempt() -> None:
        with Progress(io.StringIO()) as progress, Steps(progress) as steps:
            begun.append(steps.begin("patient", patient))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attempt()
    assert isinstance(begun[0].exception(timeout=0), Cancelled)


@pytest.mark.parametrize("everywhere", ["127.0.0.1", "0.0.0.0"])
def test_a_port_that_somebody_listens_on_is_not_chosen(everywhere: str) -> None:
    with socket.create_server((everywhere, 0)) as taken:
        port = taken.getsockname()[1]
        assert not ports.is_free(port)
        assert ports.choose([None, port]) != port


def test_the_port_of_the_last_time_is_chosen_again() -> None:
    port = ports.any_free()
    assert ports.choose([port, 5672]) == port
