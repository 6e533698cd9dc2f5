"""Messages whose properties cannot be decoded are received all the same.

AMQP lets any bytes pass as a text, and any 64 bits as a time. pamqp refuses what is not UTF-8, or
no date; aiormq then takes the whole connection for broken, and everything delivered over it comes
again. One such message, which any client may send, would cost everyone a reconnect for each
delivery of it. So it arrives without its properties instead, and is refused as malformed like any
other.

Importing this module changes how pamqp reads, in this process: aiormq offers no way to hand in a
reader of one's own.
"""

from pamqp import commands as spec
from pamqp.header import ContentHeader

from server.contract.headers import UNDECODABLE

_FIXED = 12
"""Bytes before the properties: class, weight, and the size of the body."""

_strict = ContentHeader.unmarshal


def _tolerant(self: ContentHeader, data: bytes) -> None:
    try:
        _strict(self, data)
        if self.properties.delivery_mode not in (None, 1, 2):  # any byte passes; aio-pika knows two
            self.properties.delivery_mode = None
    except Exception:  # as many kinds as there are types of values
        self.properties = spec.Basic.Properties(headers={UNDECODABLE: data[_FIXED:]})


ContentHeader.unmarshal = _tolerant  # type: ignore[method-assign]
