"""Who is calling, once that is known."""

from dataclasses import dataclass
from enum import StrEnum

from server.errors import Forbidden


class Role(StrEnum):
    """What a user may do. Readers read; librarians write, too."""

    READER = "reader"
    LIBRARIAN = "librarian"


@dataclass(frozen=True)
class Principal:
    """An authenticated caller."""

    user_id: int
    name: str
    role: str

    def require_librarian(self) -> None:
        if self.role != Role.LIBRARIAN:
            raise Forbidden(f"{self.name} is a {self.role}: only a librarian may change anything.")
