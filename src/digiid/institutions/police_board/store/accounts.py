"""Applicants' accounts, and the links they sign in with."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, Index, String, Table, delete, func, insert, select, update
from sqlalchemy.engine import Connection

from digiid.institutions.police_board.store.schema import ID, NAME, column_values, metadata
from digiid.platform.db import UtcDateTime

ACCOUNTS = Table(
    "accounts",
    metadata,
    Column("account_id", ID, primary_key=True),
    Column("email", NAME, nullable=False, unique=True),
    Column("language", String(5), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)
SIGN_IN_LINKS = Table(
    "sign_in_links",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("email", NAME, nullable=False),
    Column("language", String(5), nullable=False),
    Column("client", String(100), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("used_at", UtcDateTime),
)
Index("sign_in_links_recent", SIGN_IN_LINKS.c.email, SIGN_IN_LINKS.c.created_at)


@dataclass(frozen=True, slots=True)
class Account:
    account_id: str
    email: str
    language: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class SignInLink:
    token_hash: str
    email: str
    language: str
    client: str
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None


def find_account(tx: Connection, *, email: str | None = None, account_id: str | None = None) -> Account | None:
    where = ACCOUNTS.c.email == email if email is not None else ACCOUNTS.c.account_id == account_id
    row = tx.execute(select(*ACCOUNTS.c).where(where)).mappings().one_or_none()
    return Account(**row) if row else None


def add_account(tx: Connection, account: Account) -> None:
    tx.execute(insert(ACCOUNTS).values(**column_values(account)))


def add_link(tx: Connection, link: SignInLink) -> None:
    tx.execute(insert(SIGN_IN_LINKS).values(**column_values(link)))


def find_link(tx: Connection, token_hash: str) -> SignInLink | None:
    row = tx.execute(select(*SIGN_IN_LINKS.c).where(SIGN_IN_LINKS.c.token_hash == token_hash)).mappings().one_or_none()
    return SignInLink(**row) if row else None


def use_link(tx: Connection, token_hash: str, *, at: datetime) -> None:
    tx.execute(update(SIGN_IN_LINKS).where(SIGN_IN_LINKS.c.token_hash == token_hash).values(used_at=at))


def count_links(tx: Connection, *, since: datetime, email: str | None = None, client: str | None = None) -> int:
    where = SIGN_IN_LINKS.c.email == email if email is not None else SIGN_IN_LINKS.c.client == client
    recent = SIGN_IN_LINKS.c.created_at > since
    return int(tx.execute(select(func.count()).select_from(SIGN_IN_LINKS).where(where, recent)).scalar_one())


def delete_links(tx: Connection, *, before: datetime) -> None:
    tx.execute(delete(SIGN_IN_LINKS).where(SIGN_IN_LINKS.c.expires_at < before))
