"""Web eID tokens: what is accepted, what is refused and why, and that nothing else than our errors escapes."""

import base64
import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from digiid.formats.webeid import (
    MAX_TOKEN_LENGTH,
    NCP_PLUS,
    VerifiedToken,
    build_signed_data,
    parse_token,
    verify_token,
)
from digiid.formats.x509.profile import DocumentPolicy
from digiid.kernel.errors import Malformed, Refused
from tests.support.pki import (
    AT,
    CA_EXTENSIONS,
    Identity,
    distinguished_name,
    key_usage,
    make_certificate,
    new_key,
    person,
    policies,
    shared_pki,
)
from tests.unit.formats.fuzz import damaged

ORIGIN = "https://portal.example.test"
NONCE = base64.b64encode(bytes(range(32))).decode()
SUBJECT = person("O’CONNEŽ-ŠUSLIK", "60001019906")
SERVER_AUTH = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
CLIENT_AUTH = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
E_RESIDENT = policies(DocumentPolicy.E_RESIDENT.oid, NCP_PLUS)
FOR_SIGNING_IN = (key_usage(digital_signature=True), CLIENT_AUTH, E_RESIDENT)
_CURVES = {"ES256": (hashes.SHA256(), "sha256"), "ES384": (hashes.SHA384(), "sha384")}


@functools.cache
def holder() -> Identity:
    return shared_pki().issue(SUBJECT, extensions=FOR_SIGNING_IN)


def issue(extensions: Sequence[Any], **options: Any) -> Identity:
    return shared_pki().issue(options.pop("subject", SUBJECT), extensions=extensions, **options)


def make_token(
    identity: Identity | None = None,
    *,
    origin: str = ORIGIN,
    nonce: str = NONCE,
    algorithm: str = "ES384",
    **fields: Any,
) -> dict[str, Any]:
    """What the card and the application give: everything right unless told otherwise."""
    identity = identity or holder()
    algorithm_hash, hash_name = _CURVES[algorithm]
    digest = hashlib.new(hash_name, build_signed_data(origin=origin, nonce=nonce, hash_name=hash_name)).digest()
    assert isinstance(identity.key, ec.EllipticCurvePrivateKey)
    r, s = decode_dss_signature(identity.key.sign(digest, ec.ECDSA(Prehashed(algorithm_hash))))
    size = (identity.key.key_size + 7) // 8
    return {
        "unverifiedCertificate": base64.b64encode(identity.der).decode(),
        "algorithm": algorithm,
        "signature": base64.b64encode(r.to_bytes(size, "big") + s.to_bytes(size, "big")).decode(),
        "format": "web-eid:1.0",
        "appVersion": "https://web-eid.eu/web-eid-app/releases/2.9.0+0",
        **fields,
    }


def verify(token: dict[str, Any] | str, **options: Any) -> VerifiedToken:
    values: dict[str, Any] = {"origin": ORIGIN, "nonce": NONCE, "anchors": [shared_pki().ca.certificate], "at": AT}
    return verify_token(token if isinstance(token, str) else json.dumps(token), **{**values, **options})


def refused(token: dict[str, Any] | str, **options: Any) -> str:
    with pytest.raises((Refused, Malformed)) as error:
        verify(token, **options)
    return error.value.code


def test_a_right_token_says_who_and_with_which_document() -> None:
    verified = verify(make_token())
    assert (verified.personal_code, verified.surname, verified.given_names) == (
        "60001019906",
        "O’CONNEŽ-ŠUSLIK",
        "MARY ÄNN",
    )
    assert verified.policy is DocumentPolicy.E_RESIDENT
    assert verified.issuer == shared_pki().ca.certificate


def test_only_the_policy_tells_a_citizen_from_an_e_resident() -> None:
    citizen = issue((FOR_SIGNING_IN[0], CLIENT_AUTH, policies(DocumentPolicy.CITIZEN.oid, NCP_PLUS)))
    assert verify(make_token(citizen)).policy is DocumentPolicy.CITIZEN


@pytest.mark.parametrize("version", ["web-eid:1", "web-eid:1.0", "web-eid:1.1"])
def test_later_minor_versions_with_more_fields_are_read(version: str) -> None:
    more = {"unverifiedSigningCertificates": [{"certificate": "x", "supportedSignatureAlgorithms": []}]}
    assert verify(make_token(format=version, **more)).personal_code == "60001019906"


