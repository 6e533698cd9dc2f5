"""What PostgreSQL keeps."""

from server.models.base import Base
from server.models.entities import (
    ApiKey,
    Author,
    BookV1,
    BookV2,
    IdempotencyKey,
    SigningKey,
    User,
)

__all__ = ["ApiKey", "Author", "Base", "BookV1", "BookV2", "IdempotencyKey", "SigningKey", "User"]
