"""The first messages of a quorum queue as its leader has them: none is taken, so none is counted.

AMQP has no way of looking. Whoever takes a message and gives it back has had a delivery, and a
quorum queue counts those: before RabbitMQ 4.3 each, and one more than the limit sends the message
to the dead letters. A queue without a limit puts it at the end, one with a limit behind the others
that came back. So the leader itself is asked, as ``rabbitmq-queues peek`` does
(``rabbit_quorum_queue:peek`` in the broker's source, which shows 64 bytes of a body).
"""

import asyncio
from base64 import b64decode
from typing import cast

from aiormq.abc import AbstractChannel, DeliveredMessage
from pamqp import commands as spec
from pamqp.header import ContentHeader

from labkit.services import Console
from labkit.services.console import binary

COUNT = "x-delivery-count"

PROGRAM = """\
{{ok, Queue}} = rabbit_amqqueue:lookup(rabbit_misc:r({vhost}, queue, {queue})),
Read = fun
    (Old) when element(1, Old) =:= basic_message ->
        {{element(4, element(2, Old)), element(3, Old), element(4, Old)}};
    (New) ->
        Amqp = mc:prepare(read, mc:convert(mc_amqpl, New)),
        {{mc:exchange(New), mc:routing_keys(New), mc:protocol_state(Amqp)}}
end,
Number = fun(Name, Header) when is_map(Header) -> maps:get(Name, Header, 0); (_, _) -> 0 end,
Print = fun(Header, Message) ->
    {{Exchange, [Key | _], Content}} = Read(Message),
    Whole = rabbit_binary_generator:ensure_content_encoded(Content, rabbit_framing_amqp_0_9_1),
    Body = iolist_to_binary(lists:reverse(element(6, Whole))),
    Parts = [base64:encode(Part) || Part <- [Exchange, Key, element(4, Whole), Body]],
    Counts = [Number(Name, Header) || Name <- [delivery_count, acquired_count]],
    io:put_chars([lists:join($ , [integer_to_list(Count) || Count <- Counts]),
                  [[$ , $=, Part] || Part <- Parts], $\\n])
end,
Look = fun
    Look(Position) when Position =< {count} ->
        case ra:aux_command(amqqueue:get_pid(Queue), {{peek, Position}}) of
            {{ok, {{Header, Message}}}} -> Print(Header, Message), Look(Position + 1);
            {{error, no_message_at_pos}} -> none
        end;
    Look(_) -> enough
end,
Look(1)"""
"""For RabbitMQ 3.10 and all later ones, which hold a message in another form."""


async def first(
    console: Console, vhost: str, queue: str, count: int, *, returns_count: bool
) -> list[DeliveredMessage]:
    """Up to ``count`` messages that are ready, one after the other: while somebody takes some, one
    may be left out. Asking for the n-th costs the queue n steps.

    Their ``x-delivery-count`` is what counts towards the queue's limit: whether that is every time
    that they came back is up to the version. Raises ``services.ConsoleError``.
    """
    program = PROGRAM.format(vhost=binary(vhost), queue=binary(queue), count=count)
    printed = await asyncio.to_thread(console.run, program)
    return [_message(line, returns_count) for line in printed.splitlines()]


def _message(line: str, returns_count: bool) -> DeliveredMessage:
    counts, parts = line.split(" ")[:2], line.split(" ")[2:]
    exchange, key, properties, body = (b64decode(part[1:]) for part in parts)
    failures, returns = map(int, counts)
    delivery = spec.Basic.GetOk(
        delivery_tag=0,  # of no channel: there is nothing to acknowledge
        redelivered=bool(failures or returns),
        exchange=exchange.decode(errors="replace"),
        routing_key=key.decode(errors="replace"),
    )
    header = ContentHeader(0, len(body), _properties(properties))
    # Before 4.0 there is one count of both, and no other.
    counted = max(failures, returns) if returns_count else failures
    header.properties.headers = (header.properties.headers or {}) | {COUNT: counted}
    return DeliveredMessage(delivery, header, body, cast(AbstractChannel, None))


def _properties(encoded: bytes) -> spec.Basic.Properties:
    """As ``server.contract.connection`` reads them: what cannot be decoded is there as its bytes."""
    header = ContentHeader()
    header.unmarshal(bytes(12) + encoded)
    return header.properties
