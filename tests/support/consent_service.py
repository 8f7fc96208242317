"""The consent service in a test: real database, seal and clock; its neighbours where a test puts them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from digiid.contracts import consents as wire
from digiid.contracts.members import BANK, CONSENT_SERVICE, POPULATION_REGISTER
from digiid.exchange.client import Client
from digiid.exchange.gate import Caller, RestCall
from digiid.institutions.information_authority.consents import api
from digiid.institutions.information_authority.consents.declarations import Declarations, read_declarations
from digiid.institutions.information_authority.consents.domain import Consent
from digiid.institutions.information_authority.consents.sealing import Sealer
from digiid.institutions.information_authority.consents.settings import DEMONSTRATION_FILE, Settings
from digiid.institutions.information_authority.consents.use_cases import deciding, declaring
from digiid.institutions.information_authority.consents.use_cases.deps import Deps
from digiid.kernel.identifiers import ClientId
from digiid.platform.clock import Clock
from digiid.platform.db import Database
from digiid.platform.documents.signing import KeySigner
from digiid.platform.entropy import SystemEntropy
from digiid.platform.http import HttpClient
from tests.support.consents import consent_sealer

PACKAGE = "digiid.institutions.information_authority.consents"
ADDRESS = "http://consent.localhost:8800"
BANK_ORIGIN = "http://bank.localhost:8800"
CALLBACK = f"{BANK_ORIGIN}/consent-given"
MARY, HUGO, CHILD = "60001019906", "38001085718", "61204040018"
PURPOSE, SIGNED_PURPOSE = "letters", "bank-card-and-letters"
CONTAINER = b"a container that the platform has verified"


def demonstration() -> Declarations:
    return read_declarations(DEMONSTRATION_FILE, origins={"bank": BANK_ORIGIN})


def unsigned() -> Declarations:
    """The same service and purpose under other identifiers, for which pressing a button is enough."""
    known = demonstration()
    service = replace(known.services[0], identifier="population-address-simple", consent_requires_signature=False)
    purpose = replace(known.purposes[0], identifier=PURPOSE, service_declaration=service.identifier)
    return Declarations((service,), (purpose,))


def make_deps(db: Database, clock: Clock, *, exchange: Client | None = None, settings: Settings | None = None) -> Deps:
    entropy = SystemEntropy()
    nobody = Client(CONSENT_SERVICE, server_url="http://127.0.0.1:9", http=HttpClient(), entropy=entropy)
    identity = consent_sealer().identity
    sealer = Sealer(lambda: KeySigner(identity.certificate, identity.key))
    made = Deps(db, clock, entropy, exchange or nobody, sealer, settings or Settings(), ADDRESS)
    declaring.declare(made, demonstration())
    declaring.declare(made, unsigned())
    return made


@dataclass(frozen=True)
class Asker:
    """A party at the service's own edge: what it sends and what it is answered, without a network."""

    deps: Deps
    me: ClientId = BANK

    def send(
        self, endpoint: tuple[str, str], body: Any = None, query: Mapping[str, str | tuple[str, ...]] | None = None
    ) -> tuple[int, Any]:
        [service] = api.services(self.deps)
        method, path = endpoint
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        call = RestCall(
            method, path, {name: (v,) if isinstance(v, str) else v for name, v in (query or {}).items()}, {}, content
        )
        answer = service.answer(Caller(self.me, "EE-1"), call)
        return answer.status, json.loads(answer.body)

    def ask(self, *purposes: str, person: str = MARY, callback: str = CALLBACK) -> tuple[int, Any]:
        body = {"idCode": person, "callback": callback, "purposeDeclarationBusinessIdentifiers": list(purposes)}
        return self.send(wire.REQUEST_CONSENT, body)

    def ask_for(self, actor: str, subject: str, relation: str, *purposes: str) -> tuple[int, Any]:
        body = {
            "representativeIdCode": actor,
            "representeeIdCode": subject,
            "relationType": relation,
            "callback": CALLBACK,
            "purposeDeclarationBusinessIdentifiers": list(purposes),
        }
        return self.send(wire.REQUEST_CONSENT_REPRESENTABLE, body)

    def references(self, *purposes: str, person: str = MARY) -> tuple[int, Any]:
        body = {"idCode": person, "purposeDeclarationBusinessIdentifiers": list(purposes)}
        return self.send(wire.GET_REFERENCES, body)

    def one(self, endpoint: tuple[str, str], reference: str) -> tuple[int, Any]:
        return self.send(endpoint, query={"consentReference": reference})

    def filter(self, references: list[str], *statuses: str) -> tuple[int, Any]:
        return self.send(wire.FILTER_BY_STATUS, {"consentStatus": list(statuses), "consentReferences": references})

    def report(self, reference: str, at: datetime) -> tuple[int, Any]:
        body = {"transmissionTimestamp": at.astimezone(UTC).isoformat(), "consentReference": reference}
        return self.send(wire.REPORT_TRANSMISSION, body)


def provider(deps: Deps) -> Asker:
    return Asker(deps, POPULATION_REGISTER)


def requested(deps: Deps, purpose: str = PURPOSE, *, person: str = MARY) -> Consent:
    """A consent that the person was asked for by the bank and whose link was opened."""
    status, answer = Asker(deps).ask(purpose, person=person)
    assert status == 200, answer
    [consent] = deciding.open_link(deps, person, answer["url"].rsplit("/", 1)[1])
    return consent


def granted(deps: Deps, purpose: str = PURPOSE, *, person: str = MARY) -> Consent:
    container = CONTAINER if purpose == SIGNED_PURPOSE else None
    consent = requested(deps, purpose, person=person)
    return deciding.grant(deps, person, consent.consent_id, language="en", container=container)
