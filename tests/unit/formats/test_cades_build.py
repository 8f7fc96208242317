"""CAdES signatures that we write, read back by our own parser; other programs judge them in tests/interop."""

import hashlib

import pytest

from digiid.formats import cms
from digiid.formats.cades import build_cades, parse_cades, prepare_cades, verify_prepared_cades
from digiid.formats.cades.build import MAX_ROLES, cms_signature_value
from digiid.formats.xades.algorithms import choose_method, sign_digest
from digiid.kernel.errors import Malformed, Refused
from tests.support.pki import SIGNED_AT, shared_pki

CONTENT = b"what is signed"


def signed(kind: str, *, pss: bool = False, roles=(), time_stamp_der=None):
    identity = shared_pki().issue(shared_pki().signer.certificate.subject, kind=kind)
    method = choose_method(identity.key.public_key(), pss=pss)
    digest = hashlib.new(method.hash_name, CONTENT).digest()
    prepared = prepare_cades(digest, certificate=identity.certificate, method=method, roles=roles)
    value = sign_digest(method, identity.key, prepared.digest)
    verify_prepared_cades(prepared, value)
    encoded = build_cades(prepared, value, certificates=[shared_pki().ca.certificate], time_stamp_der=time_stamp_der)
    return prepared, value, encoded, digest


@pytest.mark.parametrize(
    ("kind", "pss"), [("p256", False), ("p384", False), ("p521", False), ("rsa", False), ("rsa", True)]
)
def test_every_kind_of_key_verifies(kind: str, pss: bool) -> None:
    _, _, encoded, digest = signed(kind, pss=pss)

    (cades,) = parse_cades(encoded)
    verified = cms.verify_signer(cades.signed_data, cades.signer, content_digest=digest)

    assert verified.digest_name == cades.hash_name
    assert cades.level == "B"
    assert cades.method is not None
    assert (cades.method.family == "rsa-pss") is pss
    assert cades.claimed_signing_at is None


def test_the_ca_travels_with_the_signature_once() -> None:
    _, _, encoded, _ = signed("p384")
    (cades,) = parse_cades(encoded)
    assert list(cades.signed_data.certificates_der)[1:] == [shared_pki().ca.der]


def test_roles_are_read_back() -> None:
    _, _, encoded, _ = signed("p384", roles=["Juhatuse liige", "Notar"])
    (cades,) = parse_cades(encoded)
    assert set(cades.roles) == {"Juhatuse liige", "Notar"}
    assert cades.unknown_attributes == ()


@pytest.mark.parametrize("roles", [[""], ["x" * 257], ["x"] * (MAX_ROLES + 1)])
def test_roles_have_limits(roles: list[str]) -> None:
    with pytest.raises(Malformed, match="roles"):
        signed("p384", roles=roles)


def test_a_time_stamp_goes_over_the_value_as_cms_has_it() -> None:
    prepared, value, _, _ = signed("p384")
    imprint = hashlib.sha256(cms_signature_value(prepared, value)).digest()
    token = shared_pki().time_stamp(imprint, gen_at=SIGNED_AT)

    (cades,) = parse_cades(build_cades(prepared, value, time_stamp_der=token))

    assert cades.signature_time_stamps_der == (token,)
    assert cades.level == "T"
    assert hashlib.sha256(cades.signer.signature).digest() == imprint


def test_a_value_of_another_key_is_refused() -> None:
    prepared, _, _, _ = signed("p384")
    _, other, _, _ = signed("p384")
    with pytest.raises(Refused) as refused:
        verify_prepared_cades(prepared, other)
    assert refused.value.code == "xades.signature_value"


def test_a_value_that_is_not_of_the_curve_cannot_be_written() -> None:
    prepared, value, _, _ = signed("p384")
    with pytest.raises(Malformed) as malformed:
        build_cades(prepared, value + b"\x00")
    assert malformed.value.code == "cades.signature_value"


def test_a_hash_that_nobody_should_use_is_not_written() -> None:
    key = shared_pki().signer.key.public_key()
    method = choose_method(key)
    weak = type(method)(method.uri, method.family, "sha1")
    with pytest.raises(Refused) as refused:
        prepare_cades(b"\x00" * 20, certificate=shared_pki().signer.certificate, method=weak)
    assert refused.value.code == "cades.algorithm"
