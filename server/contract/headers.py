"""Every header of a message that means something to us. No other module spells one.

Those that begin with ``x-``, and ``traceparent``, travel on requests and dead letters, the others
on replies.
"""

from typing import Final

ATTEMPT = "x-attempt"
"""Which attempt this is, from 1. Ours, because a broker from 4.0 on ignores a client's x-death."""
WAITING_SINCE = "x-waiting-since"
"""Milliseconds since 1970: when the request was first set aside because many were waiting already.
That is no attempt."""
REDELIVERED = "x-redelivered"
"""True on a copy of a request that had been delivered before, and may have been applied."""
FAILURES = "x-failures"
"""One table for each attempt that failed: attempt, code, error, at (UTC, ISO 8601)."""
DEADLINE = "x-deadline"
"""Milliseconds since 1970, UTC: from then on the sender no longer waits for the reply. Set by the
client.
"""
SENT_AT = "x-sent-at"
"""Milliseconds since 1970, UTC: when its sender first sent the request. Set by the client, if at
all; only metrics look at it.
"""
TRACEPARENT = "traceparent"
"""W3C trace context: the request's trace, and the span that sent it. Who forwards it keeps it."""
CALLER = "x-caller"
"""Who sent a request that is set aside, in a form that is no secret. Only the server writes it."""
ON_BEHALF_OF = "x-on-behalf-of"
"""An ``x-caller``: a librarian sends this request for that user, out of the dead letter queue."""
REPLAYS = "x-replays"
"""How often the request was sent again out of the dead letter queue. It has no deadline then."""
EDITED_FROM = "x-edited-from"
"""The id of the dead letter that this request was made from, with other data."""
ASKED_AS = "x-asked-as"
"""The ``correlation_id`` of a dead letter's sender. What is sent again has one of its own."""
REPLAYED = "replayed"
"""True on a reply whose outcome was reached earlier, by a request with the same key or id."""

SIGNED = frozenset(
    {
        ATTEMPT,
        WAITING_SINCE,
        REDELIVERED,
        FAILURES,
        CALLER,
        ON_BEHALF_OF,
        REPLAYS,
        EDITED_FROM,
        ASKED_AS,
    }
)
"""What only the server and the operator may say of a request: believed where the broker vouches
for the sender (``vouching``), and taken off everywhere else."""

REASON = "x-reason"
"""Of a dead letter: why it is one. The code of an error, or the broker's own word."""
ERROR = "x-error"
"""Of a dead letter: the error, for people."""
ORIGIN = "x-origin"
"""Of a dead letter: the queue that it was taken from."""
PARKED_AT = "x-parked-at"
"""Of a dead letter: when it became one, UTC, ISO 8601."""

PARKED = "parked"
"""True on a refusal whose request is in the dead letter queue now."""

UNDECODABLE: Final = "x-undecodable"
"""The only header of a message whose properties cannot be decoded: they, as the bytes they are."""
