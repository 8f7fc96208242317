"""Validation of DigiDoc documents (SK-XML 1.0, DIGIDOC-XML 1.1 to 1.3): the ladder of EN 319 102-1 with a time-mark.

The proof of time is the OCSP response whose nonce is the digest of the signature value. The formats know SHA-1 and RSA
with PKCS #1 v1.5 only; a response or a certificate that is itself signed with SHA-1 counts if it is from before 2017.
The levels of a policy are not asked of these signatures, which are older than the levels; the level is told.
"""

import hashlib
import re
from datetime import datetime
from functools import partial
from typing import BinaryIO, Final

from cryptography import x509

from digiid.formats import der, ocsp
from digiid.formats.asic.names import find_odd_names
from digiid.formats.ddoc import MAX_DDOC_BYTES, Ddoc, parse_ddoc
from digiid.formats.trusted_list import CA_QC, ServiceCertificate, VerifiedTrust
from digiid.formats.validation.certificate import check_usage, find_issuer
from digiid.formats.validation.facts import FAILED, INDETERMINATE, SHA1_UNTIL, Facts, NotValid
from digiid.formats.validation.policy import POLV4, Policy
from digiid.formats.validation.report import (
    Indication,
    Message,
    Report,
    Scope,
    Severity,
    SignatureReport,
    SubIndication,
)
from digiid.formats.validation.revocation import check_not_from_future, judge_status
from digiid.formats.validation.signature import VERIFY_VERDICTS, build_report, check_algorithms, claimed_certificate
from digiid.formats.validation.told import tell_rest
from digiid.formats.x509.parts import CertificateParts, certificate_der, parse_parts
from digiid.formats.x509.signature import read_hash_identifier
from digiid.formats.xades import Reference, UnverifiedSignature, VerifiedSignature, verify_signature
from digiid.formats.xades.verify import find_signing_certificate
from digiid.kernel.errors import Malformed, Refused

Sub = SubIndication
_FILE_ID: Final = re.compile(r"D[0-9]{1,9}|DO")  # DO: taken by the programs of the field


def validate_ddoc(
    file: BinaryIO, *, trust: VerifiedTrust, at: datetime, policy: Policy = POLV4, file_name: str = ""
) -> Report:
    """Judge every signature of a DigiDoc document at `at`.

    Raises: Malformed `ddoc.…`, `xml.…`: it cannot be read as such a document.
    """
    # 1 the document
    document = parse_ddoc(file.read(MAX_DDOC_BYTES + 1))
    messages = _document_messages(document)

    # 2 every signature by itself; what cannot be read is counted as one that failed
    signatures = [validate_ddoc_signature(signature, document, trust=trust, at=at) for signature in document.signatures]
    signatures += [_broken(signature_id, error, document) for signature_id, error in document.broken]
    if policy.accepted_levels is not None:
        allowed = policy.accepted_levels | policy.tolerated_levels
        signatures = [_tell_level(signature, allowed) for signature in signatures]

    # 3 a document without signatures proves nothing
    if not signatures:
        messages.append(Message(Severity.ERROR, "validation.no_signature", "The container has no signature"))
    return Report(
        form=document.form,
        policy_name=policy.name,
        policy_description=policy.description,
        validated_at=at,
        file_name=file_name,
        data_files=tuple(file.name for file in document.data_files),
        messages=tuple(messages),
        signatures=tuple(signatures),
    )


def _document_messages(document: Ddoc) -> list[Message]:
    def warning(code: str, text: str) -> Message:
        return Message(Severity.WARNING, code, text)

    messages = [
        warning(
            "validation.ddoc.sha1",
            "The algorithm SHA1 used in DDOC is no longer considered reliable for signature creation!",
        )
    ]
    if document.version == "1.0":
        text = "SK-XML 1.0 signs the contents of files and not their names"
        messages.append(warning("validation.ddoc.name_unsigned", text))
    messages += [warning(code, text) for code, text in find_odd_names(file.name for file in document.data_files)]
    for file in document.data_files:
        if "/" in file.name or "\\" in file.name or file.name in (".", ".."):
            text = f"The name '{file.name}' is a path; a program that writes the file must not follow it"
            messages.append(warning("validation.ddoc.path", text))
        if not file.is_there:
            text = f"Only a digest of '{file.name}' is in the document; whether its name was signed cannot be seen"
            messages.append(warning("validation.ddoc.detached", text))
            continue
        if file.content_bytes not in (None, file.size_bytes):
            messages.append(warning("validation.ddoc.size", f"'{file.name}' has not the size that it says"))
    return messages


def _broken(signature_id: str, error: Malformed, document: Ddoc) -> SignatureReport:
    text = f"The signature cannot be processed: {error.detail}"
    return SignatureReport(
        id=signature_id,
        file_name="",
        signature_format=_format(document),
        method_uri="",
        indication=FAILED,
        sub_indication=Sub.FORMAT_FAILURE,
        level="NA",
        certificate=None,
        messages=(Message(Severity.ERROR, error.code, text), *_old_format(document)),
    )


