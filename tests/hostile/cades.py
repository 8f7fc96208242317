"""CAdES signatures that belong to somebody else, to something else, or to nobody; and what their manifests hide.

As in `signatures`, most are the work of somebody with a good certificate: all else is right, so that nothing but the
rule under test can refuse them.
"""

import hashlib
from collections.abc import Callable

from digiid.formats import cms, der
from digiid.formats.cades import ID_SIGNATURE_TIME_STAMP, parse_cades
from tests.hostile.case import PKI, Case, failed, odd, refused, unproven
from tests.support.cades import ATS_V3, Archiver, CadesMaker, add_unsigned, attribute, manifest_of
from tests.support.containers import changed
from tests.support.pki import AT, FILES, SIGNED_AT, Identity, person

KIND, MANIFESTS = "CAdES", "CAdES manifest"
FILE = FILES[0]
SIMPLE, MANIFEST = "META-INF/signature.p7s", "META-INF/ASiCManifest001.xml"
_FORM, _NO_SIGNER, _LIMITS = "FORMAT_FAILURE", "NO_SIGNING_CERTIFICATE_FOUND", "CRYPTO_CONSTRAINTS_FAILURE"
OTHER = PKI.issue(person("OTHER", "38001085718"))


def _made(**changes: object) -> Callable[[], bytes]:
    return lambda: CadesMaker(**changes).simple(FILE)  # type: ignore[arg-type]


def _signature(edit: Callable[[bytes], bytes]) -> Callable[[], bytes]:
    """The signature file is exchanged for what an edit makes of it."""
    return lambda: changed(CadesMaker().simple(FILE), {SIMPLE: edit(CadesMaker().sign(FILE.content))})


def _extended(edit: Callable[[bytes], bytes]) -> Callable[[], bytes]:
    """Several files under a manifest that was edited before it was signed."""

    def make() -> bytes:
        manifest = edit(manifest_of(FILES))
        assert manifest != manifest_of(FILES), "the edit did not change anything"
        return CadesMaker().extended(FILES, manifest=manifest)

    return make


def _manifest_afterwards(edit: Callable[[bytes], bytes]) -> Callable[[], bytes]:
    return lambda: changed(CadesMaker().extended(FILES), {MANIFEST: edit(manifest_of(FILES))})


def _fields(cms_der: bytes) -> tuple[list[bytes], list[bytes]]:
    """The fields of the SignedData before its signers, and those of its only signer."""
    outer = der.read_whole(cms_der, max_bytes=1_000_000)
    outer.take(der.OBJECT_IDENTIFIER)
    parts = outer.take(der.CONTEXT_0).enter().take(der.SEQUENCE).enter().all(limit=8)
    signer = parts.pop().only(der.SEQUENCE).enter().all(limit=8)
    return [one.raw for one in parts], [one.raw for one in signer]


def _whole(parts: list[bytes], *signers: list[bytes]) -> bytes:
    infos = der.tlv(der.SET, *(der.sequence(*fields) for fields in signers))
    signed_data = der.sequence(*parts, infos)
    return der.sequence(der.oid(cms.ID_SIGNED_DATA), der.tlv(der.CONTEXT_0, signed_data))


def _with_signer(edit: Callable[[list[bytes]], list[bytes]]) -> Callable[[bytes], bytes]:
    def make(cms_der: bytes) -> bytes:
        parts, signer = _fields(cms_der)
        return _whole(parts, edit(signer))

    return make


def _with_parts(edit: Callable[[list[bytes]], list[bytes]]) -> Callable[[bytes], bytes]:
    def make(cms_der: bytes) -> bytes:
        parts, signer = _fields(cms_der)
        return _whole(edit(parts), signer)

    return make


# Where the fields of a signer stand: version, sid, digestAlgorithm, signedAttrs, signatureAlgorithm, signature, rest.
_SIGNED_ATTRIBUTES, _SIGNATURE = 3, 5


def _second_with_a_bad_value(cms_der: bytes) -> bytes:
    parts, signer = _fields(cms_der)
    value = parse_cades(cms_der)[0].signer.signature
    bad = list(signer)
    bad[_SIGNATURE] = der.octet_string(bytes([*value[:-1], value[-1] ^ 1]))
    return _whole(parts, signer, bad)


