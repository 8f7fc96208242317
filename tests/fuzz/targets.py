"""What is fuzzed: every parser of bytes from outside, each with valid bytes to begin from.

A target may raise the errors of the kernel and nothing else; whatever else escapes is a defect.
"""

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from digiid.exchange.security_server.clocks import ClockState, ExchangeClock
from digiid.exchange.security_server.local_conf import parse_local_conf
from digiid.exchange.security_server.metadata import list_clients, replace_servers
from digiid.exchange.security_server.status import ServerStatus, parse_status, status_json
from digiid.formats import ber, cms, der, ocsp, tsp
from digiid.formats.asic import parse_container
from digiid.formats.asic.archive import Limits, parse_archive
from digiid.formats.asic.container import parse_manifest
from digiid.formats.asic.hashcode import FileHash, build_hashcode_container, parse_hashcode_container, parse_hashcodes
from digiid.formats.asic.manifest import parse_asic_manifest
from digiid.formats.asic.names import find_odd_names
from digiid.formats.cades import parse_cades, parse_hash_index
from digiid.formats.cdoc2.envelope import parse_envelope
from digiid.formats.cdoc2.header import build_header, parse_header
from digiid.formats.cdoc2.keys import seal_to_secret
from digiid.formats.consent_receipt import parse_receipt, parse_revocations
from digiid.formats.ddoc import parse_ddoc
from digiid.formats.global_conf import (
    build_anchor,
    build_shared_params,
    parse_anchor,
    parse_directory,
    parse_shared_params,
    verify_directory,
)
from digiid.formats.journal_checkpoint import JournalCheckpoint, parse_checkpoint, sign_checkpoint
from digiid.formats.pades import UnverifiedPdf
from digiid.formats.trusted_list import parse_trusted_list, verify_trusted_list
from digiid.formats.validation import Report, list_findings, validate_container
from digiid.formats.validation.ddoc import validate_ddoc
from digiid.formats.validation.hashcode import validate_hashcode
from digiid.formats.validation.pades import validate_pdf
from digiid.formats.webeid import parse_token
from digiid.formats.x509.crl import parse_crl
from digiid.formats.x509.parts import load_certificate, parse_parts
from digiid.formats.xades import parse_signatures
from digiid.kernel.errors import DigiidError
from digiid.platform.pdf import parse_answer, read_pdf, worker
from tests.support.cades import Archiver, CadesMaker, manifest_of
from tests.support.consents import consent_sealer
from tests.support.containers import MANIFEST, SIGNATURES, unpack
from tests.support.ddoc import DdocMaker
from tests.support.global_conf import Central, Web, params
from tests.support.pdf import good_pdf, plain_pdf, with_time_stamp
from tests.support.pki import AT, FILES, SIGNED_AT, shared_pki
from tests.support.time_stamped import as_ber, stamped
from tests.unit.exchange.security_server.test_local_conf import FILE as LOCAL_CONF
from tests.unit.exchange.security_server.test_metadata import Conf as _Members

VECTORS = Path(__file__).resolve().parent.parent / "vectors"
CRASHES = VECTORS / "fuzz"
_SMALL = Limits(max_entries=64, max_total_bytes=1024 * 1024)

PKI = shared_pki()
TRUST = PKI.trust()


@dataclass(frozen=True)
class Target:
    """`run` takes any bytes. `seeds` makes valid ones; `max_bytes` is how far the fuzzer lets an input grow."""

    name: str
    run: Callable[[bytes], object] = field(repr=False)
    seeds: Callable[[], list[bytes]] = field(repr=False)
    max_bytes: int = 8192

    def check(self, data: bytes) -> None:
        """Raises: whatever escapes."""
        try:
            self.run(data)
        except DigiidError:
            pass

    def crashes(self) -> list[bytes]:
        """Inputs that once escaped (tests/vectors/fuzz/<name>/)."""
        return [path.read_bytes() for path in sorted((CRASHES / self.name).glob("*"))]


# ------------------------------------------------------------------ seeds


@cache
def _container() -> bytes:
    return PKI.container(FILES[:1])


def _token() -> bytes:
    return PKI.time_stamp(bytes(32), gen_at=AT)


def _response() -> bytes:
    return PKI.ocsp(PKI.signer.certificate, at=AT, nonce=bytes(32), next_update=AT)