def test_p256_keys_sign_with_es256() -> None:
    assert verify(make_token(issue(FOR_SIGNING_IN, kind="p256"), algorithm="ES256")).surname


# ------------------------------------------------------------------ refused


@pytest.mark.parametrize(
    "origin",
    [
        "https://portal.example.test:8443",
        "http://portal.example.test",
        "https://portal.example.test/",
        "https://evil.test",
    ],
)
def test_a_token_for_another_origin(origin: str) -> None:
    assert refused(make_token(origin=origin)) == "webeid.signature"


def test_a_token_for_another_nonce() -> None:
    assert refused(make_token(nonce=base64.b64encode(bytes(32)).decode())) == "webeid.signature"


def test_origin_and_nonce_cannot_be_shifted_into_each_other() -> None:
    shifted = make_token(origin=ORIGIN + NONCE[:1], nonce=NONCE[1:])
    assert refused(shifted) == "webeid.signature"


def test_a_short_nonce_is_never_used() -> None:
    assert refused(make_token(nonce="short"), nonce="short") == "webeid.nonce"


def test_somebody_elses_certificate_with_ones_own_signature() -> None:
    thief = make_token(issue(FOR_SIGNING_IN, subject=person("VARAS", "38001085718")))
    stolen = {**thief, "unverifiedCertificate": make_token()["unverifiedCertificate"]}
    assert refused(stolen) == "webeid.signature"


@pytest.mark.parametrize(
    "signature", [bytes(96), b"\xff" * 96, bytes(95), bytes(97), bytes(64), b"\x30\x06" + bytes(94)]
)
def test_a_signature_that_is_none(signature: bytes) -> None:
    assert refused(make_token(signature=base64.b64encode(signature).decode())) == "webeid.signature"


def test_an_algorithm_that_does_not_fit_the_key() -> None:
    assert refused(make_token() | {"algorithm": "ES256"}) == "webeid.signature"


def test_a_certificate_of_a_stranger() -> None:
    stranger = make_certificate(distinguished_name("Stranger CA"), new_key(), None, CA_EXTENSIONS)
    foreign = make_certificate(SUBJECT, new_key(), stranger, FOR_SIGNING_IN)
    assert refused(make_token(foreign)) == "webeid.certificate_foreign"


def test_a_self_signed_certificate() -> None:
    own = make_certificate(SUBJECT, new_key(), None, FOR_SIGNING_IN)
    assert refused(make_token(own)) == "webeid.certificate_foreign"


def test_a_counterfeit_that_names_our_ca() -> None:
    ours = shared_pki().ca
    pretender = make_certificate(ours.certificate.subject, new_key(), None, CA_EXTENSIONS)
    assert refused(make_token(make_certificate(SUBJECT, new_key(), pretender, FOR_SIGNING_IN))) == (
        "webeid.certificate_counterfeit"
    )


def test_a_certificate_before_and_after_its_time() -> None:
    token = make_token()
    assert refused(token, at=AT - timedelta(days=40)) == "webeid.certificate_time"
    assert refused(token, at=AT + timedelta(days=301)) == "webeid.certificate_time"


def test_the_holder_of_a_ca_certificate_is_nobody() -> None:
    extensions = [extension for extension in FOR_SIGNING_IN if extension is not FOR_SIGNING_IN[0]]
    ca_like = issue((*extensions, key_usage(key_cert_sign=True)))
    assert refused(make_token(ca_like)) == "webeid.certificate_usage"


@pytest.mark.parametrize(
    "extensions",
    [
        (key_usage(content_commitment=True), E_RESIDENT),  # the card's other certificate
        (key_usage(content_commitment=True), CLIENT_AUTH, E_RESIDENT),
        (
            key_usage(digital_signature=True),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
            E_RESIDENT,
        ),
        (key_usage(digital_signature=True), E_RESIDENT),
        (CLIENT_AUTH, E_RESIDENT),
    ],
    ids=["signing", "signing-with-eku", "server", "no-eku", "no-ku"],
)
def test_a_certificate_for_something_else(extensions: Sequence[Any]) -> None:
    assert refused(make_token(issue(extensions))) == "webeid.certificate_usage"