def _second_over_another_file(cms_der: bytes) -> bytes:
    parts, signer = _fields(cms_der)
    return _whole(parts, signer, _fields(CadesMaker(over=b"other").sign(FILE.content))[1])


def _attributes_as_content() -> bytes:
    """The signed attributes of a good signature are the file, and its signer has none: the value fits both ways."""
    parts, signer = _fields(CadesMaker().sign(FILE.content))
    content = b"\x31" + signer[_SIGNED_ATTRIBUTES][1:]
    bare = [*signer[:_SIGNED_ATTRIBUTES], *signer[_SIGNED_ATTRIBUTES + 1 :]]
    return changed(CadesMaker().simple(FILE), {FILE.name: content, SIMPLE: _whole(parts, bare)})


def _enclosed(parts: list[bytes]) -> list[bytes]:
    """Something else is shown inside the signature file than what stands beside it."""
    content = der.tlv(der.CONTEXT_0, der.octet_string(b"something else"))
    return [*parts[:2], der.sequence(der.oid("1.2.840.113549.1.7.1"), content), *parts[3:]]


def _without_certificates(parts: list[bytes]) -> list[bytes]:
    return [part for part in parts if part[0] != 0xA0]


def _twice(identifier: str) -> Callable[[list[bytes]], list[bytes]]:
    def edit(signer: list[bytes]) -> list[bytes]:
        there = der.read_whole(b"\x31" + signer[_SIGNED_ATTRIBUTES][1:], max_bytes=100_000, tag=der.SET).all(limit=16)
        again = [one.raw for one in there if der.oid(identifier) in one.raw]
        attributes = der.set_of(*(one.raw for one in there), *again)
        return [*signer[:_SIGNED_ATTRIBUTES], b"\xa0" + attributes[1:], *signer[_SIGNED_ATTRIBUTES + 1 :]]

    return edit


def _other_stamp(cms_der: bytes) -> bytes:
    stranger = PKI.time_stamp(hashlib.sha256(b"other").digest(), gen_at=SIGNED_AT)
    return add_unsigned(cms_der, attribute(ID_SIGNATURE_TIME_STAMP, stranger))


SIGNER_CASES = [
    failed(KIND, "over another file", _made(over=b"other"), "HASH_FAILURE", "cms.digest"),
    failed(
        KIND,
        "the file is changed",
        lambda: changed(CadesMaker().simple(FILE), {FILE.name: FILE.content + b" "}),
        "HASH_FAILURE",
        "cms.digest",
    ),
    failed(
        KIND,
        "somebody else's certificate, own key",
        _made(signer=Identity(OTHER.certificate, PKI.signer.key)),
        "SIG_CRYPTO_FAILURE",
        "cms.signature",
    ),
    unproven(
        KIND,
        "another certificate than the signed one",
        _made(signer=Identity(OTHER.certificate, PKI.signer.key), ess_of=PKI.signer.certificate),
        _NO_SIGNER,
        "cms.signer_certificate",
    ),
    unproven(
        KIND,
        "no certificate is named",
        _made(without=[cms.ID_SIGNING_CERTIFICATE_V2]),
        _NO_SIGNER,
        "cms.signer_certificate",
    ),
    unproven(
        KIND, "the CA's certificate is named", _made(ess_of=PKI.ca.certificate), _NO_SIGNER, "cms.signer_certificate"
    ),
    unproven(
        KIND,
        "no certificate in the file",
        _signature(_with_parts(_without_certificates)),
        _NO_SIGNER,
        "cms.signer_certificate",
    ),
    failed(KIND, "no digest is signed", _made(without=[cms.ID_MESSAGE_DIGEST]), _FORM, "cms.attributes"),
    failed(KIND, "no type is signed", _made(without=[cms.ID_CONTENT_TYPE]), _FORM, "cms.attributes"),
    failed(
        KIND, "another type is signed", _made(extra={cms.ID_CONTENT_TYPE: der.oid("1.2.3")}), _FORM, "cms.attributes"
    ),
    failed(
        KIND, "two digests are signed", _signature(_with_signer(_twice(cms.ID_MESSAGE_DIGEST))), _FORM, "cms.attribute"
    ),
    unproven(
        KIND, "signed attributes taken for the file", _attributes_as_content, _NO_SIGNER, "cms.signer_certificate"
    ),
    failed(KIND, "another content inside", _signature(_with_parts(_enclosed)), _FORM, "der.trailing"),
    failed(
        KIND,
        "two signers, the value of one is bad",
        _signature(_second_with_a_bad_value),
        "SIG_CRYPTO_FAILURE",
        "cms.signature",
    ),
    failed(
        KIND, "two signers, one of something else", _signature(_second_over_another_file), "HASH_FAILURE", "cms.digest"
    ),
    unproven(KIND, "SHA-1", _made(hash_name="sha1"), _LIMITS, "cms.algorithm"),
    failed(KIND, "something behind the message", _signature(lambda data: data + b"\x00"), _FORM, "ber.trailing"),
    failed(KIND, "lengths nested 5,000 deep", _signature(lambda _: b"\x30\x80" * 5_000), _FORM, "ber.depth"),
    unproven(
        KIND,
        "a time-stamp over something else",
        _made(token_der=PKI.time_stamp(bytes(32), gen_at=SIGNED_AT)),
        "SIG_CONSTRAINTS_FAILURE",
        "validation.time_stamp",
    ),
    unproven(
        KIND,
        "a time-stamp over the file",
        _made(token_der=PKI.time_stamp(hashlib.sha256(FILE.content).digest(), gen_at=SIGNED_AT)),
        "SIG_CONSTRAINTS_FAILURE",
        "validation.time_stamp",
    ),
    odd(KIND, "a second time-stamp over something else", _signature(_other_stamp), "validation.time_stamp"),
    unproven(
        KIND,
        "an archive time-stamp over something else",
        _signature(lambda data: add_unsigned(data, attribute(ATS_V3, Archiver().token(data, b"other", at=AT)))),
        "SIG_CONSTRAINTS_FAILURE",
        "validation.archive_time_stamp_broken",
    ),
]

