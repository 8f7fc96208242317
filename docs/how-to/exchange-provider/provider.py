"""A small information system that offers a service on the exchange. Read it, run it, take what you need.

A library lends books. Its service `loans` says how many books a person has on loan, to the one subsystem that is
allowed to ask, for a stated purpose, and remembers who asked. What must be so in every provider is numbered in
`count_loans`. How to register the service and what to change: join-the-exchange.md, one folder up.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

import uvicorn
from pydantic import Field

from digiid.contracts.operation import Message, Operation
from digiid.exchange.gate import Caller, Gate, Service
from digiid.exchange.looks import look_of
from digiid.exchange.openapi import Descriptions
from digiid.kernel.errors import NotFound
from digiid.kernel.identifiers import ClientId, ServiceId, parse_client_id
from digiid.platform.disclosures import Look
from digiid.platform.pools import Pools

LAW = "Public Libraries Act § 15: what a reader owes"


class CountLoans(Message):
    """How many books does this person have on loan?"""

    personal_code: Annotated[str, Field(pattern=r"^[1-8][0-9]{10}$")]


class Loans(Message):
    """The number only: which books somebody reads is nobody's business."""

    books: int


def count_loans_operation(me: ClientId, *, allowed: frozenset[ClientId]) -> Operation[CountLoans, Loans]:
    """The contract, for both sides: where it is asked, with what, who may, what it tells and by what right."""
    return Operation(
        ServiceId(me, "loans"),
        CountLoans,
        Loans,
        allowed,
        discloses=("loans",),
        legal_bases=dict.fromkeys(allowed, LAW),
    )


@dataclass
class Library:
    """The information system itself. A real one has a database, and writes the look in the answer's transaction."""

    readers: Mapping[str, int]
    looks: list[tuple[str, Look]] = field(default_factory=list)


def build_provider(library: Library, me: ClientId, *, allowed: frozenset[ClientId], pools: Pools) -> Gate:
    """The ASGI application that the security server forwards requests to, with its OpenAPI description."""
    operation = count_loans_operation(me, allowed=allowed)

    def count_loans(caller: Caller, request: CountLoans) -> Loans:
        # 1 who asks, why and by what right; without a purpose this refuses
        look = look_of(caller, operation)
        # 2 the answer, as small as the question allows
        books = library.readers.get(request.personal_code)
        if books is None:
            raise NotFound("library.reader", "no such reader", public="Nobody with this code reads here.")
        # 3 on record before it leaves, so that the person can see it
        library.looks.append((request.personal_code, look))
        return Loans(books=books)

    services = [Service(operation, count_loans)]
    return Gate(services, pools=pools, descriptions=Descriptions(services))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--subsystem", default="EE/COM/10000299/library", help="your own subsystem")
    arguments.add_argument("--allow", action="append", required=True, help="a subsystem that may ask")
    arguments.add_argument("--port", type=int, default=8810)
    given = arguments.parse_args()
    allowed = frozenset(parse_client_id(client) for client in given.allow)
    library = Library({"38001085718": 3, "60001019906": 0})
    provider = build_provider(library, parse_client_id(given.subsystem), allowed=allowed, pools=Pools())
    # only the own security server may reach it: loopback here, TLS with its internal certificate elsewhere
    uvicorn.run(provider, host="127.0.0.1", port=given.port, lifespan="off")


if __name__ == "__main__":
    main()