@pytest.mark.parametrize(
    "oids",
    [
        (NCP_PLUS,),
        ("1.3.6.1.4.1.10015.1.3", NCP_PLUS),  # Mobile-ID
        ("1.3.6.1.4.1.51361.1.2.99", NCP_PLUS),
        (DocumentPolicy.E_RESIDENT.oid,),  # without NCP+
        ("2.5.29.32.0", NCP_PLUS),  # anyPolicy is no document
    ],
)
def test_a_certificate_without_the_policies_of_a_document(oids: tuple[str, ...]) -> None:
    odd = issue((FOR_SIGNING_IN[0], CLIENT_AUTH, policies(*oids)))
    assert refused(make_token(odd)) == "webeid.certificate_policy"


def test_a_certificate_that_names_no_person() -> None:
    nobody = issue(FOR_SIGNING_IN, subject=distinguished_name("A company", organization="Company"))
    assert refused(make_token(nobody)) == "webeid.certificate_policy"


# ------------------------------------------------------------------ malformed


BROKEN: dict[str, Callable[[], str]] = {
    "empty": lambda: "",
    "not JSON": lambda: "x" * 200,
    "an array": lambda: json.dumps(["x" * 200]),
    "deep": lambda: "[" * 5000 + "]" * 4000,
    "deep objects": lambda: '{"a":' * 1500,
    "too long": lambda: json.dumps(make_token(padding="x" * MAX_TOKEN_LENGTH)),
    "no format": lambda: json.dumps({k: v for k, v in make_token().items() if k != "format"}),
    "another format": lambda: json.dumps(make_token(format="web-eid:2.0")),
    "a longer format": lambda: json.dumps(make_token(format="web-eid:10")),
    "RSA": lambda: json.dumps(make_token() | {"algorithm": "RS256"}),
    "none": lambda: json.dumps(make_token() | {"algorithm": "none"}),
    "a number": lambda: json.dumps(make_token(signature=5)),
    "not base64": lambda: json.dumps(make_token(signature="!" * 128)),
    "base64 with line ends": lambda: json.dumps(make_token(signature="AAAA\n" * 20)),
    "not a certificate": lambda: json.dumps(make_token(unverifiedCertificate=base64.b64encode(b"x" * 300).decode())),
    "a truncated certificate": lambda: json.dumps(
        make_token(unverifiedCertificate=base64.b64encode(holder().der[:-10]).decode())
    ),
    "a lone surrogate": lambda: json.dumps(make_token(signature="\ud800" * 40)),
    "a huge number": lambda: '{"format": ' + "9" * 6000 + "}",
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_not_a_token_is_malformed(name: str) -> None:
    with pytest.raises(Malformed) as error:
        parse_token(BROKEN[name]())
    assert error.value.code == "webeid.token"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=200),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=20), children, max_size=4),
    max_leaves=12,
)


@given(
    st.dictionaries(
        st.sampled_from(["unverifiedCertificate", "algorithm", "signature", "format", "appVersion"]),
        _JSON | st.binary(max_size=300).map(lambda data: base64.b64encode(data).decode()),
    )
)
def test_nothing_but_our_errors_escapes_fields_of_any_kind(fields: dict[str, Any]) -> None:
    try:
        verify({**make_token(), **fields})
    except (Malformed, Refused):
        return
    # what still verifies differs only in what nobody signs and nobody reads
    assert set(fields) <= {"appVersion", "format", "algorithm", "unverifiedCertificate", "signature"}


@given(st.binary(max_size=400) | st.text(max_size=400))
def test_nothing_but_our_errors_escapes_any_bytes(data: bytes | str) -> None:
    with pytest.raises((Malformed, Refused)):
        verify_token(data, origin=ORIGIN, nonce=NONCE, anchors=[shared_pki().ca.certificate], at=AT)


@given(st.data())
def test_a_damaged_certificate_is_refused(data: st.DataObject) -> None:
    der = data.draw(damaged(holder().der))
    if der == holder().der:
        return
    with pytest.raises((Malformed, Refused)):
        verify(make_token(unverifiedCertificate=base64.b64encode(der).decode()))
