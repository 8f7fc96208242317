"""The services that the board offers on the exchange: decode, call the use case, encode."""

from collections.abc import Callable
from typing import TypeVar

from digiid.contracts import police_board as contract
from digiid.contracts.operation import Done, Message
from digiid.exchange.gate import Caller, Service
from digiid.exchange.looks import look_of
from digiid.institutions.police_board.store.deliveries import HandOver
from digiid.institutions.police_board.use_cases import issue, statuses, supervise
from digiid.institutions.police_board.use_cases.deps import Deps

Request = TypeVar("Request", bound=Message)


def services(deps: Deps) -> list[Service]:
    """Every service with the function that answers it."""

    def looking(answer: Callable[[Deps, Caller, Request], Message]) -> Callable[[Caller, Request], Message]:
        return lambda caller, request: answer(deps, caller, request)

    def bound(answer: Callable[[Deps, Request], Message]) -> Callable[[Caller, Request], Message]:
        return lambda _caller, request: answer(deps, request)

    return [
        Service(contract.RECORD_DOCUMENT_MOVEMENT, bound(_record_movement)),
        Service(contract.REQUEST_HAND_OVER, looking(_request_hand_over)),
        Service(contract.RECORD_HAND_OVER, bound(_record_hand_over)),
        Service(contract.LIST_DOCUMENTS, looking(_list_documents)),
        Service(contract.REPORT_LOSS, bound(_report_loss)),
        Service(contract.REPORT_ANOMALY, bound(_report_anomaly)),
        Service(contract.REPORT_MISUSE, bound(_report_misuse)),
        Service(contract.GET_DOCUMENT_STATUS, looking(_document_status)),
        Service(contract.GET_E_RESIDENCY_STATUS, looking(_e_residency_status)),
    ]


def _record_movement(deps: Deps, request: contract.RecordDocumentMovement) -> Done:
    issue.record_movement(
        deps,
        movement_id=request.movement_id,
        order_id=request.order_id,
        document_number=request.document_number,
        state=request.state,
        expires_on=request.expires_on,
        at=request.at,
    )
    return Done()


def _request_hand_over(deps: Deps, caller: Caller, request: contract.RequestHandOver) -> contract.HandOverPermit:
    purpose = caller.purpose or "hand-over of a document"
    answer = issue.request_hand_over(
        deps,
        order_id=request.order_id,
        document_number=request.document_number,
        shown=request.shown_travel_document,
        look=look_of(caller, contract.REQUEST_HAND_OVER, purpose=purpose),
    ).value
    return contract.HandOverPermit(
        permitted=answer.permitted, reason=answer.reason, acceptance_text=answer.acceptance_text
    )


def _record_hand_over(deps: Deps, request: contract.RecordHandOver) -> Done:
    issue.record_hand_over(
        deps,
        evidence=HandOver(
            evidence_id=request.evidence_id,
            order_id=request.order_id,
            document_number=request.document_number,
            officer=request.officer,
            officer_code=request.officer_personal_code,
            pick_up_point=request.pick_up_point,
            shown_kind=request.shown_travel_document.kind,
            shown_number=request.shown_travel_document.number,
            shown_country=request.shown_travel_document.issuing_country,
            handed_over_at=request.handed_over_at,
        ),
        shown=request.shown_travel_document,
    )
    return Done()


def _list_documents(deps: Deps, caller: Caller, request: contract.ListDocuments) -> contract.Documents:
    look = look_of(caller, contract.LIST_DOCUMENTS, purpose=caller.purpose or "the holder's own documents")
    found = supervise.list_documents_of_person(deps, request.personal_code, look=look).value
    return contract.Documents(
        documents=tuple(
            contract.DocumentSummary(
                document_number=document.document_number,
                policy="citizen" if document.policy == "citizen" else "e_resident",
                state=document.state.value,
                state_reason=document.state_reason,
                issued_on=document.issued_on,
                expires_on=document.expires_on,
                right=right.state.value,
                changed_at=document.changed_at,
            )
            for document, right in found
        )
    )


def _report_loss(deps: Deps, request: contract.ReportLoss) -> contract.LossReported:
    suspended_at = supervise.report_loss_by_holder(
        deps,
        personal_code=request.personal_code,
        document_number=request.document_number,
        reported_by=request.reported_by,
        note=request.note,
    )
    return contract.LossReported(suspended_at=suspended_at)


def _report_anomaly(deps: Deps, request: contract.ReportAnomaly) -> contract.CaseOpened:
    number = supervise.open_anomaly_case(
        deps,
        report_id=request.report_id,
        kind=request.kind,
        place=request.place,
        observed_at=request.observed_at,
        personal_code=request.personal_code,
        certificate_sha256=request.certificate_sha256,
        note=request.note,
    )
    return contract.CaseOpened(case_number=number)


def _report_misuse(deps: Deps, request: contract.ReportMisuse) -> contract.CaseOpened:
    number = supervise.open_misuse_case(
        deps,
        report_id=request.report_id,
        what_happened=request.what_happened,
        document_number=request.document_number,
        service=request.service,
        contact=request.contact,
        reported_at=request.reported_at,
    )
    return contract.CaseOpened(case_number=number)


def _document_status(deps: Deps, caller: Caller, request: contract.GetDocumentStatus) -> contract.DocumentStatus:
    found = statuses.document_status(deps, request, caller=caller).value
    return contract.DocumentStatus(status=found.status, valid_until=found.valid_until)


def _e_residency_status(deps: Deps, caller: Caller, request: contract.GetEResidencyStatus) -> contract.EResidencyStatus:
    right = statuses.e_residency_status(deps, request.personal_code, caller=caller).value
    if right is None:
        return contract.EResidencyStatus(right="none")
    return contract.EResidencyStatus(
        right=right.state.value, limited_to=right.limited_to, since_on=right.changed_at.date()
    )
