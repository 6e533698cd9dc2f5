"""What PostgreSQL keeps."""

from server.models.base import Base
from server.models.entities import BookV1, IdempotencyKey, User

__all__ = ["Base", "BookV1", "IdempotencyKey", "User"]
