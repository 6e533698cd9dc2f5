"""The users of a private broker: their passwords, their addresses, and how they are made."""

from urllib.parse import quote

from server.contract import brokers

from labkit.services import handshake, ports
from labkit.services.environment import BROKER_HOME
from labkit.services.errors import ServiceError
from labkit.services.home import Home
from labkit.services.node import Node
from labkit.services.permissions import USERS, definitions

BORN_WITH = "lab"
"""The user that a node makes by itself when it first starts; it then lets the others in."""


def password(home: Home, user: str = BORN_WITH) -> str:
    return home.password("rabbitmq" if user == BORN_WITH else f"rabbitmq {user}")


def urls(home: Home) -> dict[str, str]:
    """Where the broker lets each user in, and where it lives. No virtual host: every client library
    takes `/` then. Of a cluster each address names all nodes.
    """
    logins = {user.name: f"{user.name}:{password(home, user.name)}" for user in USERS}
    scheme, query = "amqp", ""
    if home.tls is not None:
        scheme, query = "amqps", f"?cafile={quote(str(home.tls.authority))}"
    nodes = Node.all_of(home)

    def amqp(login: str) -> str:
        hosts = [f"{ports.LOOPBACK}:{node.port('amqp')}" for node in nodes]
        return ",".join(f"{scheme}://{login}@{host}{query}" for host in hosts)

    management = ",".join(map(management_url, nodes))
    addresses = {user.url: amqp(logins[user.name]) for user in USERS}
    return addresses | {"MANAGEMENT_URL": management, BROKER_HOME: str(home.path)}


def management_url(node: Node) -> str:
    """Of the node's own management API, for the user who may do everything."""
    login = f"{BORN_WITH}:{password(node.home)}"
    return f"http://{login}@{ports.LOOPBACK}:{node.port('management')}"


async def make(home: Home) -> None:
    """Users, passwords and permissions are what they have to be, whatever they were before.

    One request of some 20 ms, so it is done at each start: data of an older lab gets them, too.
    """
    wanted = definitions({user.name: password(home, user.name) for user in USERS})
    try:
        management = brokers.first(urls(home)["MANAGEMENT_URL"])
        await handshake.ask(f"{management}/api/definitions", body=wanted)
    except OSError as error:
        raise ServiceError(f"RabbitMQ does not take the lab's users: {error}") from error
