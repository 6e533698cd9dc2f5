"""The broker on Docker has the same users as the private one."""

import base64
import json
import re
from typing import Any

import pytest

from labkit.permissions import USERS, User, definitions, hashed
from tests.support import HOME

DOCKER: dict[str, Any] = json.loads((HOME / "docker" / "definitions.json").read_text())
OURS = definitions({user.name: user.name for user in USERS})


def test_permissions_are_those_of_labkit() -> None:
    assert DOCKER["permissions"] == OURS["permissions"]
    assert DOCKER["vhosts"] == OURS["vhosts"]


@pytest.mark.parametrize("user", USERS, ids=lambda user: user.name)
def test_each_user_has_its_name_as_password(user: User) -> None:
    (there,) = [each for each in DOCKER["users"] if each["name"] == user.name]
    salt = base64.b64decode(there["password_hash"])[:4]
    assert there["password_hash"] == hashed(user.name, salt)
    assert there["tags"] == user.tags


@pytest.mark.parametrize("name", ["docker-compose.yml", "docker-compose.tls.yml"])
def test_programs_log_in_as_these_users(name: str) -> None:
    text = (HOME / name).read_text()
    logins = re.findall(r"(\w+): amqps?://(\w+):(\w+)@", text)
    assert {user for _, user, _ in logins} == {user.name for user in USERS}
    assert all(user == password for _, user, password in logins)
    assert "guest" not in text