def _old_format(document: Ddoc) -> list[Message]:
    """What the programs of the field say of every signature in a format before DIGIDOC-XML 1.3."""
    if document.version == "1.3":
        return []
    name = "SK-XML" if document.version == "1.0" else "DIGIDOC-XML"
    text = f"Old and unsupported format: {name} version: {document.version}"
    return [Message(Severity.WARNING, "validation.ddoc.old_format", text)]


def _format(document: Ddoc) -> str:
    return "SK_XML_1.0" if document.version == "1.0" else document.form.removesuffix("_hashcode")


def _tell_level(signature: SignatureReport, allowed: frozenset[str]) -> SignatureReport:
    if not signature.is_valid or signature.level in allowed:
        return signature
    text = "The policy's legal levels are not asked of DDOC signatures, which are older than the levels"
    return signature._replace(
        messages=(*signature.messages, Message(Severity.WARNING, "validation.policy.level_not_asked", text))
    )


# ------------------------------------------------------------------ one signature


def validate_ddoc_signature(
    signature: UnverifiedSignature, document: Ddoc, *, trust: VerifiedTrust, at: datetime
) -> SignatureReport:
    """Judge one signature at `at`. Never raises for what is wrong with the signature: that is the verdict."""
    facts = Facts(signature)
    indication, sub = Indication.TOTAL_PASSED, None
    try:
        _climb(facts, document, trust, at)
    except NotValid as end:
        facts.error(end.code, end.text)
        indication, sub = end.indication, end.sub
    except Malformed as error:
        facts.error(error.code, f"The signature cannot be processed: {error.detail}")
        indication, sub = FAILED, Sub.FORMAT_FAILURE
    if indication is not Indication.TOTAL_PASSED:
        tell_rest(
            facts,
            find_certificate=partial(find_signing_certificate, signature),
            prove_time=partial(_prove_time, facts, trust),
            trust=trust,
            at=at,
        )
    report = build_report(facts, "", indication, sub)
    scopes = tuple(
        Scope(reference.name, reference.hash_name, reference.digest, kind=_scope_kind(reference, document))
        for reference in signature.references
    )
    messages = (*report.messages, *_old_format(document))
    return report._replace(signature_format=_format(document), scopes=scopes, messages=messages)


def _scope_kind(reference: Reference, document: Ddoc) -> str:
    file = document.find_file(reference.uri)
    return "FULL" if file is not None and file.is_there else "DIGEST"


def _climb(facts: Facts, document: Ddoc, trust: VerifiedTrust, at: datetime) -> None:
    signature = facts.signature
    # 1 who signed, what was signed, and is the value theirs (§5.2.3, §5.2.7)
    verified = _verify(facts, document)
    parts = parse_parts(verified.certificate_der)

    # 2 every file is signed
    signed = {reference.uri for reference in signature.references}
    missing = [file.name for file in document.data_files if f"#{file.id}" not in signed]
    if missing or not document.data_files:
        text = "; ".join(f"The file <{name}> is not signed" for name in missing) or "There is no file in the document"
        raise NotValid(FAILED, Sub.FORMAT_FAILURE, "validation.file_not_signed", text)

    # 3 every file has an Id of the format's form
    odd = next((file.id for file in document.data_files if not _FILE_ID.fullmatch(file.id)), None)
    if odd is not None:
        text = f"Id attribute value has to be in form D<number> or DO: {odd}"
        raise NotValid(FAILED, Sub.FORMAT_FAILURE, "validation.ddoc.file_id", text)

    # 4 proof of when: the time-mark
    mark, problem = _find_time(facts, verified.certificate, parts, trust)
    facts.best_signature_at = None if mark is None else mark.produced_at
    best_at = facts.best_signature_at or at

    # 5 the signer's certificate comes from a listed CA, and was valid then (§5.2.6)
    try:
        find_issuer(facts, verified.certificate, parts, trust, best_at, has_proof=mark is not None)
    except NotValid as end:
        if end.code != "validation.expired":
            raise
        raise NotValid(FAILED, Sub.EXPIRED, end.code, end.text) from None  # as its programs call it; see step 6
    check_usage(parts)

    # 6 it was not revoked when the mark was made (§5.2.5)
    if mark is None:
        raise problem
    try:
        judge_status(facts, mark, best_at, has_proof=True)
    except NotValid as end:
        if end.sub is not Sub.REVOKED_NO_POE:
            raise
        # The format has one answer and no time-stamps: its programs call the signature invalid.
        text = "The signer's certificate had been revoked when its confirmation was given"
        raise NotValid(FAILED, Sub.REVOKED, "validation.revoked", text) from None
    check_not_from_future(facts, at)

    # 7 algorithms, as at that time (§5.2.8)
    check_algorithms(facts, verified, best_at)