def _crl() -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding

    entry = x509.RevokedCertificateBuilder().serial_number(4711).revocation_date(SIGNED_AT).build()
    builder = x509.CertificateRevocationListBuilder().issuer_name(PKI.ca.certificate.subject)
    builder = builder.last_update(SIGNED_AT).next_update(AT).add_revoked_certificate(entry)
    builder = builder.add_extension(x509.CRLNumber(1), False)
    return builder.sign(PKI.ca.key, hashes.SHA384()).public_bytes(Encoding.DER)


def _hashes() -> list[FileHash]:
    return [FileHash(file.name, len(file.content), bytes(32), bytes(64)) for file in FILES]


def _hashcode_container() -> bytes:
    return build_hashcode_container(_hashes(), at=AT)


def _cdoc2_header() -> bytes:
    return build_header((seal_to_secret(bytes(32), "label", bytes(32), salt=bytes(32)),))


def _cdoc2_file() -> bytes:
    header = _cdoc2_header()
    return b"CDOC\x02" + len(header).to_bytes(4, "big") + header + bytes(32 + 12 + 64)


def _token_json() -> bytes:
    import base64
    import json

    fields = {
        "format": "web-eid:1.0",
        "algorithm": "ES384",
        "unverifiedCertificate": base64.b64encode(PKI.signer.der).decode(),
        "signature": base64.b64encode(bytes(96)).decode(),
    }
    return json.dumps(fields).encode()


_EMBEDDED = (
    b'<SignedDoc xmlns="http://www.sk.ee/DigiDoc/v1.3.0#" xmlns:z="urn:z" format="DIGIDOC-XML" version="1.3">'
    b'<DataFile ContentType="EMBEDDED" Filename="a.xml" Id="D0" MimeType="text/xml" Size="9">\n'
    b'<z:a b="z:c"><d z:e=\'"\'/></z:a> </DataFile></SignedDoc>'
)
_DDOC = b"""<?xml version="1.0" encoding="UTF-8"?>
<SignedDoc format="DIGIDOC-XML" version="1.3" xmlns="http://www.sk.ee/DigiDoc/v1.3.0#">
<DataFile ContentType="EMBEDDED_BASE64" Filename="a.txt" Id="D0" MimeType="text/plain" Size="4"
 xmlns="http://www.sk.ee/DigiDoc/v1.3.0#">dGVzdA==
</DataFile>
</SignedDoc>"""


# ------------------------------------------------------------------ targets


def _walk(data: bytes) -> None:
    """Every kind of DER value that the readers know, wherever it stands."""
    reader = der.read_whole(data, max_bytes=65536)
    waiting, steps = [reader], 0
    while waiting and steps < 2000:
        steps += 1
        current = waiting.pop()
        while current.at < current.end:
            element = current.take()
            for read in (
                der.read_integer,
                der.read_oid,
                der.read_bit_string,
                der.read_named_bits,
                der.read_time,
                der.read_boolean,
            ):
                try:
                    read(element)
                except DigiidError:
                    pass
            if element.tag & 0x20:
                waiting.append(element.enter())


def _unpack_all(data: bytes) -> None:
    archive = parse_archive(io.BytesIO(data), _SMALL)
    list(find_odd_names(entry.name for entry in archive.entries))
    for entry in archive.entries:
        archive.read(entry, max_bytes=1024 * 1024)


def _container_parts(data: bytes) -> None:
    container = parse_container(io.BytesIO(data), _SMALL)
    for entry in container.data_files:
        container.digest(entry, "sha256")


def _judge(data: bytes) -> None:
    _tell(validate_container(io.BytesIO(data), trust=TRUST, at=AT, limits=_SMALL))


def _judge_signature(data: bytes) -> None:
    """A whole verdict over this signature file, in an otherwise right container."""
    from tests.support.containers import changed

    _judge(changed(_container(), {SIGNATURES: data}))


def _tell(report: Report) -> None:
    """What a service does with a verdict must work for every verdict."""
    report.to_simple_report()
    list_findings(report)


def _read_ddoc(data: bytes) -> None:
    """A document and every file that is in it; none is much larger than the document."""
    for file in parse_ddoc(data).data_files:
        if file.is_there and len(file.content()) > 10 * len(data) + 8192:
            raise AssertionError("a file that grew on its way out")


def _judge_ddoc(data: bytes) -> None:
    _tell(validate_ddoc(io.BytesIO(data), trust=TRUST, at=AT))


def _judge_hashcode(data: bytes) -> None:
    _tell(validate_hashcode(data, None, trust=TRUST, at=AT))


def _judge_cades(data: bytes) -> None:
    """A whole verdict over this CMS file, in an otherwise right container."""
    from tests.support.containers import changed

    _judge(changed(_cades_container(), {_P7S: data}))


