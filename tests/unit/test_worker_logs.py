"""What a worker logged is found again, also when its log was set aside in between."""

import json
import sys
import time
from pathlib import Path

from labkit.ledger.evidence import LogLine
from labkit.ledger.worker_logs import lines, marks
from labkit.services import logs
from labkit.services.process import start


def logged(request_id: str, outcome: str = "ok") -> str:
    entry = {"id": request_id, "attempt": 1, "outcome": outcome, "event": "request"}
    return json.dumps(entry) + "\n"


def test_only_what_was_logged_since_is_told(tmp_path: Path) -> None:
    log = tmp_path / "worker-1.log"
    log.write_text('{"event": "ready"}\n' + logged("before"))
    then = marks([log])
    with log.open("a") as file:
        file.write(logged("after") + '{"event": "draining"}\n' + logged("cut")[:-9])
    assert list(lines([log], then)) == [LogLine("after", 1, "ok")]


def test_a_log_that_was_set_aside_is_read_to_its_end(tmp_path: Path) -> None:
    log = tmp_path / "worker-1.log"
    log.write_text('{"event": "ready", "time": 1}\n' + logged("before"))
    then = marks([log])
    with log.open("a") as file:
        file.write(logged("after"))
    log.replace(log.with_suffix(".old.log"))
    log.write_text('{"event": "ready", "time": 2}\n' + logged("anew"))
    assert [line.id for line in lines([log], then)] == ["after", "anew"]


def test_a_log_that_was_empty_or_not_there_is_read_from_its_start(tmp_path: Path) -> None:
    logs = [tmp_path / "worker-1.log", tmp_path / "worker-2.log"]
    logs[0].touch()
    then = marks(logs)
    for log in logs:
        log.write_text(logged(log.stem))
    assert [line.id for line in lines(logs, then)] == ["worker-1", "worker-2"]


BROKEN = [b'{"event": "req', b"\xff\xfe\n", b"Traceback (most recent call last):\n", b"[" * 9999]


def test_a_line_that_says_nothing_hides_none_of_the_others(tmp_path: Path) -> None:
    log = tmp_path / "worker-1.log"
    for broken in BROKEN:
        log.write_bytes(logged("before").encode() + broken.rstrip() + b"\n" + b'"text"\n')
        with log.open("a") as file:
            file.write(logged("after"))
        assert [event["id"] for event in logs.events([log])] == ["before", "after"]


def test_a_process_begins_a_new_line_behind_one_that_was_cut(tmp_path: Path) -> None:
    log = tmp_path / "worker-1.log"
    log.write_text(logged("cut")[:-9])
    say = f"print({logged('next').rstrip()!r}, flush=True); import time; time.sleep(60)"
    process = start("one", [sys.executable, "-c", say], run_dir=tmp_path / "run", log=log)
    deadline = time.monotonic() + 10
    while not list(logs.events([log])):
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)
    process.kill()
    assert [event["id"] for event in logs.events([log])] == ["next"]
