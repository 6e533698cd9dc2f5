"""The library's tables."""

from sqlalchemy import BigInteger, ForeignKey, Identity
from sqlalchemy.orm import Mapped, mapped_column

from server.models.base import Base, CreatedAt


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
    """Somebody who wrote books, from version 2 on a thing of its own."""

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
    author_id: Mapped[int] = mapped_column(ForeignKey(Author.id), index=True)
    genre: Mapped[str | None] = mapped_column(index=True)
    year: Mapped[int | None] = mapped_column(index=True)
    isbn: Mapped[str | None]
    created_at: Mapped[CreatedAt]


class User(Base):
    """Who may call. The key itself is stored nowhere, only its SHA-256."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    api_key_hash: Mapped[str | None] = mapped_column(unique=True)
    created_at: Mapped[CreatedAt]


class IdempotencyKey(Base):
    """One accepted write: who asked for it, a digest of what was asked, what was answered.

    The primary key is the lock: two transactions cannot both insert it.
    """

    __tablename__ = "idempotency_keys"

    user_id: Mapped[int] = mapped_column(ForeignKey(User.id), primary_key=True)
    resource_type: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    reply: Mapped[str | None]
    """The outcome as JSON. Null only inside the transaction that writes it."""
    created_at: Mapped[CreatedAt] = mapped_column(index=True)
