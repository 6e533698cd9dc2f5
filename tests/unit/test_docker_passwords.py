"""The lab on Docker has the users of the private one, and no password that can be guessed."""

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from labkit.services.environment import read_env
from labkit.services.node import CLUSTERED
from labkit.services.permissions import USERS, definitions, hashed
from server.contract import brokers
from tests.support import ROOT

DOCKER = ROOT / "docker"
COMPOSE = {
    name: (ROOT / name).read_text()
    for name in sorted(path.name for path in ROOT.glob("docker-compose*.yml"))
}
BROKER = "amqps://{}@rabbitmq:5671/?cafile=/certificates/ca.pem"
NO_SECRET = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}


def make(folder: Path, **given: str) -> dict[str, str]:
    """What the service `secrets` does; the addresses that it writes for a notebook."""
    given = {"BROKER": BROKER, "API_KEY": "", "JUPYTER_TOKEN": ""} | given
    command = [sys.executable, str(DOCKER / "passwords.py"), str(folder)]
    subprocess.run(command, check=True, env=NO_SECRET | given, cwd="/")
    return read_env(folder / "lab.env")


def password(url: str) -> str:
    return urlsplit(url).password or ""


def test_users_and_permissions_are_those_of_labkit(tmp_path: Path) -> None:
    addresses = make(tmp_path)
    there: dict[str, Any] = json.loads((tmp_path / "definitions.json").read_text())
    ours = definitions({user.name: "" for user in USERS})
    assert (there["permissions"], there["vhosts"]) == (ours["permissions"], ours["vhosts"])
    for user, known in zip(USERS, there["users"], strict=True):
        salt = base64.b64decode(known["password_hash"])[:4]
        assert known["password_hash"] == hashed(password(addresses[user.url]), salt)
        assert (known["name"], known["tags"]) == (user.name, user.tags)
        assert urlsplit(addresses[user.url]).username == user.name
        assert addresses[user.url].endswith("@rabbitmq:5671/?cafile=/certificates/ca.pem")


def test_passwords_are_random_and_stay(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    first = make(tmp_path / "one")
    again = make(tmp_path / "one")
    (tmp_path / "two").mkdir()
    other = make(tmp_path / "two")
    assert first == again
    secret = {"AMQP_URL", "SERVER_AMQP_URL", "ADMIN_AMQP_URL", "MANAGEMENT_URL", "DATABASE_URL"}
    for name in secret:
        assert re.fullmatch("[0-9a-f]{32}", password(first[name])), name
        assert password(first[name]) != password(other[name])
    for name in ("JUPYTER_TOKEN", "API_KEY"):
        assert first[name] != other[name]
        assert make(tmp_path / "one", **{name: "mine"})[name] == "mine"


def test_each_service_finds_what_it_needs_and_the_worker_nothing_more(tmp_path: Path) -> None:
    addresses = make(tmp_path)
    for kind, names in {
        "server": {"AMQP_URL", "DATABASE_URL", "API_KEY"},
        "lab": set(addresses),
    }.items():
        command = ["sh", str(DOCKER / "entrypoint.sh"), kind, "env"]
        environment = NO_SECRET | {"SECRETS": str(tmp_path)}
        shown = subprocess.check_output(command, env=environment, text=True)
        values = dict(line.split("=", 1) for line in shown.splitlines())
        assert values.keys() - environment.keys() - {"PWD", "_", "SHLVL", "OLDPWD"} == names
    assert (tmp_path / "postgres").read_text() == password(addresses["DATABASE_URL"])
    basic = base64.b64decode((tmp_path / "authorization").read_text().removeprefix("Basic "))
    assert basic.decode() == f"lab:{password(addresses['MANAGEMENT_URL'])}"


@pytest.mark.parametrize("name", COMPOSE)
def test_no_password_is_written_down(name: str) -> None:
    text = COMPOSE[name]
    assert not re.search(r"://\w+:\w+@", text)
    assert not re.search(r"(PASSWORD|TOKEN|KEY): *(\w|\$\{\w+:-\w)", text)
    assert not re.search(r"Basic \w", text)
    assert "guest" not in text


@pytest.mark.parametrize("name", COMPOSE)
def test_every_port_is_on_loopback(name: str) -> None:
    published = re.findall(r"^ +- *(\S*\$\{\w*PORT\S*)", COMPOSE[name], re.MULTILINE)
    assert bool(published) == ("ports:" in COMPOSE[name])
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert "5432" not in "".join(published)


def test_in_a_cluster_every_address_names_the_three_nodes_that_join_each_other(
    tmp_path: Path,
) -> None:
    services = yaml.safe_load(COMPOSE["docker-compose.cluster.yml"])["services"]
    nodes = [name for name in services if name.startswith("rabbitmq")]
    addresses = make(tmp_path, **services["secrets"]["environment"])
    for name in (*(user.url for user in USERS), "MANAGEMENT_URL"):
        each = [urlsplit(address) for address in brokers.each(addresses[name])]
        assert [address.hostname for address in each] == nodes
        assert len({address.password for address in each}) == 1
        assert "{" not in addresses[name]
    joined = (DOCKER / "cluster.conf").read_text()
    assert re.findall(r"= rabbit@(\S+)", joined) == nodes
    assert all(line in joined for line in CLUSTERED.splitlines())
    assert services["server"]["environment"]["CLUSTERED"]
    assert len((tmp_path / "cookie").read_text()) == 32


def test_no_node_of_a_cluster_waits_for_another() -> None:
    """RabbitMQ 4.0 begins a cluster once two of its nodes are there: they would wait for ever."""
    services = yaml.safe_load(COMPOSE["docker-compose.cluster.yml"])["services"]
    nodes = {name: each for name, each in services.items() if name.startswith("rabbitmq")}
    assert len(nodes) == 3
    for node in nodes.values():
        assert nodes.keys().isdisjoint(node.get("depends_on", {}))