def _verify(facts: Facts, document: Ddoc) -> VerifiedSignature:
    def find_digest(reference: Reference) -> bytes | None:
        file = document.find_file(reference.uri)
        if file is None:
            return None
        digest = document.digest(file, reference.hash_name)
        if digest != reference.digest and document.alternate_digest(file, reference.hash_name) == reference.digest:
            text = f"Bad digest for DataFile: {file.id} alternate digest matches!"
            facts.warn("validation.ddoc.alternate_digest", text)
            return reference.digest
        return digest

    try:
        verified = verify_signature(facts.signature, find_digest)
    except Refused as error:
        facts.certificate = claimed_certificate(facts.signature)
        indication, sub, text = VERIFY_VERDICTS[error.code]
        raise NotValid(indication, sub, error.code, f"{text} ({error.detail})") from error
    facts.certificate = verified.certificate
    return verified


# ------------------------------------------------------------------ the time-mark


def _prove_time(facts: Facts, trust: VerifiedTrust) -> list[datetime]:
    """Of a signature that does not hold. Raises: Refused, no certificate; Malformed."""
    certificate, certificate_der = find_signing_certificate(facts.signature)
    mark, _ = _find_time(facts, certificate, parse_parts(certificate_der), trust)
    return [] if mark is None else [mark.produced_at]


def _find_time(
    facts: Facts, certificate: x509.Certificate, parts: CertificateParts, trust: VerifiedTrust
) -> tuple[ocsp.VerifiedOcsp | None, NotValid]:
    """The time-mark, which is the status of the certificate as well; else why there is none."""
    facts.is_time_judged = facts.is_status_judged = True
    mark, problem = _find_mark(facts.signature, certificate, parts, trust)
    if mark is not None:
        facts.ocsp_produced_at, facts.responder = mark.produced_at, mark.responder
        facts.time_mark_nonce = mark.nonce
    return mark, problem


def _find_mark(
    signature: UnverifiedSignature, certificate: x509.Certificate, parts: CertificateParts, trust: VerifiedTrust
) -> tuple[ocsp.VerifiedOcsp | None, NotValid]:
    """The OCSP response that is about this certificate and this signature value; else why there is none."""
    problem = NotValid(
        INDETERMINATE,
        Sub.CERTIFICATE_CHAIN_GENERAL_FAILURE,
        "validation.no_revocation_data",
        "No OCSP confirmation for the signer's certificate: nothing proves when it was signed",
    )
    for item in trust.find_issuers(
        parts.issuer_der, key_identifier=parts.authority_key_identifier(), service_type=CA_QC
    ):
        for response_der in signature.ocsp_values_der:
            try:
                answer = _verify_response(response_der, certificate, parts, item, trust)
            except Refused as error:
                text = f"The OCSP confirmation cannot be used: {error.detail}"
                problem = NotValid(INDETERMINATE, Sub.CERTIFICATE_CHAIN_GENERAL_FAILURE, error.code, text)
                continue
            if is_mark(answer.nonce, signature.signature_value):
                return answer, problem
            text = "The nonce of the OCSP confirmation is not the digest of the signature value"
            problem = NotValid(INDETERMINATE, Sub.SIG_CONSTRAINTS_FAILURE, "validation.ddoc.nonce", text)
    return None, problem


def is_mark(nonce: bytes | None, signature_value: bytes) -> bool:
    """Whether an OCSP nonce marks this signature value: its SHA-1, or a DigestInfo with a hash of it."""
    if nonce is None:
        return False
    if nonce == hashlib.sha1(signature_value, usedforsecurity=False).digest():
        return True
    try:
        reader = der.read_whole(nonce, max_bytes=256)
        hash_name = read_hash_identifier(reader.take(der.SEQUENCE))
        digest = reader.take(der.OCTET_STRING).content
        reader.finish()
    except Malformed:
        return False
    if hash_name not in ("sha1", "sha256", "sha384", "sha512"):
        return False
    return digest == hashlib.new(hash_name, signature_value, usedforsecurity=False).digest()


def _verify_response(
    response_der: bytes,
    certificate: x509.Certificate,
    parts: CertificateParts,
    issuer: ServiceCertificate,
    trust: VerifiedTrust,
) -> ocsp.VerifiedOcsp:
    """An answer by the CA, its delegate, or else by a responder that was listed when it answered."""
    answer = ocsp.verify_response(
        response_der,
        certificate=certificate,
        issuer=issuer.certificate,
        extra_responders=trust.responders,
        certificate_parts=parts,
        issuer_parts=issuer.parts,
        sha1_until=SHA1_UNTIL,
    )
    responder_der = certificate_der(answer.responder)
    if not trust.was_responder(responder_der, at=answer.produced_at):
        # Not by the list's word then; by the CA's own, or not at all.
        return ocsp.verify_response(
            response_der,
            certificate=certificate,
            issuer=issuer.certificate,
            certificate_parts=parts,
            issuer_parts=issuer.parts,
            sha1_until=SHA1_UNTIL,
        )
    return answer
