"""Frames of messages are picked out of what a broker sends, wherever it is cut into pieces."""

import asyncio
from typing import Any

import pytest
from pamqp import commands, frame
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from server.contract import frames
from server.contract.lane import Acknowledgements, Delivered, Lane, Tap
from server.contract.properties import Properties

CHANNEL, OTHER = 1, 2
FRAME_MAX = 4096


class Socket:
    """What is written to a connection."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def frames(self) -> list[Any]:
        data = b"".join(self.written)
        found: list[Any] = []
        while data:
            size, _, each = frame.unmarshal(data)
            found.append(each)
            data = data[size:]
        return found


def read(data: bytes) -> Any:
    return frame.unmarshal(data)[2]


def message(tag: int, body: bytes, channel: int = CHANNEL, **properties: Any) -> bytes:
    pieces = [body[at : at + 7] for at in range(0, len(body), 7)]
    header = ContentHeader(0, len(body), Properties(**properties))
    sent: list[Any] = [
        commands.Basic.Deliver("ctag", tag, False, "", "q"),
        header,
        *map(ContentBody, pieces),
    ]
    return b"".join(frame.marshal(each, channel) for each in sent)


def tapped() -> tuple[Tap, Lane, list[Delivered]]:
    tap = Tap()
    lane = tap.lanes[CHANNEL] = Lane(CHANNEL, FRAME_MAX, Socket())  # type: ignore[arg-type]
    received: list[Delivered] = []
    lane.on_delivery = received.append
    return tap, lane, received


@pytest.mark.parametrize("size", [1, 2, 7, 8, 64, 4096])
async def test_messages_arrive_whole_and_all_else_is_passed_on(size: int) -> None:
    tap, _, received = tapped()
    others = [
        frame.marshal(commands.Basic.QosOk(), CHANNEL),
        message(9, b"for another channel", OTHER),
        frames.AN_HEARTBEAT,
    ]
    sent = (
        others[0]
        + message(1, b"the first one", correlation_id="a")
        + others[1]
        + message(2, b"", correlation_id="b", headers={"x": 1})
        + others[2]
    )
    for at in range(0, len(sent), size):
        tap.feed_data(sent[at : at + size])
    tap.feed_eof()
    assert [(m.correlation_id, m.body, m.headers, m.tag) for m in received] == [
        ("a", b"the first one", {}, 1),
        ("b", b"", {"x": 1}, 2),
    ]
    left = await tap.read()
    for each in others:
        assert each in left
        left = left.replace(each, b"", 1)
    assert left.replace(frames.AN_HEARTBEAT, b"") == b"", "beside heartbeats nothing is made up"


async def test_an_answer_to_basic_get_is_left_to_aio_pika() -> None:
    tap, _, received = tapped()
    got: list[Any] = [
        commands.Basic.GetOk(1, False, "", "q", 0),
        ContentHeader(0, 2, Properties()),
        ContentBody(b"it"),
    ]
    sent = b"".join(frame.marshal(each, CHANNEL) for each in got)
    tap.feed_data(sent)
    tap.feed_eof()
    assert received == []
    assert await tap.read() == sent


async def test_what_is_no_amqp_reaches_aiormq_which_says_so() -> None:
    tap, _, _ = tapped()
    tap.feed_data(b"AMQP\0\0\x09\x01")
    tap.feed_eof()
    assert await tap.read() == b"AMQP\0\0\x09\x01"


async def test_while_messages_come_aiormq_sees_that_the_broker_is_alive() -> None:
    tap, _, _ = tapped()
    tap.feed_data(message(1, b"it"))
    tap.feed_data(message(2, b"it"))
    tap.feed_eof()
    assert await tap.read() == frames.AN_HEARTBEAT


async def test_replies_are_written_before_acknowledgements_and_in_one_piece() -> None:
    socket = Socket()
    lane = Lane(CHANNEL, FRAME_MAX, socket)  # type: ignore[arg-type]
    lane.ack(1)
    lane.publish("there", Properties(correlation_id="a"), b"x" * 2 * FRAME_MAX)
    lane.ack(2)
    assert socket.written == []
    await asyncio.sleep(0)
    assert len(socket.written) == 1
    sent = socket.frames()
    assert isinstance(sent[0], commands.Basic.Publish)
    assert (sent[0].routing_key, sent[1].properties.correlation_id) == ("there", "a")
    assert b"".join(each.value for each in sent[2:-1]) == b"x" * 2 * FRAME_MAX
    assert (sent[-1].delivery_tag, sent[-1].multiple) == (2, True)


@pytest.mark.parametrize(
    ("acked", "sent"),
    [
        ([[1]], [(1, True)]),
        ([[1, 2, 3]], [(3, True)]),
        ([[2, 3]], [(2, False), (3, False)]),
        ([[2], [1]], [(2, False), (1, True)]),
        ([[2], [3], [1]], [(2, False), (3, False), (1, True)]),
        ([[2], [1, 3]], [(2, False), (3, True)]),
        ([[3], [1], [2, 4]], [(3, False), (1, True), (4, True)]),
    ],
)
def test_one_frame_acknowledges_all_up_to_it_and_no_tag_is_sent_twice(
    acked: list[list[int]], sent: list[tuple[int, bool]]
) -> None:
    """RabbitMQ closes the channel for a tag that is acknowledged already."""
    acknowledgements = Acknowledgements(CHANNEL)
    written: list[Any] = []
    for tags in acked:
        for tag in tags:
            acknowledgements.add(tag)
        written += [read(each) for each in acknowledgements.take()]
    assert [(each.delivery_tag, each.multiple) for each in written] == sent


def test_what_was_rejected_is_not_acknowledged() -> None:
    acknowledgements = Acknowledgements(CHANNEL)
    acknowledgements.leave_out(2)
    acknowledgements.add(1)
    (only,) = acknowledgements.take()
    assert read(only).delivery_tag == 1
    acknowledgements.add(3)
    (after,) = acknowledgements.take()
    assert read(after).delivery_tag == 3


def test_where_frames_have_no_limit_a_body_is_one_of_them() -> None:
    """RabbitMQ's ``frame_max = 0``."""
    written = frames.publish(
        CHANNEL, "q", Properties(), b"x" * 200_000, mandatory=False, frame_max=0
    )
    assert written.endswith(b"x" * 200_000 + frames.END)
    assert frames.publish(CHANNEL, "q", Properties(), b"", mandatory=False, frame_max=0)
