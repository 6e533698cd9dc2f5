"""What a lab keeps of the calls of its clients."""

from datetime import UTC, datetime

from labkit.client.moments import KEPT, FirstMoments, Moment


def test_a_request_that_is_sent_again_was_accepted_the_first_time() -> None:
    moments, before = FirstMoments(), datetime.now(UTC)
    moments.note(Moment.ACCEPTED, "a")
    between = datetime.now(UTC)
    moments.note(Moment.ACCEPTED, "a")
    assert before <= moments.of(Moment.ACCEPTED)["a"] <= between
    assert not moments.of(Moment.GAVE_UP)


def test_a_load_of_any_size_takes_little_memory() -> None:
    moments = FirstMoments()
    for number in range(KEPT + 10):
        moments.note(Moment.ASKED, str(number))
    assert len(moments.of(Moment.ASKED)) == KEPT
    moments.clear()
    moments.note(Moment.ASKED, "new")
    assert list(moments.of(Moment.ASKED)) == ["new"]
