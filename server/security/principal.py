"""Who is calling, once that is known."""

from dataclasses import dataclass
from enum import StrEnum

from server.contract.errors import ApiError, Forbidden


class Role(StrEnum):
    """What a user may do. Readers read; librarians write, too."""

    READER = "reader"
    LIBRARIAN = "librarian"


@dataclass(frozen=True)
class Principal:
    """An authenticated caller: who it is, and what they may do now.

    The two are asked at different times. A request may have been applied before its token expired
    or its key was revoked; then its outcome is theirs all the same. So who it is comes first, then
    the claim, and what they may do only if nothing was done yet.
    """

    user_id: int
    name: str
    role: str
    barred: ApiError | None = None
    """Why they may do nothing any more: an expired token, a revoked key."""

    def require_reader(self) -> None:
        """Raises ``Unauthorized``."""
        if self.barred is not None:
            raise self.barred

    def require_librarian(self) -> None:
        """Raises ``Unauthorized`` or ``Forbidden``."""
        self.require_reader()
        if self.role != Role.LIBRARIAN:
            raise Forbidden(f"{self.name} is a {self.role}: only a librarian may change anything.")
