"""Who a process is, who belongs to it, and as whom to start one: /proc on Linux, else `ps`."""

import contextlib
import functools
import os
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROC = Path("/proc")


def started(pid: int) -> str | None:
    """A text that tells this process from every other that has, had or will have its pid.

    None if there is no such process, or only its exit status is left (a zombie).
    """
    if not _has_proc():
        return _ps("-o", "lstart=", "-p", str(pid)) or None
    fields = _stat(pid)
    if fields is None or fields[0] in "ZX":
        return None
    return f"{_boot()}:{fields[19]}"  # field 22 of proc(5): clock ticks since boot


def session(sid: int) -> list[int]:
    """The pids of all live processes whose session is `sid`."""
    if not _has_proc():
        rows = [line.split() for line in _ps("-axo", "pid=,pgid=,stat=").splitlines()]
        return [int(pid) for pid, group, state in rows if int(group) == sid and state[0] != "Z"]
    pids = [int(entry) for entry in os.listdir(PROC) if entry.isdigit()]
    return [
        pid
        for pid in pids
        if (fields := _stat(pid)) and fields[3] == str(sid) and fields[0] not in "ZX"
    ]


def descendants(pid: int) -> list[int]:
    """The pids of its children, and of theirs. PostgreSQL's have sessions of their own."""
    parents = _parents()
    found = [pid]
    for known in found:  # it grows meanwhile
        found += [child for child, parent in parents.items() if parent == known]
    return found[1:]


def _parents() -> dict[int, int]:
    """pid -> the pid of its parent, of all processes there are."""
    if not _has_proc():
        rows = [line.split() for line in _ps("-axo", "pid=,ppid=").splitlines()]
        return {int(pid): int(parent) for pid, parent in rows}
    pids = [int(entry) for entry in os.listdir(PROC) if entry.isdigit()]
    return {pid: int(fields[1]) for pid in pids if (fields := _stat(pid))}


def command(pid: int) -> str:
    """The name of the program that a pid runs; empty if there is none."""
    if not _has_proc():
        return _ps("-o", "comm=", "-p", str(pid))
    try:
        return (PROC / str(pid) / "comm").read_text().strip()
    except OSError:
        return ""


def cpu_seconds(pid: int) -> float | None:
    """The processor time that a process has used since it started; None if there is none."""
    if not _has_proc():
        return seconds(_ps("-o", "time=", "-p", str(pid)))
    fields = _stat(pid)
    if fields is None:
        return None
    ticks = int(fields[11]) + int(fields[12])  # fields 14 and 15 of proc(5): utime and stime
    return ticks / os.sysconf("SC_CLK_TCK")


def seconds(text: str) -> float | None:
    """What `ps` prints as a time: [[days-]hours:]minutes:seconds."""
    parts = [float(part) for part in text.replace("-", ":").split(":") if part]
    units = (1, 60, 3600, 86400)
    return sum(p * unit for p, unit in zip(reversed(parts), units, strict=False)) if parts else None


def listener(port: int) -> int | None:
    """The pid of a process that listens on this TCP port; None if it is another user's, or none."""
    if not _has_proc():
        done = subprocess.run(
            ["lsof", "-t", "-n", "-P", "-s", "TCP:LISTEN", "-i", f"TCP:{port}"],
            capture_output=True,
            text=True,
            check=False,
        )
        return int(done.stdout.split()[0]) if done.stdout.strip() else None
    sockets = {f"socket:[{inode}]" for inode in _listening(port)}
    for descriptor in PROC.glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            if os.readlink(descriptor) in sockets:
                return int(descriptor.parts[2])
    return None


def _listening(port: int) -> Iterator[str]:
    """The inodes of the sockets that listen on this port: proc_pid_net(5)."""
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for row in (PROC / "net" / table).read_text().splitlines()[1:]:
                fields = row.split()
                if fields[1].endswith(f":{port:04X}") and fields[3] == "0A":
                    yield fields[9]


def run_as(user: str | None) -> dict[str, Any]:
    """Arguments for `subprocess` that run a program as `user`, without root's groups."""
    if user is None:
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


@functools.cache
def _has_proc() -> bool:
    return (PROC / "self" / "stat").exists()


@functools.cache
def _boot() -> str:
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _stat(pid: int) -> list[str] | None:
    """The fields from the third (state) on; the second, the name, may hold blanks and brackets."""
    try:
        text = (PROC / str(pid) / "stat").read_bytes().decode("ascii", "replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _ps(*arguments: str) -> str:
    done = subprocess.run(["ps", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()
