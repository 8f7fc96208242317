"""What the bank does: admits customers by its condition, takes applications, opens accounts, asks for addresses."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy.engine import Connection

from digiid.contracts.population_register import GET_ADDRESS
from digiid.exchange.client import Client
from digiid.exchange.consent import RevocationCache
from digiid.formats.asic import DataFile
from digiid.institutions.bank import peers, store
from digiid.institutions.bank.domain import (
    Application,
    CustomerAddress,
    application_text,
    build_iban,
    check_condition,
)
from digiid.institutions.bank.settings import Settings
from digiid.kernel.errors import Conflict, NotFound, Refused
from digiid.platform import journal
from digiid.platform.clock import Clock
from digiid.platform.db import Database
from digiid.platform.entropy import Entropy, new_id
from digiid.platform.sent_requests import SentRequest, find_sent
from digiid.platform.web.sign_in import SignedInPerson
from digiid.platform.web.sign_ins import record_sign_in


@dataclass(frozen=True)
class Deps:
    """`origin` is the bank's own site. `revocations` is None where there is no consent service."""

    db: Database
    clock: Clock
    entropy: Entropy
    settings: Settings
    exchange: Client
    origin: str
    revocations: RevocationCache | None = None


@dataclass(frozen=True, slots=True)
class AddressView:
    """`consent_ended_at`: when the consent that the address rests on ended, as far as the bank has heard."""

    address: CustomerAddress | None
    consent_ended_at: datetime | None
    asked: list[SentRequest]


def admit(deps: Deps, person: SignedInPerson) -> Mapping[str, str]:
    """Let a customer in whose document the bank accepts. Raises: Refused `bank.document_not_accepted`."""
    check_condition(person.policy, deps.settings.accepted_policies)
    with deps.db.write() as tx:
        record_sign_in(tx, store.SIGN_INS, person, site="bank")
    return {}


def apply_for_account(
    deps: Deps,
    *,
    personal_code: str,
    name: str,
    policy: str,
    purpose: Literal["business", "personal", "savings"],
    currency: Literal["EUR", "USD", "GBP"],
    expected_use: str,
) -> str:
    """Write an application that waits for its signature. Returns its id."""
    check_condition(policy, deps.settings.accepted_policies)
    application = Application(
        new_id(deps.entropy), personal_code, name, purpose, currency, expected_use, deps.clock.now()
    )
    with deps.db.write() as tx:
        store.insert_application(tx, application)
    return application.application_id


def own_applications(deps: Deps, personal_code: str) -> list[Application]:
    with deps.db.read() as tx:
        return store.list_applications(tx, personal_code)


def show_application(deps: Deps, personal_code: str, application_id: str) -> tuple[Application, str]:
    """An own application and its text. Raises: NotFound `bank.application`."""
    with deps.db.read() as tx:
        application = _own(tx, application_id, personal_code)
    return application, application_text(application, bank=deps.settings.name).content.decode()


def file_to_sign(deps: Deps, personal_code: str, application_id: str) -> DataFile:
    """Raises: NotFound `bank.application`; Conflict `bank.signed_already`."""
    with deps.db.read() as tx:
        application = _own(tx, application_id, personal_code)
    if application.iban is not None:
        raise Conflict("bank.signed_already", application_id, public="This application has been signed already.")
    return application_text(application, bank=deps.settings.name)


def open_account(deps: Deps, personal_code: str, application_id: str, container: bytes) -> str:
    """Open the account of a signed application; signing it twice opens one account. Returns the IBAN."""
    return deps.db.retry(lambda: _open_account(deps, personal_code, application_id, container))


def _open_account(deps: Deps, personal_code: str, application_id: str, container: bytes) -> str:
    at = deps.clock.now()
    with deps.db.write() as tx:
        # 1 once for each application
        application = _own(tx, application_id, personal_code)
        if application.iban is not None:
            return application.iban
        # 2 the next number, and the application that it rests on
        number = store.next_account_number(tx)
        iban = build_iban(bank_code=deps.settings.bank_code, number=number)
        store.open_account(tx, application, iban=iban, number=number, container=container, at=at)
        # 3 written down
        payload: dict[str, journal.JsonValue] = {"application": application_id, "iban": iban}
        payload["container_sha256"] = hashlib.sha256(container).hexdigest()
        journal.record(tx, store.JOURNAL, kind="account.opened", payload=payload, at=at)
    return iban


def read_container(deps: Deps, personal_code: str, application_id: str) -> bytes:
    """Raises: NotFound `bank.application`."""
    with deps.db.read() as tx:
        _own(tx, application_id, personal_code)
        container = store.read_container(tx, application_id)
    if container is None:
        raise NotFound("bank.application", "not signed", public="This application has not been signed yet.")
    return container


