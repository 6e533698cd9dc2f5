"""Where an operator works: one virtual host, with the database that belongs to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from labkit.errors import NoManagement
from labkit.services.broker_tools import BrokerTools
from server.contract import brokers


@dataclass(frozen=True)
class Place:
    """The addresses of one virtual host, for the broker's user who may do everything in it."""

    vhost: str
    amqp_url: str = field(repr=False)
    database_url: str = field(repr=False)
    api_key: str = field(repr=False)
    management: str | None = field(default=None, repr=False)
    tools: BrokerTools | None = field(default=None, repr=False)

    @classmethod
    def of(cls, environment: Mapping[str, str], vhost: str | None = None) -> Self:
        """That of the running lab; or another one, such as ``lab-06``: a notebook's own.

        A notebook's database is called like its virtual host.
        """
        amqp_url, database_url = environment["ADMIN_AMQP_URL"], environment["DATABASE_URL"]
        if vhost is not None:
            amqp_url, database_url = with_path(amqp_url, vhost), with_path(database_url, vhost)
        return cls(
            vhost_of(amqp_url),
            amqp_url,
            database_url,
            environment["API_KEY"],
            environment.get("MANAGEMENT_URL"),
            BrokerTools.of(environment, amqp_url),
        )

    @property
    def management_url(self) -> str:
        """Raises ``NoManagement`` where the services are the user's own, and MANAGEMENT_URL is not
        set.
        """
        if self.management is None:
            raise NoManagement
        return self.management


def vhost_of(amqp_url: str) -> str:
    return unquote(urlsplit(brokers.first(amqp_url)).path[1:]) or "/"


def with_path(url: str, path: str) -> str:
    """The same server's virtual host, or database, of this name; of each, where there are more."""
    name = f"/{quote(path, safe='')}"
    return ",".join(urlunsplit(urlsplit(one)._replace(path=name)) for one in brokers.each(url))
