"""What the consent service decides: states of a consent, how long it lasts, what a person is shown and consents to.

Terms and flags are those of the state's consent service, version 2 (guide v2.1); the law is the General Data
Protection Regulation, (EU) 2016/679.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from digiid.formats.personal_code import parse_personal_code
from digiid.kernel.errors import Conflict, Malformed, Refused
from digiid.kernel.states import Edge, StateTable, take_edge

LANGUAGES: Final = ("en", "et")
FULL_AGE: Final = 18
LINK_LIFETIME: Final = timedelta(hours=24)
REQUEST_LIFETIME: Final = timedelta(days=30)
CHILD: Final = frozenset({"LAPS", "CHILD"})  # the classifier's value and its English name
COMPANY: Final = "ETTEVOTE"  # ours


class ConsentState(StrEnum):
    REQUESTED = "requested"
    APPROVED = "approved"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    INAPPLICABLE = "inapplicable"
    REPLACED = "replaced"  # an extension took its place


class ConsentEvent(StrEnum):
    GRANT = "grant"
    REFUSE = "refuse"
    WITHDRAW = "withdraw"
    EXPIRE = "expire"
    INVALIDATE = "invalidate"
    REPLACE = "replace"


SUBJECT, CLOCK, AUTHORITY = "subject", "clock", "authority"
REVOKED: Final = ("consents-revoked",)
S, E = ConsentState, ConsentEvent
_SUBJECT, _CLOCK, _AUTHORITY = frozenset({SUBJECT}), frozenset({CLOCK}), frozenset({AUTHORITY})
CONSENTS: Final[StateTable[ConsentState, ConsentEvent]] = {
    S.REQUESTED: {
        E.GRANT: Edge(S.APPROVED, "GDPR art. 6(1)(a), 7(1)", _SUBJECT),
        E.REFUSE: Edge(S.REFUSED, "GDPR art. 4(11), 7(4)", _SUBJECT),
        E.EXPIRE: Edge(S.EXPIRED, "GDPR art. 5(1)(e)", _CLOCK),
        E.INVALIDATE: Edge(S.INAPPLICABLE, "GDPR art. 5(1)(b)", _AUTHORITY),
    },
    S.APPROVED: {
        E.WITHDRAW: Edge(S.WITHDRAWN, "GDPR art. 7(3)", _SUBJECT, REVOKED),
        # everybody knows from the receipt when it expires: nobody has to be told
        E.EXPIRE: Edge(S.EXPIRED, "GDPR art. 5(1)(e)", _CLOCK),
        E.INVALIDATE: Edge(S.INAPPLICABLE, "GDPR art. 5(1)(b)", _AUTHORITY, REVOKED),
        E.REPLACE: Edge(S.REPLACED, "GDPR art. 6(1)(a)", _SUBJECT, REVOKED),
    },
}
# What the state's service calls a consent that was valid once; one that never was has no status there.
WIRE_STATUS: Final[Mapping[ConsentState, str]] = {
    S.APPROVED: "APPROVED",
    S.WITHDRAWN: "DECLINED",
    S.REPLACED: "DECLINED",
    S.EXPIRED: "EXPIRED",
    S.INAPPLICABLE: "INAPPLICABLE",
}

_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9._-]{1,40}")
_CATEGORY: Final = re.compile(r"[a-z][a-z0-9_]{0,39}(\.[a-z][a-z0-9_]{0,39}){0,3}")
_LONGEST_LABEL: Final = 200
_LONGEST_TEXT: Final = 4000


@dataclass(frozen=True, slots=True)
class Texts:
    """The same text in both languages."""

    en: str
    et: str

    def in_language(self, language: str) -> str:
        return self.et if language == "et" else self.en


@dataclass(frozen=True, slots=True)
class DataCategory:
    """A machine-readable part of the data (`address.street`) and what people read for it."""

    code: str
    label: Texts


@dataclass(frozen=True, slots=True)
class ServiceDeclaration:
    """A data provider says which data one of its services gives, and on which terms.

    `provider` is its subsystem, `service` the protected service. `validation_cache_seconds`: how old the provider's
    knowledge of revocations may be, so the longest that a withdrawal can take to work.
    """

    identifier: str
    information_system: str
    provider: str
    controller_name: str
    controller_code: str
    processor_name: str
    processor_code: str
    name: Texts
    description: Texts
    technical_specification_url: str
    service: str
    categories: tuple[DataCategory, ...]
    max_days: int
    expires_at: datetime
    consent_requires_signature: bool = False
    withdrawal_requires_signature: bool = False
    generate_json_from_metadata: bool = True
    extension_allowed: bool = True
    validation_cache_seconds: int = 600
    is_valid: bool = True


@dataclass(frozen=True, slots=True)
class PurposeDeclaration:
    """A client says for which of its e-services it asks for the data of one service declaration, and why.

    `callbacks`: where a person may be led afterwards, as beginnings of addresses. `refusal`: what refusing means.
    """

    identifier: str
    client: str
    recipient_name: str
    recipient_code: str
    service_name: Texts
    service_declaration: str
    name: Texts
    purpose: Texts
    refusal: Texts
    privacy_policy_url: str
    callbacks: tuple[str, ...]
    expires_at: datetime
    is_valid: bool = True


@dataclass(frozen=True, slots=True)
class Consent:
    """One consent, from the request to its end. `actor_code` is who decides: the subject, or who acts for it."""

    consent_id: str
    consent_reference: str
    group_reference: str
    purpose_declaration: str
    service_declaration: str
    client: str
    provider: str
    subject_code: str
    actor_code: str
    relation: str
    state: ConsentState
    requested_at: datetime
    expires_at: datetime
    decided_at: datetime | None = None
    ended_at: datetime | None = None
    locale: str | None = None
    replaces: str | None = None

    @property
    def representative_code(self) -> str | None:
        return self.actor_code if self.actor_code != self.subject_code else None

    def take(self, event: ConsentEvent, *, actor: str, at: datetime) -> "Consent":
        """The consent after `event`. Raises: Conflict, Refused as `take_edge`."""
        edge = take_edge(CONSENTS, self.state, event, actor=actor)
        if event in (E.GRANT, E.REFUSE):
            return replace(self, state=edge.to, decided_at=at)
        return replace(self, state=edge.to, ended_at=at)

    def is_revoked_by(self, event: ConsentEvent) -> bool:
        """Whether client and provider have to be told."""
        edge = CONSENTS.get(self.state, {}).get(event)
        return edge is not None and edge.publishes == REVOKED

    def holds_at(self, at: datetime) -> bool:
        """Approved, and in its time, whether or not the clock has been taken notice of yet."""
        return self.state is S.APPROVED and at < self.expires_at


@dataclass(frozen=True, slots=True)
class ConsentGroup:
    """The consents that one link leads to. `opened_at`: the link was used."""

    group_reference: str
    client: str
    actor_code: str
    callback: str
    created_at: datetime
    link_expires_at: datetime
    opened_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """What happened to a consent: an event, `requested`, or `transmitted` (data went out)."""

    event: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that the person was shown: by language (heading, text) pairs. The page shows exactly this."""

    sections: Mapping[str, tuple[tuple[str, str], ...]]

    def to_json(self) -> str:
        """The one form of it that is stored and hashed."""
        return json.dumps(
            {language: [list(pair) for pair in pairs] for language, pairs in self.sections.items()},
            sort_keys=True,
            separators=(",", ":"),
            ensure_ascii=False,
        )

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_text(self, title: Texts) -> str:
        """What is signed: both languages, one after the other."""
        parts = []
        for language in LANGUAGES:
            parts.append(title.in_language(language) + "\n")
            parts += [f"{heading}\n{text}\n" for heading, text in self.sections[language]]
            parts.append("")
        return "\n".join(parts)


