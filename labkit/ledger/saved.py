"""A run's evidence as a file, to be judged again, elsewhere and later."""

import gzip
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from labkit.errors import NoLedger
from labkit.ledger.evidence import Evidence

_FORM = TypeAdapter(Evidence)


def save(evidence: Evidence, path: str | Path) -> Path:
    """As JSON, compressed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(_FORM.dump_json(evidence)))
    return path


def load(path: str | Path) -> Evidence:
    """Raises ``NoLedger`` for what is no saved run."""
    try:
        return _FORM.validate_json(gzip.decompress(Path(path).read_bytes()))
    except (OSError, EOFError, ValidationError) as error:
        raise NoLedger(
            f"{path} is no saved run ({type(error).__name__}): `ledger.save(path)` writes one, "
            "after `await ledger.verdict()`."
        ) from error
