"""Consent receipts and statements of revocations: who may seal them, what may stand in them, for whom and when."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings

from digiid.contracts.members import BANK, POPULATION_REGISTER
from digiid.formats.consent_receipt import (
    MAX_RECEIPT_CHARS,
    MAX_REVOCATIONS,
    RECEIPT_TYPE,
    REVOCATIONS_TYPE,
    ConsentSeal,
    Party,
    RevocationStatement,
    build_receipt,
    parse_receipt,
    parse_revocations,
    sign_receipt,
    sign_revocations,
    verify_receipt,
    verify_revocations,
)
from digiid.formats.jws import sign_compact
from digiid.formats.x509.path import TrustAnchors
from digiid.kernel.errors import DigiidError, Malformed, Refused
from tests.support.consents import HOUR, ORGANIZATION_CODE, RECEIPT, REFERENCE, SEAL_NAME, consent_seal, consent_sealer
from tests.support.pki import AT, NATURAL_QSCD, SEAL_QSCD, key_usage, new_key, person, shared_pki
from tests.support.pki import make_certificate as make
from tests.unit.formats.fuzz import damaged

SEALER, SEAL = consent_sealer(), consent_seal()
AUDIENCE = str(POPULATION_REGISTER)
TOKEN = SEALER.receipt()
PAYLOAD = dict(build_receipt(RECEIPT))


def verify(token: str | bytes, **changes: Any) -> Any:
    return verify_receipt(token, **({"seal": SEAL, "audience": AUDIENCE, "at": AT} | changes)).receipt


def sealed(payload: dict[str, Any], typ: str = RECEIPT_TYPE) -> str:
    return sign_compact(payload, typ=typ, key=SEALER.key, certificates=SEALER.certificates)


@pytest.mark.parametrize("kind", ["p256", "p384"])
def test_a_receipt_says_after_verification_what_it_said_before_it_was_sealed(kind: str) -> None:
    full = replace(RECEIPT, representative_code="38001085718", processor=Party("Õ & Co", "10000202"))
    sealer = consent_sealer(kind=kind)
    for receipt in (RECEIPT, full):
        token = sign_receipt(receipt, key=sealer.key, certificates=sealer.certificates)
        assert verify(token) == receipt == parse_receipt(token)
        assert len(token) < MAX_RECEIPT_CHARS / 2


def test_a_receipt_is_for_one_data_provider_and_its_own_time() -> None:
    with pytest.raises(Refused, match=r"consent_receipt\.audience"):
        verify(TOKEN, audience=str(BANK))
    verify(TOKEN, at=RECEIPT.granted_at)
    verify(TOKEN, at=RECEIPT.granted_at - timedelta(minutes=1))  # clocks differ
    with pytest.raises(Refused, match=r"consent_receipt\.not_yet_valid"):
        verify(TOKEN, at=RECEIPT.granted_at - timedelta(minutes=1, seconds=1))
    verify(TOKEN, at=RECEIPT.expires_at - timedelta(seconds=1))
    with pytest.raises(Refused, match=r"consent_receipt\.expired"):
        verify(TOKEN, at=RECEIPT.expires_at)


@pytest.mark.parametrize(
    "other",
    [
        {"name": "TEST Validation e-seal"},
        {"organization": "NTREE-10000201"},
        {"name": SEAL_NAME.lower()},
    ],
)
def test_another_seal_of_the_same_issuer_does_not_count(other: dict[str, str]) -> None:
    with pytest.raises(Refused, match=r"consent_receipt\.seal"):
        verify(consent_sealer(**other).receipt())  # type: ignore[arg-type]


def test_a_forged_seal_of_the_right_name_does_not_count() -> None:
    key = new_key("p256")
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    subject = SEALER.identity.certificate.subject
    for issuer in (None, shared_pki().tsu, consent_sealer(name="other").identity):
        forged = make(subject, key, issuer, SEAL_QSCD)
        token = sign_receipt(RECEIPT, key=key, certificates=[forged.certificate])
        with pytest.raises(Refused, match=r"consent_receipt\.seal"):
            verify(token)


def test_the_real_certificate_over_another_keys_signature_is_refused() -> None:
    head = TOKEN.split(".")[0]
    _, body, value = consent_sealer(name="thief").receipt().split(".")
    with pytest.raises(Refused, match=r"jws\.signature"):
        verify(f"{head}.{body}.{value}")


@pytest.mark.parametrize(
    "extensions",
    [NATURAL_QSCD, (key_usage(digital_signature=True), *SEAL_QSCD[1:]), (SEAL_QSCD[0], *SEAL_QSCD[2:])],
    ids=["a person's policy", "no content commitment", "no policy"],
)
def test_a_certificate_of_the_right_name_that_is_no_seal_does_not_count(extensions: Any) -> None:
    identity = shared_pki().issue(SEALER.identity.certificate.subject, kind="p256", extensions=extensions)
    assert isinstance(identity.key, ec.EllipticCurvePrivateKey)
    with pytest.raises(Refused, match=r"consent_receipt\.seal"):
        verify(sign_receipt(RECEIPT, key=identity.key, certificates=[identity.certificate]))


def test_a_persons_certificate_does_not_count() -> None:
    identity = shared_pki().issue(person("X", "38001085718"), kind="p256")
    assert isinstance(identity.key, ec.EllipticCurvePrivateKey)
    with pytest.raises(Refused, match=r"consent_receipt\.seal"):
        verify(sign_receipt(RECEIPT, key=identity.key, certificates=[identity.certificate]))


def test_an_expired_seal_does_not_count_and_a_renewed_one_does() -> None:
    renewed = consent_sealer(kind="p384")
    later = AT + timedelta(days=740)
    receipt = {"granted_at": later - HOUR, "expires_at": later + HOUR}
    with pytest.raises(Refused, match=r"consent_receipt\.seal: .*x509\.path\.expired"):
        verify(SEALER.receipt(**receipt), at=later)
    assert verify(renewed.receipt()).consent_reference == REFERENCE


def test_a_receipt_by_a_seal_that_has_ended_since_holds_for_a_consent_from_before_its_end() -> None:
    ends_at = SEALER.identity.certificate.not_valid_after_utc
    minute, month = timedelta(minutes=1), timedelta(days=30)
    for granted_at in (ends_at - month, ends_at - HOUR, ends_at, ends_at + minute):  # clocks differ
        token = SEALER.receipt(granted_at=granted_at, expires_at=ends_at + month)
        for at in (granted_at, ends_at + 2 * minute, ends_at + month - minute):
            assert verify(token, at=at).granted_at == granted_at
        with pytest.raises(Refused, match=r"consent_receipt\.expired"):
            verify(token, at=ends_at + month)
    late = SEALER.receipt(granted_at=ends_at + minute + timedelta(seconds=1), expires_at=ends_at + month)
    with pytest.raises(Refused, match=r"consent_receipt\.seal: .*x509\.path\.expired"):
        verify(late, at=ends_at + HOUR)


def test_a_seal_that_has_ended_is_still_judged_in_everything_else() -> None:
    ends_at = SEALER.identity.certificate.not_valid_after_utc
    times = {"granted_at": ends_at - HOUR, "expires_at": ends_at + 24 * HOUR}
    key = new_key("p256")
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    forged = make(SEALER.identity.certificate.subject, key, None, SEAL_QSCD)
    for token in (
        consent_sealer(name="thief").receipt(**times),
        sign_receipt(replace(RECEIPT, **times), key=key, certificates=[forged.certificate]),  # type: ignore[arg-type]
    ):
        with pytest.raises(Refused, match=r"consent_receipt\.seal"):
            verify(token, at=ends_at + HOUR)
    head, body, _ = SEALER.receipt(**times).split(".")
    with pytest.raises(Refused, match=r"jws\.signature"):
        verify(f"{head}.{body}.{TOKEN.split('.')[2]}", at=ends_at + HOUR)
    # what was revoked is told by the seal of now
    with pytest.raises(Refused, match=r"consent_receipt\.seal"):
        verify_revocations(SEALER.revocations(at=ends_at - HOUR), seal=SEAL, audience=AUDIENCE, at=ends_at + HOUR)


def test_seals_can_be_named_one_by_one() -> None:
    only = ConsentSeal(SEAL.anchors, ORGANIZATION_CODE, SEAL_NAME, frozenset({SEALER.identity.der}))
    assert verify(TOKEN, seal=only) == RECEIPT
    with pytest.raises(Refused, match=r"consent_receipt\.seal"):
        verify(consent_sealer(kind="p384").receipt(), seal=only)


def test_a_seal_that_is_its_own_anchor_does_not_count() -> None:
    anchors = TrustAnchors([SEALER.identity.certificate])
    with pytest.raises(Refused, match=r"consent_receipt\.seal"):
        verify(TOKEN, seal=ConsentSeal(anchors, ORGANIZATION_CODE, SEAL_NAME))


def test_a_statement_is_no_receipt_and_a_receipt_no_statement() -> None:
    with pytest.raises(Malformed, match=r"jws\.header"):
        verify(SEALER.revocations(REFERENCE))
    with pytest.raises(Malformed, match=r"jws\.header"):
        verify_revocations(TOKEN, seal=SEAL, audience=AUDIENCE, at=AT)
    with pytest.raises(Malformed, match=r"jws\.header"):
        verify(sealed(PAYLOAD, typ="JWT"))


@pytest.mark.parametrize("name", sorted(PAYLOAD))
def test_no_field_may_be_missing_or_of_another_kind(name: str) -> None:
    for value in (None, {}, [], "", True, -1, 10**14, "x" * 3000, "\u0000", ["x", 1], {"name": "x"}):
        if name == "pii_processors" and value == []:
            continue  # there may be none
        with pytest.raises(Malformed, match=r"consent_receipt\.field|jws\."):
            verify(sealed({**PAYLOAD, name: value}))
    with pytest.raises(Malformed, match=r"consent_receipt\.field"):
        verify(sealed({key: value for key, value in PAYLOAD.items() if key != name}))


@pytest.mark.parametrize(
    "changes",
    [
        {"scope": "everything"},
        {"consent_reference": "c" * 21},  # fewer than 128 bits
        {"pii_principal_id": "EE60001019906"},
        {"pii_principal_id": "6000101990"},
        {"representative_id": "12345678"},
        {"valid_until": PAYLOAD["event_time"]},
        {"event_type": "withdrawn"},
        {"schema_version": "digiid-2"},
        {"pii_categories": []},
        {"pii_categories": ["Address"]},
        {"pii_categories": ["address.country"] * 51},
        {"services": []},
        {"withdrawal_method": "javascript:alert(1)"},
        {"validation_cache_seconds": 7 * 24 * 3600 + 1},
        {"pii_processors": [{"name": "a", "code": "1"}, {"name": "b", "code": "2"}]},
    ],
)
def test_what_a_receipt_may_not_say(changes: dict[str, Any]) -> None:
    with pytest.raises(Malformed, match=r"consent_receipt\.field"):
        verify(sealed({**PAYLOAD, **changes}))


def test_a_receipt_that_could_not_be_read_again_is_not_sealed() -> None:
    for changes in ({"data_categories": ("UPPER",)}, {"services": ("x" * 500,) * 30}):
        with pytest.raises(Malformed):
            SEALER.receipt(**changes)


# ------------------------------------------------------------------ revocations


def revocations(token: str, **changes: Any) -> RevocationStatement:
    return verify_revocations(token, **({"seal": SEAL, "audience": AUDIENCE, "at": AT} | changes))


def test_a_statement_is_read_as_it_was_sealed() -> None:
    statement = revocations(SEALER.revocations(REFERENCE, "d" * 43, after=4, head=9))
    assert [(r.number, r.consent_reference) for r in statement.revocations] == [(5, REFERENCE), (6, "d" * 43)]
    assert (statement.after, statement.up_to, statement.head, statement.is_complete) == (4, 6, 9, False)
    assert revocations(SEALER.revocations()).is_complete


def test_a_statement_of_somebody_else_or_for_somebody_else_is_refused() -> None:
    with pytest.raises(Refused, match=r"consent_receipt\.audience"):
        revocations(SEALER.revocations(REFERENCE), audience=str(BANK))
    with pytest.raises(Refused, match=r"consent_receipt\.seal"):
        revocations(consent_sealer(name="thief").revocations(REFERENCE))


STATEMENT = {"iss": RECEIPT.issuer, "aud": AUDIENCE, "iat": int(AT.timestamp()), "after": 4, "up_to": 5, "head": 5}
ENTRY = [5, REFERENCE, "withdrawn", int(AT.timestamp())]


@pytest.mark.parametrize(
    "changes",
    [
        {"revoked": [ENTRY, ENTRY]},
        {"revoked": []},
        {"revoked": [[6, *ENTRY[1:]]]},
        {"revoked": [ENTRY], "head": 4},
        {"revoked": [ENTRY], "after": 5},
        {"revoked": [ENTRY[:3]]},
        {"revoked": [[*ENTRY, 1]]},
        {"revoked": [[True, *ENTRY[1:]]]},
        {"revoked": [[5, "short", *ENTRY[2:]]]},
        {"revoked": [[5, REFERENCE, "Bad reason", ENTRY[3]]]},
        {"revoked": [[5, REFERENCE, "withdrawn", "now"]]},
        {"revoked": {"5": ENTRY}},
        {"revoked": [ENTRY], "extra": 1},
    ],
)
def test_a_statement_with_gaps_or_oddities_is_refused(changes: dict[str, Any]) -> None:
    assert revocations(sealed({**STATEMENT, "revoked": [ENTRY]}, REVOCATIONS_TYPE)).up_to == 5
    with pytest.raises(Malformed, match=r"consent_receipt\.field"):
        revocations(sealed({**STATEMENT, **changes}, REVOCATIONS_TYPE))


def test_a_full_statement_fits_and_a_longer_one_is_not_made() -> None:
    token = SEALER.revocations(*(f"{n:043d}" for n in range(MAX_REVOCATIONS)))
    assert len(parse_revocations(token).revocations) == MAX_REVOCATIONS
    with pytest.raises(Malformed):
        SEALER.revocations(*(f"{n:043d}" for n in range(MAX_REVOCATIONS + 1)))


def test_signing_needs_the_seals_own_key() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    statement = parse_revocations(SEALER.revocations())
    with pytest.raises(Refused, match=r"jws\.key"):
        sign_revocations(statement, key=key, certificates=SEALER.certificates)


@settings(max_examples=200, deadline=None)
@given(damaged(TOKEN.encode()))
def test_damage_never_escapes_and_never_verifies(data: bytes) -> None:
    try:
        verified = verify(data)
    except DigiidError:
        return
    assert (data, verified) == (TOKEN.encode(), RECEIPT)


@settings(max_examples=100, deadline=None)
@given(damaged(json.dumps(PAYLOAD).encode()))
def test_damaged_payloads_under_a_true_seal_never_escape(data: bytes) -> None:
    try:
        payload = json.loads(data)
        verify(sealed(payload))
    except (ValueError, DigiidError, AttributeError, TypeError):
        return


def test_a_subject_may_be_a_company() -> None:
    assert verify(SEALER.receipt(subject_code="10000201", representative_code="38001085718")).subject_code == "10000201"
