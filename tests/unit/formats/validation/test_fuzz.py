"""Damaged containers end in a verdict or in Malformed, and damage to what is signed never ends in valid."""

import io

from hypothesis import given, settings
from hypothesis import strategies as st

from digiid.formats.validation import list_findings, validate_container
from digiid.kernel.errors import Malformed
from tests.support.containers import SIGNATURES, changed, unpack
from tests.support.pki import AT, FILES, shared_pki

PKI = shared_pki()
TRUST = PKI.trust()
GOOD = PKI.container(FILES[:1])
XML = unpack(GOOD)[SIGNATURES]
TOKEN = PKI.time_stamp(bytes(32), gen_at=AT)
RESPONSE = PKI.ocsp(PKI.signer.certificate, at=AT)


def damaged(good: bytes, data: st.DataObject) -> bytes:
    bad = bytearray(good)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(bad) - 1))
        bad[at : at + data.draw(st.integers(0, 6))] = data.draw(st.binary(max_size=6))
    return bytes(bad)


def judge(container: bytes) -> bool:
    report = validate_container(io.BytesIO(container), trust=TRUST, at=AT)
    report.to_simple_report()
    list_findings(report)
    return report.is_valid


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_containers(data: st.DataObject) -> None:
    try:
        judge(damaged(GOOD, data))
    except Malformed:
        pass


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_signature_files(data: st.DataObject) -> None:
    judge(changed(GOOD, {SIGNATURES: damaged(XML, data)}))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_damaged_tokens_and_responses(data: st.DataObject) -> None:
    bad = PKI.sign(FILES[:1], token_der=damaged(TOKEN, data), ocsp_der=damaged(RESPONSE, data))
    assert not judge(changed(GOOD, {SIGNATURES: bad}))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_files_are_never_valid(data: st.DataObject) -> None:
    content = damaged(FILES[0].content, data)
    assert judge(changed(GOOD, {FILES[0].name: content})) == (content == FILES[0].content)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400))
def test_noise(noise: bytes) -> None:
    try:
        assert not judge(noise)
    except Malformed:
        return
    raise AssertionError("noise was read as a container")
