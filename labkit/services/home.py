"""Where a set of services keeps its things, and what it remembers from one start to the next."""

import secrets
import threading
from dataclasses import dataclass, field
from pathlib import Path

from labkit.services.files import make_folder, read_json, tighten, write_json


@dataclass(frozen=True)
class Tls:
    """Files in PEM: what a broker that is spoken to over TLS only has to show."""

    authority: Path
    """The certificate of the CA, which clients trust."""
    certificate: Path
    key: Path


@dataclass(frozen=True)
class Home:
    """A folder with the data, logs, records and secrets of one set of services."""

    path: Path
    durable: bool = True
    """False for services that are thrown away after use: they may forget everything in a crash."""
    tls: Tls | None = None
    """Set, the broker opens no plain port."""
    brokers: int = 1
    """How many nodes its broker has: more than one are a cluster."""
    settled: bool = False
    """Others know the addresses of its services by now: no service may move to another port."""
    _lock: threading.Lock = field(default_factory=threading.Lock, compare=False, repr=False)

    @property
    def run_dir(self) -> Path:
        return self.path / "run"

    @property
    def env_file(self) -> Path:
        return self.path / "lab.env"

    @property
    def memory(self) -> Path:
        """Ports and passwords, readable by their owner only."""
        return self.path / "settings.json"

    def log(self, name: str) -> Path:
        return self.path / "logs" / f"{name}.log"

    def make(self) -> None:
        """The folder is there, and all in it is for its owner only, whatever made it."""
        make_folder(self.path)
        tighten(self.path)

    def recall(self, key: str) -> str | None:
        """What was remembered under `key`."""
        value = read_json(self.memory).get(key)
        return str(value) if value is not None else None

    def remember(self, key: str, value: str | int) -> None:
        """Safe from several threads of one process; processes take turns by the lab's lock."""
        with self._lock:
            write_json(self.memory, read_json(self.memory) | {key: str(value)})

    def port(self, name: str) -> int | None:
        """The port that this service had last time."""
        value = self.recall(f"{name} port")
        return int(value) if value and value.isdigit() else None

    def password(self, name: str) -> str:
        """Made at the first start; letters and digits, so that it needs no quoting anywhere."""
        key = f"{name} password"
        if self.recall(key) is None:
            self.remember(key, secrets.token_hex(16))
        return self.recall(key) or ""