_URI = b'URI="contract.txt"'
MANIFEST_CASES = [
    failed(
        MANIFESTS,
        "a file is not covered",
        lambda: changed(CadesMaker().extended(FILES), {"more.txt": b"x"}),
        _FORM,
        "validation.file_not_signed",
        "more.txt",
    ),
    failed(
        MANIFESTS,
        "a file is left out before signing",
        lambda: CadesMaker().extended(FILES, manifest=manifest_of(FILES[:1])),
        _FORM,
        "validation.file_not_signed",
    ),
    failed(
        MANIFESTS,
        "changed after signing",
        _manifest_afterwards(lambda data: data + b"\n"),
        "HASH_FAILURE",
        "cms.digest",
    ),
    failed(
        MANIFESTS,
        "a file is changed",
        lambda: changed(CadesMaker().extended(FILES), {FILE.name: b"x"}),
        "HASH_FAILURE",
        "validation.cades.object",
        FILE.name,
    ),
    unproven(
        MANIFESTS,
        "a file is taken away",
        lambda: changed(CadesMaker().extended(FILES), {FILE.name: None}),
        "SIGNED_DATA_NOT_FOUND",
        "validation.cades.object_missing",
        f"has not been found! ({FILE.name})",
    ),
    failed(
        MANIFESTS,
        "DOCTYPE",
        _extended(lambda data: data.replace(b"?>", b"?><!DOCTYPE x>", 1)),
        _FORM,
        "asic.asic_manifest.doctype",
    ),
    unproven(
        MANIFESTS,
        "a foreign address",
        _extended(lambda data: data.replace(_URI, b'URI="file:///etc/passwd"')),
        "SIGNED_DATA_NOT_FOUND",
        "validation.cades.object_missing",
        "has not been found! (its address names no file",
    ),
    failed(
        MANIFESTS,
        "of another signature",
        _extended(lambda data: data.replace(b"signature001.p7s", b"signature002.p7s")),
        _FORM,
        "asic.asic_manifest.no_signature",
    ),
    refused(
        MANIFESTS,
        "taken away",
        lambda: changed(CadesMaker().extended(FILES), {MANIFEST: None}),
        "asic.manifest.missing",
    ),
]


def all_cases() -> list[Case]:
    return [*SIGNER_CASES, *MANIFEST_CASES]