def _verify_token(data: bytes) -> None:
    tsp.verify_token(data)


def _verify_response(data: bytes) -> None:
    ocsp.verify_response(data, certificate=PKI.signer.certificate, issuer=PKI.ca.certificate)


def _verify_list(data: bytes) -> None:
    verify_trusted_list(data, signers=[PKI.list_signer.certificate])


_HASHES = "META-INF/hashcodes-sha256.xml"


_P7S = "META-INF/signature001.p7s"


@cache
def _cades_container() -> bytes:
    return CadesMaker().extended(FILES)


def _cades_files() -> list[bytes]:
    made = unpack(CadesMaker().extended(FILES))
    signatures = [content for name, content in made.items() if name.endswith(".p7s")]
    return [*signatures, *(Archiver().stamp(signature, manifest_of(FILES), at=AT) for signature in signatures)]


def _archive_tokens() -> list[bytes]:
    return [Archiver().token(signature, manifest_of(FILES), at=AT) for signature in _cades_files()[:1]]


def _asic_manifests() -> list[bytes]:
    made = unpack(CadesMaker().extended(FILES))
    return [content for name, content in made.items() if "ASiCManifest" in name]


def _field_signatures() -> list[bytes]:
    """Signature files by other programs."""
    found = []
    for path in sorted((VECTORS / "containers").glob("SiVa-Test__*LT*.sce")):
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.startswith("META-INF/") and "signatures" in name]
            found += [archive.read(name) for name in names]
    return found


def _whole_files() -> list[bytes]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as other:
        other.writestr("mimetype", "x/y")
        other.writestr("folder/õ.txt", "abc" * 100)
    return [archive.getvalue()]


def _judge_pdf_contents(data: bytes) -> Report:
    """Anything in the place of the signature."""
    pdf = read_good_pdf()
    signature = replace(pdf.signatures[0], contents=data)
    start = pdf.signatures[0].byte_range[1]
    content = pdf.content[:start] + b"<" + data.hex().encode() + b">" + pdf.content[pdf.signatures[0].byte_range[2] :]
    ranges = (0, start, start + 2 * len(data) + 2, pdf.signatures[0].byte_range[3])
    changed = replace(pdf, content=content, signatures=(replace(signature, byte_range=ranges),))
    return validate_pdf(changed, trust=TRUST, at=AT)


@cache
def read_good_pdf() -> UnverifiedPdf:
    return read_pdf(good_pdf())


def _judge_pdf(data: bytes) -> Report | None:
    """What the process that reads PDF files does, in this process; its answer has to be one that we understand."""
    told, parts = worker.work({"task": "read"}, [data])
    if "problem" in told:
        return None
    return validate_pdf(parse_answer(data, json.loads(json.dumps(told)), parts), trust=TRUST, at=AT)


@cache
def _central() -> Central:
    return Central(Web())


def _verify_directory(data: bytes) -> object:
    return verify_directory(parse_directory(data), [_central().key.certificate], at=AT)


_QUERY = b"xRoadInstance=EE"
_DESCRIPTION = json.dumps(
    {
        "openapi": "3.1.0",
        "servers": [{"url": "/"}],
        "paths": {"/a": {"servers": [], "get": {"responses": {"200": {"links": {"b": {"server": {}}}}}}}},
        "components": {"callbacks": {"c": {"d": {"post": {}}}}},
    }
).encode()


_DESCRIPTION_YAML = b"""
openapi: 3.0.3
servers: [{url: /}]
paths:
  /a:
    get: {responses: {200: {links: {b: {server: {}}}}}}
x: [1, -2.5e3, ~, true, 'a', "b", 0x1F]
y: |
  text
"""


def _checkpoint() -> bytes:
    sealer = consent_sealer()
    said = JournalCheckpoint("bank", 1, bytes(32), AT, bytes(32))
    return sign_checkpoint(said, key=sealer.key, certificates=sealer.certificates).encode()


def _status() -> bytes:
    clock = ExchangeClock("disk", ClockState.WARNING, "x", AT, AT - SIGNED_AT, AT - SIGNED_AT, "1 MiB")
    return json.dumps(status_json(ServerStatus("EE/GOV/1/x", AT, (clock,)))).encode()


