"""Who may do what on the broker: three users, and the only place that says their permissions.

RabbitMQ asks three questions, each answered by a regular expression over the names of queues and
exchanges (https://www.rabbitmq.com/docs/access-control):

    configure   declare and delete it
    write       publish to the exchange, bind the queue
    read        consume, get and purge the queue

Every publish of this system goes through the default exchange, whose name here is `amq.default`.
It leads to all queues by name, and cannot be opened for some of them only. So a user who may
publish a request may put a message into any queue whose name they know: the server takes nothing
that it finds in a queue on trust. What they never may is to take one out.

Only the standard library: `docker/passwords.py` runs on a Python without packages.
"""

import base64
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class Rights:
    """What one user may do in one virtual host."""

    configure: str
    write: str
    read: str

    def as_json(self) -> dict[str, str]:
        """As the management API, and a definitions file, spell them."""
        return asdict(self)


DEFAULT_EXCHANGE = r"^amq\.default$"
REPLY_QUEUES = r"^amq\.gen-.*$"
"""Named by the broker, which lets no client choose such a name; 128 random bits each."""

EVERYTHING = Rights(configure=".*", write=".*", read=".*")
"""For inspection, for raw lessons, and for the operator of the dead letter queue."""

_DECLARED = r"^api\.(requests|retry\.\d+ms|dlq|dlq\.raw|dlq\.unreadable)$"

SERVER = Rights(
    configure=_DECLARED,
    write=DEFAULT_EXCHANGE,
    # To declare a queue that dead-letters, one has to be allowed to read it: all of ours do, so
    # that nothing is dropped. Of the dead letters no worker reads any but the raw ones.
    read=_DECLARED,
)
"""For workers: what `server/contract/topology.py` declares, and no more."""

CLIENT = Rights(configure=REPLY_QUEUES, write=DEFAULT_EXCHANGE, read=REPLY_QUEUES)
"""For clients that send requests: a reply queue of their own, and publishing."""

ADMINISTRATOR = "administrator"
"""The tag that opens the management API. Only the lab's own user has one."""


@dataclass(frozen=True)
class User:
    """A user of the broker. `url` is the name under which programs find how to log in as them."""

    name: str
    url: str
    rights: Rights
    tags: str = ""


USERS = (
    User("client", "AMQP_URL", CLIENT),
    User("server", "SERVER_AMQP_URL", SERVER),
    User("lab", "ADMIN_AMQP_URL", EVERYTHING, ADMINISTRATOR),
)
"""From the least rights to the most."""


def granted(environment: Mapping[str, str]) -> dict[str, Rights]:
    """What each user that these URLs name is to be allowed in a virtual host.

    A broker of one's own may have one user for everything, who then gets the most that is needed.
    """
    logins = {user: urlsplit(environment[user.url]).username for user in USERS}
    return {unquote(login or "guest"): user.rights for user, login in logins.items()}


def definitions(passwords: Mapping[str, str], vhost: str = "/") -> dict[str, Any]:
    """The three users and their permissions, in the form that RabbitMQ imports.

    Importing it again changes nothing, or what has changed: a password, a permission.
    """
    return {
        "vhosts": [{"name": vhost}],
        "users": [
            {"name": user.name, "password_hash": hashed(passwords[user.name]), "tags": user.tags}
            for user in USERS
        ],
        "permissions": [
            {"user": user.name, "vhost": vhost} | user.rights.as_json() for user in USERS
        ],
    }


def hashed(password: str, salt: bytes | None = None) -> str:
    """As RabbitMQ stores it (https://www.rabbitmq.com/docs/passwords#computing-password-hash)."""
    salt = secrets.token_bytes(4) if salt is None else salt
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
