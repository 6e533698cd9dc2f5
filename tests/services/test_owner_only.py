"""What the services keep and log is for its owner only: requests hold keys, and so do queues."""

import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import pytest
from pamqp.common import FieldTable

from labkit.services import ownership, stopping
from labkit.services.files import tighten
from labkit.services.home import Home
from labkit.services.private import private_services


@pytest.fixture
def careless() -> Iterator[None]:
    """A user whose files are for everybody to read, and to write."""
    before = os.umask(0)
    yield
    os.umask(before)


def open_to_others(folder: Path) -> list[str]:
    """What group or others may do anything with."""
    found = [folder, *folder.rglob("*")]
    return [
        f"{path} {path.lstat().st_mode & 0o777:o}"
        for path in found
        if not path.is_symlink() and path.lstat().st_mode & 0o077
    ]


async def test_no_file_of_a_private_home_is_for_others(tmp_path: Path, careless: None) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    async with private_services(home, durable=False) as urls:
        async with (
            await aio_pika.connect(urls["ADMIN_AMQP_URL"]) as connection,
            connection.channel() as channel,
        ):
            for kind in ("quorum", "classic"):
                arguments: FieldTable = {"x-queue-type": kind}
                queue = await channel.declare_queue(kind, durable=True, arguments=arguments)
                message = aio_pika.Message(b"a key", delivery_mode=2)
                await channel.default_exchange.publish(message, queue.name)
        assert list(home.rglob("*.wal"))
        assert open_to_others(home) == []
        assert open_to_others(ownership.folder(Home(home))) == []


def test_what_an_older_lab_left_open_is_closed(tmp_path: Path, careless: None) -> None:
    log = tmp_path / "home" / "logs" / "rabbitmq.log"
    log.parent.mkdir(parents=True)
    log.touch()
    (log.parent / "link").symlink_to("/etc/hosts")
    (log.parent / "dangling").symlink_to("nowhere")
    assert open_to_others(tmp_path / "home")
    Home(tmp_path / "home").make()
    assert open_to_others(tmp_path / "home") == []
    assert Path("/etc/hosts").stat().st_mode & 0o044


def test_a_folder_that_is_gone_is_no_obstacle(tmp_path: Path) -> None:
    tighten(tmp_path / "nothing here")


def test_data_moves_to_where_its_user_reaches_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for root, who runs PostgreSQL as another user."""
    user = ownership.other_user() or pwd.getpwuid(os.geteuid()).pw_name
    monkeypatch.setattr(ownership, "other_user", lambda: user)
    home = Home(tmp_path / "home")
    old = home.path / stopping.POSTGRESQL / "data" / "PG_VERSION"
    old.parent.mkdir(parents=True)
    old.write_text("15")
    home.make()
    try:
        folder = ownership.folder(home)
        moved = folder / "data" / "PG_VERSION"
        assert (moved.read_text(), moved.owner()) == ("15", user)
        assert ownership.folder(home) == folder == (home.path / stopping.POSTGRESQL).resolve()
        (home.path / stopping.POSTGRESQL).unlink()  # the advice for who wants an empty database
        assert [path.name for path in ownership.folder(home).iterdir()] == [ownership.HOME]
    finally:
        ownership.discard(home)


def test_data_that_is_elsewhere_goes_with_all_homes_of_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership, "ELSEWHERE", tmp_path)
    for number, home in enumerate(["thrown-away/one", "thrown-away/a/two", "kept", "thrown"]):
        (tmp_path / f"{ownership.NAME}{number}" / "data").mkdir(parents=True)
        (tmp_path / f"{ownership.NAME}{number}" / ownership.HOME).write_text(str(tmp_path / home))
    ownership.discard_all(tmp_path / "thrown-away")
    assert [path.name[-1] for path in sorted(tmp_path.iterdir())] == ["2", "3"]