def _own(tx: Connection, application_id: str, personal_code: str) -> Application:
    application = store.find_application(tx, application_id, personal_code)
    if application is None:
        raise NotFound("bank.application", "not there, or not this customer's", public="There is no such application.")
    return application


# --- the registered address ------------------------------------------------------------------------------------------

# The receipt that the bank holds opens nothing any more; the person may be asked anew.
_ENDED = frozenset({"exchange.consent.revoked", "exchange.consent.expired"})
BACK_PATH = "/address/back"


def show_address(deps: Deps, personal_code: str) -> AddressView:
    """The customer's address, whether the consent to it still holds, and every time that the bank asked."""
    with deps.db.read() as tx:
        address = store.find_address(tx, personal_code)
        ended = None
        if address is not None and deps.revocations is not None:
            revocation = deps.revocations.view(tx).find(address.consent_reference)
            ended = revocation.at if revocation else None
        asked = find_sent(tx, store.SENT_REQUESTS, personal_code, now=deps.clock.now(), limit=50)
    service = str(GET_ADDRESS.service)
    asked = [request for request in asked if request.service == service]
    return AddressView(address, ended, asked)


def use_registered_address(deps: Deps, personal_code: str) -> str | None:
    """Ask the register for the address and keep it. Returns None, or where the person is asked for the consent.

    The register judges the consent, not the bank: the bank asks with the receipt that it has, or without one, and asks
    the person when the register refuses for want of it.

    Raises: Refused `bank.consent_ended` when the person has withdrawn or the consent has run out; the register's and
    the consent service's other refusals; NotFound `population.no_address`; Unavailable.
    """
    try:
        _fetch(deps, personal_code, _held_receipt(deps, personal_code))
    except Refused as error:
        if error.code != "exchange.consent.missing":
            raise
    else:
        return None
    purpose, callback = deps.settings.address_purpose, deps.origin + BACK_PATH
    group = peers.ask_for_consent(deps.exchange, personal_code, purpose=purpose, callback=callback)
    with deps.db.write() as tx:
        store.save_consent_request(tx, personal_code, group.consent_group_reference, at=deps.clock.now())
    return group.url


def come_back(deps: Deps, personal_code: str) -> bool:
    """The person is back from the consent service: fetch the address. False when they were not sent there.

    Raises: Refused `bank.no_consent` when they did not consent; what `use_registered_address` raises.
    """
    with deps.db.write() as tx:
        if not store.take_consent_request(tx, personal_code):
            return False
    held = _held_receipt(deps, personal_code)
    if held is None:
        raise Refused(
            "bank.no_consent",
            "came back without",
            public="You did not consent. The bank did not learn your address; you can use it without.",
        )
    _fetch(deps, personal_code, held)
    return True


def forget_address(deps: Deps, personal_code: str) -> None:
    """The customer does not want the bank to have the address. The consent itself is withdrawn where it was given."""
    with deps.db.write() as tx:
        store.delete_address(tx, personal_code)
        store.delete_receipt(tx, personal_code)
        journal.record(tx, store.JOURNAL, kind="address.forgotten", payload={}, at=deps.clock.now())


def _held_receipt(deps: Deps, personal_code: str) -> store.Receipt | None:
    with deps.db.read() as tx:
        receipt = store.find_receipt(tx, personal_code)
    if receipt is not None:
        return receipt
    found = peers.find_receipt(deps.exchange, personal_code, purpose=deps.settings.address_purpose)
    if found is None:
        return None
    receipt = store.Receipt(found.consent_reference, found.receipt, deps.clock.now())
    with deps.db.write() as tx:
        store.save_receipt(tx, personal_code, receipt)
    return receipt


def _fetch(deps: Deps, personal_code: str, receipt: store.Receipt | None) -> None:
    # 1 the register, with the receipt if there is one
    purpose = deps.settings.address_purpose
    try:
        told = peers.fetch_address(
            deps.exchange, personal_code, receipt=receipt.receipt if receipt else None, purpose=purpose
        )
    except Refused as error:
        if error.code not in _ENDED:
            raise
        with deps.db.write() as tx:
            store.delete_receipt(tx, personal_code)
        raise Refused(
            "bank.consent_ended",
            error.code,
            public="Your consent does not hold any more, so the register told the bank nothing.",
        ) from error
    # 2 kept with what it rests on
    at = deps.clock.now()
    address = CustomerAddress(
        personal_code,
        told.kind,
        told.country or "",
        told.region or "",
        told.locality or "",
        told.street or "",
        told.postcode or "",
        receipt.consent_reference if receipt else "",
        at,
    )
    with deps.db.write() as tx:
        store.save_address(tx, address)
        payload: dict[str, journal.JsonValue] = {"consent": address.consent_reference, "purpose": purpose}
        journal.record(tx, store.JOURNAL, kind="address.fetched", payload=payload, at=at)
