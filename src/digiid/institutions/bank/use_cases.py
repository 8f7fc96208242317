"""What the bank does: admits customers by its condition, takes applications, opens accounts."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sqlalchemy.engine import Connection

from digiid.formats.asic import DataFile
from digiid.institutions.bank import store
from digiid.institutions.bank.domain import Application, application_text, build_iban, check_condition
from digiid.institutions.bank.settings import Settings
from digiid.kernel.errors import Conflict, NotFound
from digiid.platform import journal
from digiid.platform.clock import Clock
from digiid.platform.db import Database
from digiid.platform.entropy import Entropy, new_id
from digiid.platform.web.sign_in import SignedInPerson
from digiid.platform.web.sign_ins import record_sign_in


@dataclass(frozen=True)
class Deps:
    db: Database
    clock: Clock
    entropy: Entropy
    settings: Settings


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
