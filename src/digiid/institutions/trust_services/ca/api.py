"""The CA's services on the exchange: decode the contract, call the use case, encode."""

import base64
import binascii
from typing import Final

from digiid.contracts import trust_services as contract
from digiid.contracts.members import CARD_BUREAU, POLICE_BOARD
from digiid.exchange.gate import Caller, Service
from digiid.exchange.looks import look_of
from digiid.formats.x509.profile import DocumentPolicy, Holder
from digiid.institutions.trust_services.ca import use_cases
from digiid.institutions.trust_services.ca.domain import Order
from digiid.institutions.trust_services.ca.use_cases import Deps
from digiid.institutions.trust_services.domain import CertificateState, CertificateStatus
from digiid.institutions.trust_services.status import serial_text
from digiid.kernel.errors import Malformed

# Which actor of the state table a member of the exchange is.
_ACTORS: Final = {CARD_BUREAU: "card_bureau", POLICE_BOARD: "police_board"}


def services(deps: Deps) -> list[Service]:
    """What the CA answers."""

    def issue(caller: Caller, request: contract.IssueCertificates) -> contract.IssuedCertificates:
        issued = use_cases.issue_certificates(deps, _order_of(request))
        return contract.IssuedCertificates(
            order_id=issued.order_id,
            document_number=issued.document_number,
            authentication_certificate_b64=base64.b64encode(issued.authentication_der).decode(),
            signature_certificate_b64=base64.b64encode(issued.signature_der).decode(),
        )

    def activate(caller: Caller, request: contract.ActivateCertificates) -> contract.CertificateStatus:
        return _reply(
            request.document_number,
            use_cases.activate_certificates(deps, request.document_number, actor=_actor(caller)),
        )

    def suspend(caller: Caller, request: contract.SuspendCertificates) -> contract.CertificateStatus:
        return _reply(
            request.document_number,
            use_cases.suspend_certificates(deps, request.document_number, actor=_actor(caller)),
        )

    def resume(caller: Caller, request: contract.ResumeCertificates) -> contract.CertificateStatus:
        return _reply(
            request.document_number,
            use_cases.resume_certificates(deps, request.document_number, actor=_actor(caller)),
        )

    def revoke(caller: Caller, request: contract.RevokeCertificates) -> contract.CertificateStatus:
        changed = use_cases.revoke_certificates(
            deps, request.document_number, reason=request.reason, actor=_actor(caller)
        )
        return _reply(request.document_number, changed)

    def status(caller: Caller, request: contract.GetCertificateStatus) -> contract.CertificateStatus:
        look = look_of(caller, contract.CERTIFICATE_STATUS, purpose=caller.purpose or "whether certificates are valid")
        return _reply(request.document_number, use_cases.tell_statuses(deps, request.document_number, look=look).value)

    return [
        Service(contract.ISSUE_CERTIFICATES, issue),
        Service(contract.ACTIVATE_CERTIFICATES, activate),
        Service(contract.SUSPEND_CERTIFICATES, suspend),
        Service(contract.RESUME_CERTIFICATES, resume),
        Service(contract.REVOKE_CERTIFICATES, revoke),
        Service(contract.CERTIFICATE_STATUS, status),
    ]


def _actor(caller: Caller) -> str:
    # A member that the state table does not know may take no step in it.
    return _ACTORS.get(caller.client, str(caller.client))


def _order_of(request: contract.IssueCertificates) -> Order:
    return Order(
        order_id=request.order_id,
        document_number=request.document_number,
        policy=DocumentPolicy(request.policy),
        holder=Holder(request.personal_code, request.surname, request.given_names),
        expires_on=request.expires_on,
        authentication_request_der=_decode(request.authentication_request_b64),
        signature_request_der=_decode(request.signature_request_b64),
    )


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed("trust.request_base64", "a request is not base64", public="A request is not base64.") from error


def _reply(document_number: str, found: list[CertificateStatus]) -> contract.CertificateStatus:
    return contract.CertificateStatus(document_number=document_number, certificates=tuple(map(_entry, found)))


def _entry(status: CertificateStatus) -> contract.CertificateEntry:
    return contract.CertificateEntry.model_validate(
        {
            "purpose": status.purpose,
            "serial_number": serial_text(status.serial_number),
            "state": status.state.value,
            "changed_at": status.changed_at,
            "not_after_at": status.not_after_at,
            "reason": status.reason if status.state is CertificateState.REVOKED else None,
        }
    )
