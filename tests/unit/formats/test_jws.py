"""Compact JWS: one way to write a thing, and everything else refused."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings

from digiid.formats.jws import MAX_CHAIN, UnverifiedJws, parse_compact, sign_compact, verify_compact
from digiid.kernel.errors import DigiidError, Malformed, Refused
from tests.support.consents import consent_sealer
from tests.support.pki import shared_pki
from tests.unit.formats.fuzz import damaged

SEALER = consent_sealer()
PAYLOAD = {"a": "õ", "b": [1, {"c": True}], "n": -5}
TOKEN = sign_compact(PAYLOAD, typ="t", key=SEALER.key, certificates=SEALER.certificates)
HEAD, BODY, VALUE = TOKEN.split(".")


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def read(token: str | bytes, max_chars: int = 9000) -> UnverifiedJws:
    return parse_compact(token, typ="t", max_chars=max_chars)


def with_header(**changes: Any) -> str:
    header = json.loads(decode(HEAD)) | changes
    return f"{encode(json.dumps({k: v for k, v in header.items() if v is not None}).encode())}.{BODY}.{VALUE}"


def with_payload(payload: bytes) -> str:
    return f"{HEAD}.{encode(payload)}.{VALUE}"


@pytest.mark.parametrize(("kind", "algorithm"), [("p256", "ES256"), ("p384", "ES384")])
def test_what_was_signed_is_read_and_verified(kind: str, algorithm: str) -> None:
    sealer = consent_sealer(kind=kind)
    token = sign_compact(
        PAYLOAD, typ="t", key=sealer.key, certificates=(*sealer.certificates, shared_pki().ca.certificate)
    )
    unverified = read(token)
    assert (unverified.algorithm, len(unverified.certificates)) == (algorithm, 2)
    assert verify_compact(unverified) == PAYLOAD
    assert verify_compact(read(token.encode())) == PAYLOAD


def test_every_bit_of_the_signature_and_every_byte_of_the_rest_counts() -> None:
    value = bytearray(decode(VALUE))
    for at in range(len(value)):
        value[at] ^= 1
        with pytest.raises(Refused, match=r"jws\.signature"):
            verify_compact(read(f"{HEAD}.{BODY}.{encode(bytes(value))}"))
        value[at] ^= 1
    other = sign_compact({"a": "o"}, typ="t", key=SEALER.key, certificates=SEALER.certificates)
    with pytest.raises(Refused, match=r"jws\.signature"):
        verify_compact(read(f"{HEAD}.{other.split('.')[1]}.{VALUE}"))


@pytest.mark.parametrize(
    "value", [b"", bytes(63), bytes(64), bytes(65), b"\xff" * 64, bytes(63) + b"\x01", b"\x30\x44" + bytes(68)]
)
def test_impossible_signatures_are_refused(value: bytes) -> None:
    with pytest.raises((Refused, Malformed)):
        verify_compact(read(f"{HEAD}.{BODY}.{encode(value)}"))


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "HS256", "RS256", "PS256", "ES512", "EdDSA", "es256", "", 1])
def test_no_other_algorithm_is_read(alg: object) -> None:
    with pytest.raises(Malformed, match=r"jws\.header"):
        read(with_header(alg=alg))


def test_the_algorithm_has_to_fit_the_key() -> None:
    with pytest.raises(Refused, match=r"jws\.signature"):
        verify_compact(read(with_header(alg="ES384")))


@pytest.mark.parametrize(
    "changes",
    [
        {"alg": None},
        {"typ": None},
        {"x5c": None},
        {"typ": "other"},
        {"typ": ["t"]},
        {"crit": ["exp"]},
        {"jwk": {"kty": "EC"}},
        {"jku": "http://127.0.0.1/"},
        {"x5u": "http://127.0.0.1/"},
        {"kid": "1"},
        {"b64": False},
        {"x5c": []},
        {"x5c": "AAAA"},
        {"x5c": [1]},
        {"x5c": ["AAAA"]},
        {"x5c": ["!!!!"]},
        {"x5c": ["A" * 6000]},
    ],
)
def test_no_other_header_is_read(changes: dict[str, Any]) -> None:
    with pytest.raises(Malformed, match="jws"):
        read(with_header(**changes))


def test_a_chain_is_bounded_and_base64_has_one_form() -> None:
    one = json.loads(decode(HEAD))["x5c"][0]
    assert len(read(with_header(x5c=[one] * MAX_CHAIN), max_chars=30000).certificates) == MAX_CHAIN
    for chain in ([one] * (MAX_CHAIN + 1), [one.rstrip("=") + "===="], [one[:76] + "\n" + one[76:]], [one + "AAAA"]):
        with pytest.raises(Malformed, match=r"jws\.header"):
            read(with_header(x5c=chain), max_chars=30000)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"a":1,"a":1}',
        b'{"b":{"a":1,"a":2}}',
        b"[]",
        b"1",
        b"null",
        b"",
        b"{",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":1.5}',
        b'{"a":1e5}',
        b'{"a":' + b"1" * 16 + b"}",
        b'{"a":' * 9 + b"1" + b"}" * 9,
        b"[" * 3000 + b"]" * 3000,
        b'{"a":"\xff"}',
        b'\xef\xbb\xbf{"a":1}',
        '{"a":"x"}'.encode("utf-16"),
    ],
)
def test_json_that_two_readers_could_understand_differently_is_refused(payload: bytes) -> None:
    with pytest.raises(Malformed, match=r"jws\.(json|form)"):
        read(with_payload(payload), max_chars=20_000)


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c.d",
        f"{HEAD}.{BODY}",
        f"{HEAD}.{BODY}.",
        f".{BODY}.{VALUE}",
        f"{HEAD}..{VALUE}",
        f"{HEAD}.{BODY}.{VALUE}=",
        f" {TOKEN}",
        f"{TOKEN}\n",
        TOKEN.replace(".", ".\u200b", 1),
        f"{HEAD}.{BODY}+.{VALUE}",
    ],
)
def test_a_compact_form_has_three_parts_and_nothing_around_them(token: str) -> None:
    with pytest.raises(Malformed, match=r"jws\."):
        read(token)


def test_bits_left_over_are_refused() -> None:
    """64 bytes leave four bits in the last character: sixteen texts would mean the same."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(VALUE[-1])
    accepted = 0
    for other in range(last & ~0xF, (last & ~0xF) + 16):
        try:
            read(f"{HEAD}.{BODY}.{VALUE[:-1]}{alphabet[other]}")
            accepted += 1
        except Malformed:
            pass
    assert accepted == 1


def test_length_is_checked_before_anything_is_taken_apart() -> None:
    read(TOKEN, max_chars=len(TOKEN))
    with pytest.raises(Malformed, match="longer than"):
        read(TOKEN, max_chars=len(TOKEN) - 1)
    with pytest.raises(Malformed, match="header"):
        read(f"{'A' * 24_001}.{BODY}.{VALUE}", max_chars=50_000)


def test_only_a_key_with_its_own_certificate_signs() -> None:
    for key, certificates in (
        (ec.generate_private_key(ec.SECP256R1()), SEALER.certificates),
        (ec.generate_private_key(ec.SECP521R1()), SEALER.certificates),
        (SEALER.key, ()),
    ):
        with pytest.raises(Refused, match=r"jws\.key"):
            sign_compact(PAYLOAD, typ="t", key=key, certificates=certificates)


@settings(max_examples=300, deadline=None)
@given(damaged(TOKEN.encode()))
def test_damage_never_escapes_and_never_verifies(data: bytes) -> None:
    try:
        verified = verify_compact(read(data))
    except DigiidError:
        return
    assert data == TOKEN.encode()
    assert verified == PAYLOAD
