"""Where the lab says that it listens."""

import subprocess
from pathlib import Path

import pytest

from labkit.services import environment, ports
from labkit.services.environment import api_key, lab_environment
from labkit.services.errors import LabNotRunning, ServiceError
from labkit.services.home import Home

VALUES = {
    "AMQP_URL": "amqp://lab:secret@127.0.0.1:5672",
    "JUPYTER_URL": "http://127.0.0.1:8888/lab?token=a&b='c' $HOME",
}


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone's `.lab`, empty."""
    monkeypatch.setattr(environment, "LAB", tmp_path)
    return tmp_path


def test_a_shell_reads_lab_env_as_python_does(tmp_path: Path) -> None:
    path = tmp_path / "lab.env"
    environment.write_env(path, VALUES)
    assert environment.read_env(path) == VALUES
    script = 'set -a; . "$1"; printf %s "$JUPYTER_URL"'
    done = subprocess.run(["sh", "-c", script, "sh", path], capture_output=True, text=True)
    assert done.stdout == VALUES["JUPYTER_URL"]


def test_lab_env_is_for_its_owner_only(tmp_path: Path) -> None:
    environment.write_env(tmp_path / "lab.env", VALUES)
    assert (tmp_path / "lab.env").stat().st_mode & 0o777 == 0o600


def test_services_of_the_users_own_come_first(lab: Path) -> None:
    given = {"AMQP_URL": "amqp://elsewhere", "DATABASE_URL": "postgresql://elsewhere"}
    assert lab_environment(given).items() >= given.items()


@pytest.mark.parametrize("name", ["AMQP_URL", "DATABASE_URL"])
def test_one_service_of_the_users_own_is_not_enough(lab: Path, name: str) -> None:
    with pytest.raises(ServiceError, match=f"{name} is set in the environment"):
        lab_environment({name: "somewhere"})


def test_a_lab_that_was_never_started_is_not_running(lab: Path) -> None:
    with pytest.raises(LabNotRunning, match="make up"):
        lab_environment({})


def test_a_lab_env_left_over_from_before_a_reboot_is_not_believed(lab: Path) -> None:
    amqp = f"amqp://lab:secret@127.0.0.1:{ports.any_free()}"
    environment.write_env(lab / "lab.env", {"AMQP_URL": amqp, "DATABASE_URL": "postgresql://"})
    with pytest.raises(LabNotRunning, match="does not answer"):
        lab_environment({})


def test_a_shell_that_has_loaded_lab_env_still_means_this_lab(lab: Path) -> None:
    loaded = {
        "AMQP_URL": "amqp://of-yesterday",
        "DATABASE_URL": "postgresql://of-yesterday",
        environment.OWN: str(environment.LAB),
    }
    assert environment.given_services(loaded) == {}
    assert environment.given_services(loaded | {environment.OWN: "/another/clone/.lab"})


def test_the_api_key_is_made_once_and_no_one_can_guess_it(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "ROOT", lab)  # its .env
    home, other = Home(lab / "one"), Home(lab / "other")
    key = api_key(home, {})
    assert len(key) == 32
    assert api_key(home, {}) == key != api_key(other, {})
    (lab / ".env").write_text("API_KEY=from .env")
    assert api_key(home, {}) == "from .env"
    assert api_key(home, {"API_KEY": "given"}) == "given"
