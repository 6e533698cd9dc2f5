"""The library's tables."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    func,
    literal_column,
)
from sqlalchemy.orm import Mapped, mapped_column

from server.persistence.models.base import Base, CreatedAt


class BookV1(Base):
    """A book as version 1 of the API knows it: the author is a piece of text."""

    __tablename__ = "books_v1"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    title: Mapped[str]
    author: Mapped[str]
    year: Mapped[int | None]
    isbn: Mapped[str | None]
    created_at: Mapped[CreatedAt]


class Author(Base):
    """A person who wrote books: an entity of its own from version 2 on."""

    __tablename__ = "authors"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    name: Mapped[str]
    birth_year: Mapped[int | None]
    country: Mapped[str | None]
    created_at: Mapped[CreatedAt]


class BookV2(Base):
    """A book as version 2 of the API knows it: it belongs to an author, and has a genre."""

    __tablename__ = "books_v2"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    title: Mapped[str]
    author_id: Mapped[int] = mapped_column(ForeignKey(Author.id))
    genre: Mapped[str | None]
    year: Mapped[int | None]
    isbn: Mapped[str | None] = mapped_column(unique=True)
    created_at: Mapped[CreatedAt]


NO_YEAR = 9999
"""A book without a year is sorted as if it came after all others: null has no place in an order."""

YEAR_OR_LAST = func.coalesce(BookV2.year, literal_column(str(NO_YEAR)))

# A page of a list is a range of one of these: it costs the same wherever it begins. The id at the
# end makes the order total, since many books share a year.
Index("ix_books_v2_title_id", BookV2.title, BookV2.id)
Index("ix_books_v2_year_id", YEAR_OR_LAST, BookV2.id)
Index("ix_books_v2_genre_id", BookV2.genre, BookV2.id)
Index("ix_books_v2_author_id_id", BookV2.author_id, BookV2.id)
Index(
    "ix_books_v2_title_words",
    func.to_tsvector(literal_column("'simple'"), BookV2.title),
    postgresql_using="gin",
)


class User(Base):
    """Who may call. A reader reads; a librarian also writes."""

    __tablename__ = "users"
    __table_args__ = (CheckConstraint("role IN ('reader', 'librarian')", name="role"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str]
    password_hash: Mapped[str | None]
    """Argon2id; null for a user who only has API keys."""
    created_at: Mapped[CreatedAt]


class ApiKey(Base):
    """One of a user's keys. The key itself is stored nowhere, only its SHA-256."""

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id), index=True)
    label: Mapped[str]
    """What its owner calls it."""
    key_hash: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[CreatedAt]
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class SigningKey(Base):
    """What tokens are signed with. It is in the database so that all servers share it."""

    __tablename__ = "signing_keys"

    kid: Mapped[str] = mapped_column(primary_key=True)
    secret: Mapped[str]
    created_at: Mapped[CreatedAt]


class IdempotencyKey(Base):
    """A name of an accepted write: who asked for it, a digest of what was asked, what was answered.

    Every write has its request's id for a name, under the resource type ``request``; one with an
    idempotency key has that, too. The primary key is the lock: two transactions cannot both insert
    it.
    """

    __tablename__ = "idempotency_keys"

    user_id: Mapped[int] = mapped_column(ForeignKey(User.id), primary_key=True)
    resource_type: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    reply: Mapped[str | None]
    """The outcome as JSON. Null inside the transaction that writes it, and where it is kept under
    the request's idempotency key."""
    kept_under: Mapped[str | None]
    """Of an id: the idempotency key that the request had as well."""
    created_at: Mapped[CreatedAt] = mapped_column(index=True)
