"""What PostgreSQL keeps."""

from server.persistence.models.base import Base
from server.persistence.models.entities import (
    ApiKey,
    Author,
    BookV1,
    BookV2,
    IdempotencyKey,
    SigningKey,
    User,
)

__all__ = ["ApiKey", "Author", "Base", "BookV1", "BookV2", "IdempotencyKey", "SigningKey", "User"]
