"""Whose word is taken for our own headers: the attempt, the replays, the caller …

Anybody may write a header. But RabbitMQ checks the property ``user_id``: a message whose
``user_id`` is not the user of its connection is refused
(https://www.rabbitmq.com/docs/validated-user-id). So the server and the operator's tools sign with
it all that they publish, and what is not signed by one of them says nothing about itself.

On a broker where everybody is the same user this tells nothing: give the server one of its own.
"""

from urllib.parse import unquote, urlsplit

from server.contract.brokers import first

TRUSTED_USERS = ("server", "lab")
"""The server, and the operator. Everyone also trusts their own user, whatever its name."""


def user_of(amqp_url: str) -> str:
    """The broker's user whom this URL logs in."""
    return unquote(urlsplit(first(amqp_url)).username or "guest")


def is_vouched(user_id: str | None, own_user: str) -> bool:
    """Whether the broker vouches that a message with this ``user_id`` is one of ours."""
    return user_id is not None and user_id in (*TRUSTED_USERS, own_user)