def parse_snapshot(text: str) -> Snapshot:
    return Snapshot(
        {language: tuple((pair[0], pair[1]) for pair in pairs) for language, pairs in json.loads(text).items()}
    )


CONSENT_TITLE: Final = Texts("I consent (TEST)", "Annan nõusoleku (TEST)")
WITHDRAWAL_TITLE: Final = Texts("I withdraw my consent (TEST)", "Võtan nõusoleku tagasi (TEST)")
_WHO = Texts("Who asks", "Kes küsib")
_DATA = Texts("Which data", "Milliseid andmeid")
_FROM = Texts("From whom", "Kellelt")
_ABOUT = Texts("About whom", "Kelle kohta")
_WHY = Texts("Why", "Milleks")
_UNTIL = Texts("Until when", "Kui kauaks")
_REFUSING = Texts("If you refuse", "Kui keeldute")
_WITHDRAWING = Texts("If you change your mind", "Kui mõtlete ümber")
_PRIVACY = Texts("More about how the asker handles data", "Kuidas küsija andmeid kasutab")


def build_snapshot(
    consent: Consent,
    service: ServiceDeclaration,
    purpose: PurposeDeclaration,
    *,
    until: Texts,
    address: str,
) -> Snapshot:
    """What a person is shown of a request. `until`: the expiry as people read it; `address`: of these pages."""
    minutes = -(-service.validation_cache_seconds // 60)
    withdrawing = Texts(
        f"You can withdraw at any time at {address}. It works at once, at the latest after {minutes} minutes."
        " What was passed on before that stays passed on.",
        f"Nõusoleku saate igal ajal tagasi võtta aadressil {address}. See mõjub kohe, hiljemalt {minutes} minuti"
        " pärast. Enne seda edastatut see tagasi ei võta.",
    )
    sections = {}
    for language in LANGUAGES:
        categories = "\n".join(f"• {category.label.in_language(language)}" for category in service.categories)
        data = f"{service.name.in_language(language)}\n{categories}\n{service.description.in_language(language)}"
        holder = f"{service.controller_name} ({service.controller_code})"
        if service.processor_name:
            holder += f"\n{service.processor_name} ({service.processor_code})"
        asker = f"{purpose.recipient_name} ({purpose.recipient_code})\n{purpose.service_name.in_language(language)}"
        pairs = [
            (_WHO, asker),
            (_DATA, data.strip()),
            (_FROM, holder),
            (_ABOUT, _about(consent, language)),
            (_WHY, f"{purpose.name.in_language(language)}\n{purpose.purpose.in_language(language)}"),
            (_UNTIL, until.in_language(language)),
            (_REFUSING, purpose.refusal.in_language(language)),
            (_WITHDRAWING, withdrawing.in_language(language)),
        ]
        if purpose.privacy_policy_url:
            pairs.append((_PRIVACY, purpose.privacy_policy_url))
        sections[language] = tuple((heading.in_language(language), text) for heading, text in pairs)
    return Snapshot(sections)


def _about(consent: Consent, language: str) -> str:
    if consent.representative_code is None:
        return {"en": f"You ({consent.subject_code})", "et": f"Teie ({consent.subject_code})"}[language]
    kind = {
        True: Texts("the company", "ettevõte"),
        False: Texts("the minor", "alaealine"),
    }[consent.relation == COMPANY]
    acting = Texts(
        f"{kind.en} {consent.subject_code}, for whom you ({consent.actor_code}) act",
        f"{kind.et} {consent.subject_code}, keda teie ({consent.actor_code}) esindate",
    )
    return acting.in_language(language)


def decide_expiry(at: datetime, service: ServiceDeclaration, purpose: PurposeDeclaration) -> datetime:
    """When a consent ends that is asked for now: never later than the declarations that it rests on.

    Raises: Conflict `consent.invalid_declarations` when one of them is invalid or over.
    """
    until = min(at + timedelta(days=service.max_days), service.expires_at, purpose.expires_at)
    if not service.is_valid or not purpose.is_valid or until <= at:
        raise Conflict(
            "consent.invalid_declarations",
            purpose.identifier,
            public=f"The declaration does not hold any more: {purpose.identifier}.",
        )
    return until


def check_subject(personal_code: str, *, on: date) -> None:
    """May this person consent for herself?

    Raises: Malformed `consent.id_code_invalid`; Refused `consent.data_subject`.
    """
    if age_on(personal_code, on) < FULL_AGE:
        raise Refused(
            "consent.data_subject", "a minor", public="Somebody under age cannot consent; a parent can do it for them."
        )


def check_representation(representative: str, represented: str, relation: str, *, on: date) -> None:
    """What the codes themselves say about acting for another; the registers are asked when the page is opened.

    Raises: Malformed `consent.relation_type`, `consent.id_code_invalid`; Refused `consent.not_minor`,
        `consent.data_subject`.
    """
    check_subject(representative, on=on)
    if relation in CHILD:
        if len(represented) != 11:
            raise Malformed("consent.id_code_invalid", "a minor has a personal code", public="Not a personal code.")
        if age_on(represented, on) >= FULL_AGE:
            raise Refused("consent.not_minor", "of age", public="The represented person is of age.")
    elif relation == COMPANY:
        if len(represented) != 8:
            raise Malformed("consent.id_code_invalid", "a company has 8 digits", public="Not a registry code.")
    else:
        raise Malformed("consent.relation_type", "no such relation", public="There is no such kind of relation.")


def age_on(personal_code: str, day: date) -> int:
    """Whole years. Raises: Malformed `consent.id_code_invalid`."""
    try:
        born = parse_personal_code(personal_code).born_on
    except Malformed as error:
        raise Malformed(
            "consent.id_code_invalid", error.detail, public="This is not a personal identification code."
        ) from error
    return day.year - born.year - ((day.month, day.day) < (born.month, born.day))


def check_callback(callback: str, purpose: PurposeDeclaration) -> None:
    """May a person be led there? Only to what the declaration names: a link of ours must not lead anywhere else.

    Raises: Refused `consent.callback`.
    """
    given = urlsplit(callback)
    for allowed in purpose.callbacks:
        known = urlsplit(allowed)
        same_origin = (given.scheme, given.netloc) == (known.scheme, known.netloc)
        if same_origin and (given.path == known.path or given.path.startswith(known.path.rstrip("/") + "/")):
            return
    raise Refused(
        "consent.callback", callback[:200], public="The callback is not one of those in the purpose declaration."
    )


def check_service_declaration(declaration: ServiceDeclaration) -> None:
    """Raises: Malformed `consent.declaration`."""
    d = declaration
    _check_declaration(d.identifier, (d.name, d.description), (d.controller_name, d.controller_code, d.service))
    codes = [category.code for category in d.categories]
    if not codes or len(set(codes)) != len(codes) or not all(_CATEGORY.fullmatch(code) for code in codes):
        raise Malformed("consent.declaration", f"{d.identifier}: categories are dotted lower-case words, each once")
    if not 1 <= d.max_days <= 3660 or not 60 <= d.validation_cache_seconds <= 7 * 24 * 3600:
        raise Malformed("consent.declaration", f"{d.identifier}: max_days or validation_cache_seconds")
    if not d.service.startswith(d.provider + "/"):
        raise Malformed("consent.declaration", f"{d.identifier}: the service is not the provider's")


def check_purpose_declaration(declaration: PurposeDeclaration) -> None:
    """Raises: Malformed `consent.declaration`."""
    d = declaration
    _check_declaration(d.identifier, (d.name, d.service_name, d.purpose, d.refusal), (d.recipient_name, d.client))
    if not d.callbacks or not all(urlsplit(c).scheme in ("http", "https") and urlsplit(c).netloc for c in d.callbacks):
        raise Malformed("consent.declaration", f"{d.identifier}: callbacks are addresses, at least one")


def _check_declaration(identifier: str, texts: tuple[Texts, ...], labels: tuple[str, ...]) -> None:
    if not _IDENTIFIER.fullmatch(identifier):
        raise Malformed("consent.declaration", "an identifier has 1 to 40 letters, digits, dots, dashes")
    for text in texts:
        if not all(0 < len(each) <= _LONGEST_TEXT for each in (text.en, text.et)):
            raise Malformed("consent.declaration", f"{identifier}: a text is missing in a language, or too long")
    if not all(0 < len(label) <= _LONGEST_LABEL for label in labels):
        raise Malformed("consent.declaration", f"{identifier}: a name is missing or too long")
