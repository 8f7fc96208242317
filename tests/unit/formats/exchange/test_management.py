"""Management requests: read strictly, signed over their exact bytes."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from digiid.formats.exchange.management import (
    MAX_ENVELOPE_BYTES,
    MAX_REQUEST_BYTES,
    ManagementRequest,
    Operation,
    Proof,
    ProofBy,
    build_envelope,
    build_management_request,
    parse_envelope,
    parse_management_request,
    sign_management_request,
    verify_management_signature,
)
from digiid.kernel.errors import Malformed, Refused
from digiid.kernel.identifiers import ClientId, MemberId, ServerId
from tests.unit.formats.fuzz import damaged, only_raises

AT = datetime(2026, 11, 23, 10, 0, 0, 123456, tzinfo=UTC)
ID = "7f1f1e3c-6a55-4a1f-9a43-0c7f0c5f5a01"
SERVER = ServerId("EE", "GOV", "70000105", "state")
POLICE = ClientId("EE", "GOV", "70000101", "police")
BASE = ManagementRequest(Operation.MAINTENANCE_OFF, ID, AT, SERVER)
REQUESTS = {
    Operation.AUTH_CERT_REGISTRATION: replace(BASE, address="127.0.0.1:5500", auth_cert_hash="ab" * 32),
    Operation.AUTH_CERT_DELETION: replace(BASE, auth_cert_hash="ab" * 32),
    Operation.CLIENT_REGISTRATION: replace(BASE, client=POLICE, subsystem_name="Dokumendid õü"),
    Operation.CLIENT_DELETION: replace(BASE, client=POLICE),
    Operation.OWNER_CHANGE: replace(BASE, client=POLICE.member),
    Operation.ADDRESS_CHANGE: replace(BASE, address="ss.example.ee"),
    Operation.CLIENT_DISABLE: replace(BASE, client=POLICE),
    Operation.CLIENT_ENABLE: replace(BASE, client=MemberId("EE", "GOV", "70000101")),
    Operation.CLIENT_RENAME: replace(BASE, client=POLICE, subsystem_name="New"),
    Operation.MAINTENANCE_ON: replace(BASE, message="until noon"),
    Operation.MAINTENANCE_OFF: BASE,
}
REQUESTS = {operation: replace(request, operation=operation) for operation, request in REQUESTS.items()}
KEY = ec.generate_private_key(ec.SECP256R1())


def document(**changes: Any) -> bytes:
    found = json.loads(build_management_request(REQUESTS[Operation.ADDRESS_CHANGE]))
    return json.dumps({k: v for k, v in {**found, **changes}.items() if v is not None}).encode()


@pytest.mark.parametrize("operation", list(Operation))
def test_what_is_built_is_read_back(operation: Operation) -> None:
    request = REQUESTS[operation]
    assert parse_management_request(build_management_request(request)) == request


@pytest.mark.parametrize(
    "changes",
    [
        {"protocolVersion": "2"},
        {"protocolVersion": None},
        {"protocolVersion": 1},
        {"operation": "clientreg"},
        {"operation": None},
        {"operation": ["addressChange"]},
        {"requestId": "7F1F1E3C-6A55-4A1F-9A43-0C7F0C5F5A01"},
        {"requestId": "1"},
        {"createdAt": "2026-11-23T10:00:00"},
        {"createdAt": "2026-11-23T10:00:00+02:00"},
        {"createdAt": "2026-13-23T10:00:00Z"},
        {"server": "EE/GOV/70000105"},
        {"server": "EE/GOV/70000105/st/ate"},
        {"server": "EE/GOV/../state"},
        {"server": "EE/GOV/\ud800/state"},
        {"address": None},
        {"address": ""},
        {"address": "http://ss.example.ee"},
        {"address": "ss.example.ee:0"},
        {"address": "ss.example.ee:65500"},
        {"address": "ss.example.ee:٥٥٠٠"},
        {"address": "ss..example.ee"},
        {"address": "ss.example.ee\n"},
        {"address": "-ss.example.ee"},
        {"address": "a" * 2000},
        {"client": "EE/GOV/70000101/police"},
        {"subsystemName": "x"},
        {"other": "x"},
        {"message": None, "authCertHash": "ab" * 32},
    ],
)
def test_missing_other_and_wrong_fields_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        parse_management_request(document(**changes))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"\xff{}",
        b"{" * 100_000,
        b"[" * 7000,
        b'{"operation": NaN}',
        b" " * (MAX_REQUEST_BYTES + 1),
        document() + b"x",
        document().replace(b'"server"', b'"operation": "addressChange", "server"'),
    ],
    ids=lambda data: repr(data[:12]),
)
def test_what_is_no_request_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed, match=r"exchange\.management\."):
        parse_management_request(data)


def test_an_owner_is_a_member_and_what_is_renamed_a_subsystem() -> None:
    for request in (
        replace(REQUESTS[Operation.OWNER_CHANGE], client=POLICE),
        replace(REQUESTS[Operation.CLIENT_RENAME], client=POLICE.member),
    ):
        with pytest.raises(Malformed, match=r"exchange\.management\.client"):
            build_management_request(request)


@pytest.mark.parametrize("text", ["a\u202eb", "a\tb", " a", "a" * 201])
def test_texts_are_printable_and_short(text: str) -> None:
    with pytest.raises(Malformed):
        build_management_request(replace(REQUESTS[Operation.MAINTENANCE_ON], message=text))


@pytest.mark.parametrize("address", ["10.0.0.1", "ss.example.ee:5500", "[2001:db8::1]", "[2001:db8::1]:5500"])
def test_addresses_that_are_read(address: str) -> None:
    request = replace(REQUESTS[Operation.ADDRESS_CHANGE], address=address)
    assert parse_management_request(build_management_request(request)).address == address


# ------------------------------------------------------------------ envelope and signatures


def envelope_of(request: ManagementRequest = BASE) -> tuple[bytes, bytes]:
    request_bytes = build_management_request(request)
    algorithm, signature = sign_management_request(KEY, request_bytes)
    return build_envelope(request_bytes, [Proof(ProofBy.OWNER, algorithm, signature, b"cert", b"ocsp")]), request_bytes


def changed(**changes: Any) -> bytes:
    found = json.loads(envelope_of()[0])
    return json.dumps({**found, **changes}).encode()


def changed_proof(**changes: Any) -> bytes:
    found = json.loads(envelope_of()[0])
    proof = {key: value for key, value in {**found["proofs"][0], **changes}.items() if value is not None}
    return json.dumps({**found, "proofs": [proof]}).encode()


def test_the_bytes_come_back_exactly() -> None:
    envelope, request_bytes = envelope_of()
    found = parse_envelope(envelope)
    assert found.request_bytes == request_bytes and found.request == BASE
    assert found.proofs[ProofBy.OWNER].certificate_der == b"cert"


@pytest.mark.parametrize(
    "envelope",
    [
        changed(proofs=[]),
        changed(proofs={}),
        changed(proofs=[1]),
        changed(proofs=json.loads(envelope_of()[0])["proofs"] * 2),
        changed(proofs=json.loads(envelope_of()[0])["proofs"] * 4),
        changed(more=1),
        changed(request="!"),
        changed(request=1),
        changed(request=""),
        changed(request=base64.b64encode(b" " * (MAX_REQUEST_BYTES + 1)).decode()),
        changed_proof(by="nobody"),
        changed_proof(by=["owner"]),
        changed_proof(algorithm="SHA1withRSA"),
        changed_proof(algorithm=["SHA512withRSA"]),
        changed_proof(signature=base64.b64encode(bytes(2000)).decode()),
        changed_proof(certificate="AA=A"),
        changed_proof(ocsp=None),
        changed_proof(more="x"),
        b"{}",
        b" " * (MAX_ENVELOPE_BYTES + 1),
    ],
)
def test_what_is_no_envelope_is_refused(envelope: bytes) -> None:
    with pytest.raises(Malformed):
        parse_envelope(envelope)


@settings(max_examples=300)
@given(damaged(envelope_of()[0]))
def test_a_damaged_envelope_only_ever_is_malformed(envelope: bytes) -> None:
    only_raises(Malformed, lambda: parse_envelope(envelope))


@settings(max_examples=300)
@given(damaged(build_management_request(REQUESTS[Operation.CLIENT_REGISTRATION])))
def test_a_damaged_request_only_ever_is_malformed(request_bytes: bytes) -> None:
    only_raises(Malformed, lambda: parse_management_request(request_bytes))


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda c: st.lists(c, max_size=3)))
def test_any_json_in_any_field_only_ever_is_malformed(value: Any) -> None:
    for name in ("request", "proofs"):
        only_raises(Malformed, lambda name=name: parse_envelope(changed(**{name: value})))  # type: ignore[misc]
    for name in ("by", "algorithm", "signature", "certificate", "ocsp"):
        only_raises(Malformed, lambda name=name: parse_envelope(changed_proof(**{name: value})))  # type: ignore[misc]


KEYS = {
    "P-256": ec.generate_private_key(ec.SECP256R1()),
    "P-384": ec.generate_private_key(ec.SECP384R1()),
    "RSA": rsa.generate_private_key(65537, 2048),
}
NAMES = {"P-256": "SHA256withECDSA", "P-384": "SHA384withECDSA", "RSA": "SHA512withRSA"}


@pytest.mark.parametrize("name", list(KEYS))
def test_signatures_verify_over_exactly_these_bytes(name: str) -> None:
    key, request_bytes = KEYS[name], build_management_request(BASE)
    algorithm, signature = sign_management_request(key, request_bytes)
    assert algorithm == NAMES[name]
    proof = Proof(ProofBy.OWNER, algorithm, signature, b"", b"")
    verify_management_signature(proof, key.public_key(), request_bytes)
    for other in (request_bytes + b" ", request_bytes[:-1], b""):
        with pytest.raises(Refused, match=r"exchange\.management\.signature"):
            verify_management_signature(proof, key.public_key(), other)
    for wrong in (
        replace(proof, signature=b"x"),
        replace(proof, algorithm="SHA512withECDSA" if name == "RSA" else "SHA512withRSA"),
    ):
        with pytest.raises(Refused, match=r"exchange\.management\.signature"):
            verify_management_signature(wrong, key.public_key(), request_bytes)


def test_weak_keys_prove_nothing() -> None:
    weak = rsa.generate_private_key(65537, 1024)
    algorithm, signature = sign_management_request(weak, b"{}")
    with pytest.raises(Refused, match=r"x509\.public_key"):
        verify_management_signature(Proof(ProofBy.OWNER, algorithm, signature, b"", b""), weak.public_key(), b"{}")
