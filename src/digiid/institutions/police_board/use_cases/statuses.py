"""What the board tells of documents and rights: to the population register by itself, to others who ask by law."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, TypeVar, cast

from sqlalchemy.engine import Connection

from digiid.contracts import police_board as contract
from digiid.contracts import population_register
from digiid.contracts.operation import Operation
from digiid.exchange.gate import Caller
from digiid.exchange.looks import look_of
from digiid.institutions.police_board import peers, store
from digiid.institutions.police_board.domain.document import DocumentState
from digiid.institutions.police_board.store.documents import Document
from digiid.institutions.police_board.store.rights import Right
from digiid.institutions.police_board.use_cases.deps import Deps, disclose
from digiid.platform.disclosures import Disclosed

T = TypeVar("T")
E_RESIDENT = "e_resident"
_TOLD = {
    DocumentState.ACTIVE: "active",
    DocumentState.SUSPENDED: "suspended",
    DocumentState.REVOKED: "revoked",
    DocumentState.EXPIRED: "expired",
    DocumentState.SUPERSEDED: "superseded",
}


@dataclass(frozen=True, slots=True)
class DocumentStatus:
    """`valid_until` of a valid or a suspended document only: of others nobody needs it."""

    status: Literal["valid", "suspended", "not_valid", "unknown"]
    valid_until: date | None = None


def tell_population_register(deps: Deps, document_number: str, message_id: str) -> None:
    """Tell what the document is now, which may be more than when the message was written. Raises: Unavailable."""
    with deps.db.read() as tx:
        document = store.documents.get_document(tx, document_number)
    state = _TOLD.get(document.state)
    if state is None:
        return
    notice = population_register.RecordDocumentStatus(
        notice_id=message_id,
        personal_code=document.person_code,
        document_number=document.document_number,
        policy=cast(Literal["citizen", "e_resident"], document.policy),
        state=cast(Literal["active", "suspended", "revoked", "expired", "superseded"], state),
        expires_on=document.expires_on,
        changed_at=document.changed_at,
    )
    peers.tell_document_status(deps.exchange, notice, message_id=message_id)


def document_status(deps: Deps, request: contract.GetDocumentStatus, *, caller: Caller) -> Disclosed[DocumentStatus]:
    """Whether the person's document is valid now. One of another person is as unknown as one that does not exist."""

    def read(tx: Connection) -> DocumentStatus:
        documents = store.documents.find_documents_of_person(tx, request.personal_code)
        found = next((d for d in documents if d.document_number == request.document_number), None)
        return _status_of(found, deps.today())

    return _answer(deps, contract.GET_DOCUMENT_STATUS, read, caller=caller, personal_code=request.personal_code)


def e_residency_status(deps: Deps, personal_code: str, *, caller: Caller) -> Disclosed[Right | None]:
    """The right that was granted to the person last; None when there never was one."""

    def read(tx: Connection) -> Right | None:
        return store.rights.find_latest_right(tx, personal_code, basis=E_RESIDENT)

    return _answer(deps, contract.GET_E_RESIDENCY_STATUS, read, caller=caller, personal_code=personal_code)


def _status_of(document: Document | None, today: date) -> DocumentStatus:
    if document is None or document.state not in _TOLD:
        return DocumentStatus("unknown")
    over = document.expires_on is not None and document.expires_on < today
    if over or document.state not in (DocumentState.ACTIVE, DocumentState.SUSPENDED):
        return DocumentStatus("not_valid")
    status: Literal["valid", "suspended"] = "valid" if document.state is DocumentState.ACTIVE else "suspended"
    return DocumentStatus(status, document.expires_on)


def _answer(
    deps: Deps, operation: Operation[Any, Any], read: Callable[[Connection], T], *, caller: Caller, personal_code: str
) -> Disclosed[T]:
    def work() -> Disclosed[T]:
        with deps.db.write() as tx:
            look = look_of(caller, operation)
            return disclose(deps, tx, read(tx), personal_code, look=look, categories=operation.discloses)

    return deps.db.retry(work)
