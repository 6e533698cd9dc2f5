"""What PostgreSQL keeps."""

from server.models.base import Base
from server.models.entities import Author, BookV1, BookV2, IdempotencyKey, User

__all__ = ["Author", "Base", "BookV1", "BookV2", "IdempotencyKey", "User"]
