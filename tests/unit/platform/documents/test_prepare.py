"""The first step of signing: what is prepared, for whom, and how it is kept."""

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from digiid.formats.asic import DataFile
from digiid.kernel.errors import Malformed, Refused
from digiid.platform.documents import PreparedSignature, check_signing_certificate, prepare_signature
from digiid.platform.documents.files import guess_media_type
from tests.support.pki import (
    AT,
    CA_EXTENSIONS,
    DAY,
    FILES,
    NATURAL_QSCD,
    Identity,
    key_usage,
    make_certificate,
    new_key,
    person,
    shared_pki,
)

PKI = shared_pki()
ISSUERS = [PKI.ca.certificate]
PREPARED = prepare_signature(FILES, certificate=PKI.signer.certificate, issuers=ISSUERS, at=AT, roles=("Chair",))


def test_what_is_stored_comes_back_the_same() -> None:
    again = PreparedSignature.from_bytes(PREPARED.to_bytes())
    assert again == PREPARED
    assert (again.digest, again.hash_name) == (PREPARED.digest, "sha384")
    assert len(again.digest) == 48


def test_the_files_are_in_the_state_and_named() -> None:
    assert PREPARED.file_names == tuple(file.name for file in FILES)
    assert PREPARED.issuer == PKI.ca.certificate


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_only_malformed_escapes_from_a_damaged_state(data: st.DataObject) -> None:
    stored = bytearray(PREPARED.to_bytes()[:3000])
    at = data.draw(st.integers(0, len(stored) - 1))
    stored[at : at + data.draw(st.integers(0, 6))] = data.draw(st.binary(max_size=6))
    try:
        PreparedSignature.from_bytes(bytes(stored))
    except Malformed:
        pass


def refused(signer: Identity, **how: object) -> str:
    with pytest.raises(Refused) as caught:
        check_signing_certificate(signer.certificate, issuers=ISSUERS, at=AT, **how)  # type: ignore[arg-type]
    assert caught.value.public
    return caught.value.code


def test_who_may_not_sign() -> None:
    authentication = (key_usage(digital_signature=True), *NATURAL_QSCD[1:])
    assert refused(PKI.issue(person("A", "38001085718"), extensions=authentication)) == "documents.certificate.usage"
    assert refused(PKI.issue(person("B", "38001085718"), not_after=AT - DAY)) == "documents.certificate.not_valid"
    assert refused(PKI.issue(person("C", "38001085718"), not_before=AT + DAY)) == "documents.certificate.not_valid"
    twin = make_certificate(PKI.ca.certificate.subject, new_key(), None, CA_EXTENSIONS)
    basic = (x509.BasicConstraints(False, None), True)
    stranger = make_certificate(person("D", "38001085718"), new_key(), twin, [basic, *NATURAL_QSCD])
    assert refused(stranger) == "documents.certificate.issuer"


def test_files_that_cannot_be_signed_are_refused_before_anything_else() -> None:
    with pytest.raises(Malformed, match="data_file"):
        prepare_signature(
            [DataFile("../x", "text/plain", b"x")], certificate=PKI.signer.certificate, issuers=ISSUERS, at=AT
        )


@pytest.mark.parametrize(
    ("name", "media_type"),
    [("a.pdf", "application/pdf"), ("a.txt", "text/plain"), ("noname", "application/octet-stream")],
)
def test_media_types_by_suffix(name: str, media_type: str) -> None:
    assert guess_media_type(name) == media_type
