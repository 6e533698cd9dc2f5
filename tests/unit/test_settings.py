"""Configuration enters once, as a value made from a mapping."""

import pytest

from server.settings import Settings

NEEDED = {"AMQP_URL": "amqp://localhost", "DATABASE_URL": "postgresql://u:secret@localhost/lab"}


def test_the_environment_is_read() -> None:
    settings = Settings.from_env(NEEDED | {"PREFETCH": "7", "RETRY_DELAYS": "0.5, 2"})
    assert (settings.prefetch, settings.retry_delays, settings.max_attempts) == (7, (0.5, 2.0), 3)


def test_an_empty_variable_counts_as_not_set() -> None:
    assert Settings.from_env(NEEDED | {"PREFETCH": " "}).prefetch == 64


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({}, "AMQP_URL"),
        (NEEDED | {"PREFETCH": "many"}, "PREFETCH"),
        (NEEDED | {"PREFETCH": "0"}, "PREFETCH"),
        (NEEDED | {"DATABASE_URL": "mysql://u:secret@localhost/lab"}, "DATABASE_URL"),
        (NEEDED | {"RETRY_DELAYS": "1,x"}, "RETRY_DELAYS"),
        (NEEDED | {"API_KEY": "secret"}, "API_KEY"),
        (NEEDED | {"AMQP_URL": "amqp://server:secret\uff1f@localhost/lab"}, "AMQP_URL"),
        (NEEDED | {"AMQP_URL": "amqp://one, amqp://server:secret@two:port"}, "AMQP_URL"),
        (NEEDED | {"DATABASE_URL": "postgresql://u:secret\uff03@localhost/lab"}, "DATABASE_URL"),
    ],
)
def test_what_is_wrong_is_named_and_no_value_is_shown(environ: dict[str, str], named: str) -> None:
    with pytest.raises(SystemExit) as refusal:
        Settings.from_env(environ)
    assert named in str(refusal.value)
    assert "make up" in str(refusal.value)
    assert "secret" not in str(refusal.value)
