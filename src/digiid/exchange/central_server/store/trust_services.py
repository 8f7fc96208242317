"""The CAs and time-stamping authorities that count on the exchange."""

import json
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Boolean, Column, Integer, LargeBinary, String, Table, Text, delete, insert, select
from sqlalchemy.engine import Connection

from digiid.exchange.central_server.store.schema import metadata

APPROVED_CAS: Final = Table(
    "approved_cas",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("certificate_der", LargeBinary, nullable=False),
    Column("ocsp_urls", Text, nullable=False),
    Column("certificate_profile", String(300), nullable=False),
    Column("authentication_only", Boolean, nullable=False),
)
INTERMEDIATE_CAS: Final = Table(
    "intermediate_cas",
    metadata,
    Column("top", String(200), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("certificate_der", LargeBinary, nullable=False),
    Column("ocsp_urls", Text, nullable=False),
)
APPROVED_TSAS: Final = Table(
    "approved_tsas",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("url", String(400), nullable=False),
    Column("certificate_der", LargeBinary, nullable=False),
)


@dataclass(frozen=True, slots=True)
class CaRow:
    """A CA and those below it. OCSP addresses stand beside each."""

    name: str
    certificate_der: bytes
    ocsp_urls: tuple[str, ...]
    certificate_profile: str
    is_authentication_only: bool
    intermediates: tuple[tuple[bytes, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class TsaRow:
    name: str
    url: str
    certificate_der: bytes


def list_cas(tx: Connection) -> list[CaRow]:
    i, c = INTERMEDIATE_CAS.c, APPROVED_CAS.c
    below: dict[str, list[tuple[bytes, tuple[str, ...]]]] = {}
    for row in tx.execute(select(i.top, i.certificate_der, i.ocsp_urls).order_by(i.top, i.position)):
        below.setdefault(row.top, []).append((bytes(row.certificate_der), tuple(json.loads(row.ocsp_urls))))
    query = select(c.name, c.certificate_der, c.ocsp_urls, c.certificate_profile, c.authentication_only)
    return [
        CaRow(
            row.name,
            bytes(row.certificate_der),
            tuple(json.loads(row.ocsp_urls)),
            row.certificate_profile,
            row.authentication_only,
            tuple(below.get(row.name, ())),
        )
        for row in tx.execute(query.order_by(c.name))
    ]


def put_ca(tx: Connection, ca: CaRow) -> None:
    """Enter a CA, or replace what stands under this name."""
    delete_ca(tx, ca.name)
    tx.execute(
        insert(APPROVED_CAS).values(
            name=ca.name,
            certificate_der=ca.certificate_der,
            ocsp_urls=json.dumps(ca.ocsp_urls),
            certificate_profile=ca.certificate_profile,
            authentication_only=ca.is_authentication_only,
        )
    )
    for position, (certificate_der, urls) in enumerate(ca.intermediates):
        values = {"top": ca.name, "position": position, "certificate_der": certificate_der}
        tx.execute(insert(INTERMEDIATE_CAS).values(**values, ocsp_urls=json.dumps(urls)))


def delete_ca(tx: Connection, name: str) -> bool:
    tx.execute(delete(INTERMEDIATE_CAS).where(INTERMEDIATE_CAS.c.top == name))
    return tx.execute(delete(APPROVED_CAS).where(APPROVED_CAS.c.name == name)).rowcount == 1


def list_tsas(tx: Connection) -> list[TsaRow]:
    c = APPROVED_TSAS.c
    rows = tx.execute(select(c.name, c.url, c.certificate_der).order_by(c.name))
    return [TsaRow(row.name, row.url, bytes(row.certificate_der)) for row in rows]


def put_tsa(tx: Connection, tsa: TsaRow) -> None:
    delete_tsa(tx, tsa.name)
    tx.execute(insert(APPROVED_TSAS).values(name=tsa.name, url=tsa.url, certificate_der=tsa.certificate_der))


def delete_tsa(tx: Connection, name: str) -> bool:
    return tx.execute(delete(APPROVED_TSAS).where(APPROVED_TSAS.c.name == name)).rowcount == 1
