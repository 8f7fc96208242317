"""What the board asks others: the population register, the card bureau, the trust services, the payment provider,
and the publishers of lists (files)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from digiid.contracts import card_bureau, population_register, trust_services
from digiid.exchange.client import Client
from digiid.formats.payment import (
    PaymentNotice,
    PaymentRequest,
    Purpose,
    StatusQuery,
    sign_query,
    sign_request,
    verify_notice,
)
from digiid.institutions.police_board.domain.screening import KnownPerson
from digiid.institutions.police_board.domain.un_list import PersonList, parse_un_list
from digiid.kernel.errors import Unavailable
from digiid.platform.http import HttpClient


def find_persons(exchange: Client, *, given_names: str, surname: str, born_on: date, issue: str) -> list[KnownPerson]:
    """Who in the population register could this be?"""
    reply = exchange.call(
        population_register.FIND_PERSONS,
        population_register.FindPersons(
            given_names=given_names, surname=surname, born_on=born_on, purpose="background check"
        ),
        issue=issue,
    )
    return [KnownPerson(m.personal_code, m.given_names, m.surname, m.born_on) for m in reply.matches]


def register_person(exchange: Client, request: population_register.RegisterPerson, *, message_id: str) -> str:
    """The person's personal code. Raises: Conflict or Refused when the register's entry does not agree."""
    reply = exchange.call(population_register.REGISTER_PERSON, request, message_id=message_id)
    return reply.personal_code


def tell_document_status(
    exchange: Client, notice: population_register.RecordDocumentStatus, *, message_id: str
) -> None:
    """The population register keeps what a document is now."""
    exchange.call(population_register.RECORD_DOCUMENT_STATUS, notice, message_id=message_id)


def order_document(exchange: Client, request: card_bureau.OrderDocument, *, message_id: str) -> str:
    """The number of the document that will be made."""
    return exchange.call(card_bureau.ORDER_DOCUMENT, request, message_id=message_id).document_number


def cancel_order(exchange: Client, *, order_id: str, reason: str, message_id: str) -> None:
    exchange.call(
        card_bureau.CANCEL_ORDER, card_bureau.CancelOrder(order_id=order_id, reason=reason), message_id=message_id
    )


def get_delivery(exchange: Client, *, order_id: str, person_code: str) -> card_bureau.Delivery:
    request = card_bureau.GetDelivery(order_id=order_id)
    purpose = "where an ordered document is"
    return exchange.call(card_bureau.GET_DELIVERY, request, purpose=purpose, about=(person_code,))


def take_pin_envelope(exchange: Client, *, order_id: str) -> str:
    """The sealed envelope, base64."""
    return exchange.call(card_bureau.TAKE_PIN_ENVELOPE, card_bureau.TakePinEnvelope(order_id=order_id)).sealed_b64


def destroy_pin_envelope(exchange: Client, *, order_id: str, message_id: str) -> None:
    exchange.call(
        card_bureau.DESTROY_PIN_ENVELOPE, card_bureau.DestroyPinEnvelope(order_id=order_id), message_id=message_id
    )


def list_pick_up_points(exchange: Client) -> tuple[card_bureau.PickUpPoint, ...]:
    return exchange.call(card_bureau.LIST_PICK_UP_POINTS, card_bureau.ListPickUpPoints()).points


def suspend_certificates(exchange: Client, *, document_number: str, message_id: str) -> None:
    request = trust_services.SuspendCertificates(document_number=document_number)
    exchange.call(trust_services.SUSPEND_CERTIFICATES, request, message_id=message_id)


def resume_certificates(exchange: Client, *, document_number: str, message_id: str) -> None:
    request = trust_services.ResumeCertificates(document_number=document_number)
    exchange.call(trust_services.RESUME_CERTIFICATES, request, message_id=message_id)


def revoke_certificates(
    exchange: Client, *, document_number: str, reason: trust_services.RevocationReason, message_id: str
) -> None:
    request = trust_services.RevokeCertificates(document_number=document_number, reason=reason)
    exchange.call(trust_services.REVOKE_CERTIFICATES, request, message_id=message_id)


@dataclass(frozen=True, slots=True)
class PaymentProvider:
    """The provider of docs/reference/payment-contract.md. `key` is the secret that we share with it."""

    url: str
    merchant: str
    key: bytes = field(repr=False)
    http: HttpClient

    def payment_page(self, request: PaymentRequest) -> str:
        """Where to send the payer's browser."""
        return f"{self.url}/pay?request={sign_request(request, key=self.key)}"

    def fetch_status(self, payment_id: str) -> PaymentNotice:
        """Ask what became of a payment. Raises: Unavailable; Malformed, Refused when the answer is not authentic."""
        query = sign_query(StatusQuery(self.merchant, payment_id), key=self.key)
        answer = self.http.request(
            "POST", f"{self.url}/status", content=query.encode(), headers={"Content-Type": "text/plain"}
        )
        if answer.status != 200:
            raise Unavailable("payment.provider", f"the provider answered {answer.status}")
        return verify_notice(answer.body.decode("ascii", "replace"), purpose=Purpose.STATUS_ANSWER, key=self.key)


class ListFiles:
    """The lists named in the configuration; a changed file is read again."""

    def __init__(self, files: Sequence[tuple[str, Path]]) -> None:
        """`files` are pairs of a name and a file in the form of the UN list."""
        self._files = list(files)
        self._read: dict[Path, tuple[tuple[int, int], PersonList]] = {}

    def load(self) -> list[PersonList]:
        """Every configured list. Raises: Unavailable `screening.list_unreadable`; Malformed `screening.list`."""
        lists = []
        for name, file in self._files:
            try:
                status = file.stat()
                mark = (status.st_mtime_ns, status.st_size)
                known = self._read.get(file)
                if known is None or known[0] != mark:
                    with file.open("rb") as stream:
                        known = (mark, parse_un_list(stream, name=name))
                    self._read[file] = known
            except OSError as error:
                raise Unavailable("screening.list_unreadable", f"{name}: {type(error).__name__}") from error
            lists.append(known[1])
        return lists
