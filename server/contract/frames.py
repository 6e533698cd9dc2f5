"""The few frames of AMQP 0-9-1 that carry messages and their acknowledgements, as bytes.

    ┌──────┬─────────┬────────┬─────────┬─────┐
    │ kind │ channel │ length │ payload │ 206 │      length: of the payload
    └──────┴─────────┴────────┴─────────┴─────┘
      1 B      2 B       4 B               1 B

A message is three or more of them: a method (``basic.publish``, ``basic.deliver``), a header with
its properties, and its body in pieces. All others are left to pamqp.

Source: https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf, 4.2.3 and 1.8.
"""

import struct

from server.contract.properties import Properties, write_properties

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
"""Kinds of frames."""
START = struct.Struct(">BHL")
END = b"\xce"
OVERHEAD = START.size + len(END)
"""Bytes of a frame beside its payload."""
AN_HEARTBEAT = START.pack(HEARTBEAT, 0, 0) + END

PUBLISH, RETURN, DELIVER, ACK, REJECT, NACK = (
    struct.pack(">HH", 60, number) for number in (40, 50, 60, 80, 90, 120)
)
"""What a method's payload begins with: class basic, and its number."""
_PUBLISH_ON_DEFAULT_EXCHANGE = PUBLISH + b"\0\0" + b"\0"  # reserved, and the empty name
_TAG_AND_FLAGS = struct.Struct(">QB")
_MULTIPLE, _REQUEUE, _MANDATORY = 1, 1, 1


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return START.pack(kind, channel, len(payload)) + payload + END


def publish(
    channel: int,
    queue: str,
    properties: Properties,
    body: bytes,
    *,
    mandatory: bool,
    frame_max: int,
) -> bytes:
    """A message for ``queue``, by way of the default exchange.

    ``frame_max`` is what the connection has agreed on: the largest frame, in bytes; 0 is without
    limit. Raises ``ValueError`` for properties that cannot be written.
    """
    name = queue.encode()
    flags = bytes([_MANDATORY if mandatory else 0])
    method = _PUBLISH_ON_DEFAULT_EXCHANGE + bytes([len(name)]) + name + flags
    header = write_properties(len(body), properties)
    largest = frame_max - OVERHEAD if frame_max else len(body) or 1
    pieces = [body[at : at + largest] for at in range(0, len(body), largest)]
    return b"".join(
        [
            frame(METHOD, channel, method),
            frame(HEADER, channel, header),
            *(frame(BODY, channel, piece) for piece in pieces),
        ]
    )


def acknowledge(channel: int, tag: int, *, multiple: bool) -> bytes:
    """``multiple``: all deliveries up to this one that are not acknowledged yet."""
    return frame(METHOD, channel, ACK + _TAG_AND_FLAGS.pack(tag, _MULTIPLE if multiple else 0))


def reject(channel: int, tag: int, *, requeue: bool) -> bytes:
    return frame(METHOD, channel, REJECT + _TAG_AND_FLAGS.pack(tag, _REQUEUE if requeue else 0))


def delivery(payload: bytes) -> tuple[int, bool]:
    """Of ``basic.deliver``: its tag, and whether it was delivered before."""
    at = len(DELIVER) + 1 + payload[len(DELIVER)]  # the consumer's name stands before
    tag, redelivered = _TAG_AND_FLAGS.unpack_from(payload, at)
    return tag, bool(redelivered)


def confirm(payload: bytes) -> tuple[int, bool]:
    """Of ``basic.ack`` and ``basic.nack``: the tag, and whether all before it are meant, too."""
    tag, flags = _TAG_AND_FLAGS.unpack_from(payload, len(ACK))
    return tag, bool(flags & _MULTIPLE)
