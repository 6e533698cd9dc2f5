"""The users of a private broker: their passwords, their addresses, and how they are made."""

from urllib.parse import quote

from labkit.services import handshake, ports
from labkit.services.environment import BROKER_HOME
from labkit.services.errors import ServiceError
from labkit.services.home import Home
from labkit.services.permissions import USERS, definitions

BORN_WITH = "lab"
"""The user that a node makes by itself when it first starts; it then lets the others in."""


def password(home: Home, user: str = BORN_WITH) -> str:
    return home.password("rabbitmq" if user == BORN_WITH else f"rabbitmq {user}")


def urls(home: Home) -> dict[str, str]:
    """Where the broker lets each user in, and where it lives. No virtual host: every client library
    takes `/` then.
    """
    logins = {user.name: f"{user.name}:{password(home, user.name)}" for user in USERS}
    scheme, query = "amqp", ""
    if home.tls is not None:
        scheme, query = "amqps", f"?cafile={quote(str(home.tls.authority))}"
    where = f"{ports.LOOPBACK}:{home.port('amqp')}{query}"
    addresses = {user.url: f"{scheme}://{logins[user.name]}@{where}" for user in USERS}
    management = f"http://{logins[BORN_WITH]}@{ports.LOOPBACK}:{home.port('management')}"
    return addresses | {"MANAGEMENT_URL": management, BROKER_HOME: str(home.path)}


async def make(home: Home) -> None:
    """Users, passwords and permissions are what they have to be, whatever they were before.

    One request of some 20 ms, so it is done at each start: data of an older lab gets them, too.
    """
    wanted = definitions({user.name: password(home, user.name) for user in USERS})
    try:
        await handshake.ask(f"{urls(home)['MANAGEMENT_URL']}/api/definitions", body=wanted)
    except OSError as error:
        raise ServiceError(f"RabbitMQ does not take the lab's users: {error}") from error
