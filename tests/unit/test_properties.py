"""Properties are written and read as pamqp does it, whatever they are."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp.header import ContentHeader

from server.contract.headers import UNDECODABLE
from server.contract.properties import Properties, read_properties, write_properties

TEXT = st.none() | st.text(max_size=60)
VALUES = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=20)
HEADERS = st.none() | st.dictionaries(
    st.text(min_size=1, max_size=20), VALUES | st.lists(VALUES, max_size=3), max_size=4
)
PROPERTIES = st.builds(
    Properties,
    content_type=TEXT,
    content_encoding=st.none() | TEXT,
    headers=HEADERS,
    delivery_mode=st.sampled_from([None, 1, 2]),
    priority=st.none() | st.integers(0, 9),
    correlation_id=TEXT,
    reply_to=TEXT,
    expiration=st.none() | TEXT,
    message_id=TEXT,
    timestamp=st.sampled_from([None, datetime(2026, 11, 27, tzinfo=UTC)]),
    message_type=st.none() | TEXT,
    user_id=TEXT,
    app_id=st.none() | TEXT,
)
OURS = st.builds(
    Properties,
    content_type=TEXT,
    headers=HEADERS,
    delivery_mode=st.sampled_from([None, 1, 2]),
    correlation_id=TEXT,
    reply_to=TEXT,
    message_id=TEXT,
    user_id=TEXT,
)
SIZE = st.integers(0, 2**63)


def read_by_pamqp(payload: bytes) -> tuple[int, Properties]:
    header = ContentHeader()
    header.unmarshal(payload)
    return header.body_size, header.properties


@given(SIZE, OURS | PROPERTIES)
def test_what_is_written_is_what_pamqp_writes(size: int, properties: Properties) -> None:
    assert write_properties(size, properties) == ContentHeader(0, size, properties).marshal()


@given(SIZE, OURS | PROPERTIES)
def test_what_is_read_is_what_pamqp_reads(size: int, properties: Properties) -> None:
    payload = ContentHeader(0, size, properties).marshal()
    assert read_properties(payload) == read_by_pamqp(payload)


@given(OURS, st.integers(0, 200), st.integers(0, 255))
def test_a_byte_that_is_wrong_is_read_as_pamqp_reads_it(
    properties: Properties, at: int, byte: int
) -> None:
    """Whether it can be read at all, and what is left of it."""
    payload = bytearray(ContentHeader(0, 7, properties).marshal())
    payload[12 + at % (len(payload) - 12)] = byte
    try:
        expected = read_by_pamqp(bytes(payload))
    except Exception:
        return
    size, read = read_properties(bytes(payload))
    if (read.headers or {}).keys() != {UNDECODABLE}:
        assert (size, read) == expected


@pytest.mark.parametrize("name", ["correlation_id", "reply_to", "message_id", "content_type"])
def test_a_text_that_is_too_long_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="256"):
        write_properties(0, Properties(**{name: "ж" * 128}))  # type: ignore[arg-type]