TARGETS = {
    target.name: target
    for target in (
        Target("der", _walk, lambda: [_token(), _response(), PKI.signer.der]),
        Target("ber", lambda data: ber.to_der(data, max_bytes=65536), lambda: [as_ber(_token()), _token()]),
        Target("x509", lambda data: parse_parts(load_certificate(data) and data), lambda: [PKI.signer.der, PKI.ca.der]),
        Target("crl", parse_crl, lambda: [_crl()]),
        Target(
            "tsp-request",
            tsp.parse_request,
            lambda: [tsp.build_request(imprint=bytes(32), hash_name="sha256", nonce=4711)],
        ),
        Target("tsp-response", tsp.parse_response, lambda: [tsp.build_granted(_token())]),
        Target("tsp-token", _verify_token, lambda: [_token()]),
        Target(
            "ocsp-request",
            ocsp.parse_request,
            lambda: [
                ocsp.build_request(
                    certificate=PKI.signer.certificate, issuer=PKI.ca.certificate, hash_name="sha256", nonce=bytes(32)
                )
            ],
        ),
        Target("ocsp-response", _verify_response, lambda: [_response()]),
        Target("cms", cms.parse_signed_data, lambda: [_token()]),
        Target("cades", parse_cades, _cades_files),
        Target("ats-hash-index", parse_hash_index, _archive_tokens),
        Target("zip", _unpack_all, lambda: [_container(), *_whole_files()], 32768),
        Target("container", _container_parts, lambda: [_container(), stamped(b"x")], 32768),
        Target("manifest", parse_manifest, lambda: [unpack(_container())[MANIFEST]]),
        Target("asic-manifest", parse_asic_manifest, _asic_manifests),
        Target(
            "hashcodes", lambda data: parse_hashcodes(data, "sha256"), lambda: [unpack(_hashcode_container())[_HASHES]]
        ),
        Target(
            "hashcode-container",
            lambda data: parse_hashcode_container(io.BytesIO(data), _SMALL),
            lambda: [_hashcode_container()],
        ),
        Target("xades", parse_signatures, lambda: [unpack(_container())[SIGNATURES], *_field_signatures()], 32768),
        Target("signature", _judge_signature, lambda: [unpack(_container())[SIGNATURES]], 32768),
        Target("judge", _judge, lambda: [_container(), stamped(_container(), name="in.asice")], 32768),
        Target("ddoc", _read_ddoc, lambda: [_DDOC, _EMBEDDED]),
        Target("judge-ddoc", _judge_ddoc, lambda: [DdocMaker().document(), DdocMaker(hashcode=True).document()], 32768),
        Target("judge-hashcode", _judge_hashcode, lambda: [unpack(_container())[SIGNATURES]], 32768),
        Target("judge-cades", _judge_cades, _cades_files, 32768),
        Target("pdf-contents", _judge_pdf_contents, lambda: [read_pdf(good_pdf()).signatures[0].contents], 32768),
        Target("pdf", _judge_pdf, lambda: [plain_pdf(), good_pdf(), with_time_stamp(good_pdf())], 65536),
        Target("trusted-list", parse_trusted_list, lambda: [PKI.trusted_list()], 65536),
        Target("trusted-list-signature", _verify_list, lambda: [PKI.trusted_list()], 65536),
        Target("consent-receipt", parse_receipt, lambda: [consent_sealer().receipt().encode()]),
        Target("journal-checkpoint", parse_checkpoint, lambda: [_checkpoint()]),
        Target("consent-revocations", parse_revocations, lambda: [consent_sealer().revocations("c" * 43).encode()]),
        Target("global-conf-directory", _verify_directory, lambda: [_central().publish()]),
        Target("global-conf-shared", parse_shared_params, lambda: [build_shared_params(params())], 16384),
        Target("global-conf-anchor", parse_anchor, lambda: [build_anchor(_central().anchor)]),
        Target("local-conf", parse_local_conf, lambda: [LOCAL_CONF.encode()]),
        Target("server-status", parse_status, lambda: [_status()]),
        Target("description-yaml", lambda data: replace_servers(data, url="/r1/x"), lambda: [_DESCRIPTION_YAML]),
        Target("description", lambda data: replace_servers(data, url="/r1/x"), lambda: [_DESCRIPTION]),
        Target("metadata-query", lambda data: list_clients(_Members(), query=data.decode("latin-1")), lambda: [_QUERY]),
        Target("web-eid", parse_token, lambda: [_token_json()]),
        Target("cdoc2-header", parse_header, lambda: [_cdoc2_header()]),
        Target("cdoc2", lambda data: parse_envelope(io.BytesIO(data)), lambda: [_cdoc2_file()]),
    )
}
