"""What a worker answers: a request's bytes in, a status and JSON out. Nothing here is asynchronous or knows HTTP.

The shapes are those of SiVa's API version 3; `reference/validation-api.md` lists them.
"""

import base64
import binascii
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, Final

from digiid.formats.ddoc import parse_ddoc
from digiid.formats.trusted_list import VerifiedTrust
from digiid.formats.validation import POLICIES, POLV4, HashcodeFile, Policy, Report, validate_hashcode
from digiid.institutions.information_authority.validation_service.reports import diagnostic_data, validation_process
from digiid.kernel.errors import Malformed
from digiid.platform.documents.judging import validate_document

MAX_FILE_NAME: Final = 260
MAX_POLICY: Final = 100
MAX_HASH_TEXT: Final = 1000
MAX_SIGNATURE_FILES: Final = 100
MAX_DATA_FILES: Final = 1000
REPORT_TYPES: Final = ("Simple", "Detailed", "Diagnostic")
HASHES: Final[Mapping[str, str]] = {
    "SHA1": "sha1",
    "SHA224": "sha224",
    "SHA256": "sha256",
    "SHA384": "sha384",
    "SHA512": "sha512",
    "SHA3-224": "sha3_224",
    "SHA3-256": "sha3_256",
    "SHA3-384": "sha3_384",
    "SHA3-512": "sha3_512",
}
_POLICY: Final = re.compile(r"[A-Za-z0-9_ -]+")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_BLANK: Final = "must not be blank"
_EMPTY: Final = "must not be empty"
_NOT_BASE64: Final = "Document is not encoded in a valid base64 string"
_SIGNATURE_NOT_BASE64: Final = "Signature file is not valid base64 encoded string"
_REQUIREMENTS: Final = "Document does not meet the requirements"
_MALFORMED: Final = "Document malformed or not matching documentType"
FAILED: Final = "Unfortunately there was an error validating your document"
_UNREADABLE: Final = "Request body is not readable"


class RequestErrors(Exception):
    """What is wrong with a request: keys and messages, answered together with status 400."""

    def __init__(self, *errors: tuple[str, str]) -> None:
        super().__init__(", ".join(key for key, _ in errors))
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes


def request_errors(*errors: tuple[str, str]) -> bytes:
    """The body of every answer that is not a report."""
    return _json({"requestErrors": [{"key": key, "message": message} for key, message in errors]})


def problem(status: int, code: str, detail: str) -> bytes:
    """RFC 9457, for the call that streams."""
    return _json({"type": "about:blank", "title": code, "status": status, "code": code, "detail": detail})


def answer(kind: str, file: BinaryIO, *, trust: VerifiedTrust, at: datetime, parameters: Mapping[str, str]) -> Answer:
    """Answer one request. `kind`: `validate`, `validateHashcode`, `getDataFiles`, or `report` for a raw body."""
    try:
        if kind == "report":
            return Answer(200, _json(_raw(file, trust, at, parameters)))
        handlers: Mapping[str, Callable[[dict[str, Any], VerifiedTrust, datetime], dict[str, Any]]] = {
            "validate": _validate,
            "validateHashcode": _validate_hashcode,
            "getDataFiles": _data_files,
        }
        return Answer(200, _json(handlers[kind](_read_json(file), trust, at)))
    except RequestErrors as refused:
        return Answer(400, request_errors(*refused.errors))
    except Malformed as error:
        return Answer(400, problem(400, error.code, error.detail))


def failure(kind: str) -> Answer:
    """The answer when judging itself failed."""
    if kind == "report":
        return Answer(500, problem(500, "validation.worker", FAILED))
    return Answer(500, request_errors(("document", FAILED)))


# ------------------------------------------------------------------ requests


def _read_json(file: BinaryIO) -> dict[str, Any]:
    try:
        value = json.loads(file.read().decode(), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise RequestErrors(("requestBodyNotReadable", _UNREADABLE)) from error
    if not isinstance(value, dict):
        raise RequestErrors(("requestBodyNotReadable", _UNREADABLE))
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


class _Fields:
    """Reads fields of a request and gathers what is wrong with them, in the words of the state's service."""

    def __init__(self) -> None:
        self.errors: list[tuple[str, str]] = []

    def base64(self, value: Any, key: str, *, wrong: str = _NOT_BASE64, longest: int | None = None) -> bytes:
        if not isinstance(value, str) or not value.strip():
            self.errors += [(key, _BLANK), (key, wrong)]
            if longest is not None and value == "":
                self.errors.append((key, _size(longest)))
            return b""
        if longest is not None and len(value) > longest:
            self.errors.append((key, _size(longest)))
            return b""
        try:
            return binascii.a2b_base64(value, strict_mode=True)
        except ValueError:
            self.errors.append((key, wrong))
            return b""

    def file_name(self, value: Any, key: str) -> str:
        if isinstance(value, str) and value.strip() and len(value) <= MAX_FILE_NAME and not _CONTROL.search(value):
            return value
        if not value:
            self.errors.append((key, _EMPTY))
        is_of_size = not isinstance(value, str) or 1 <= len(value) <= MAX_FILE_NAME
        self.errors.append((key, "Invalid filename" if is_of_size else _size(MAX_FILE_NAME)))
        return ""

    def policy(self, value: Any) -> Policy:
        if value is None:
            return POLV4
        if isinstance(value, str) and value in POLICIES:
            return POLICIES[value]
        message = "Invalid signature policy"
        if isinstance(value, str) and not 1 <= len(value) <= MAX_POLICY:
            message = _size(MAX_POLICY)
        elif isinstance(value, str) and _POLICY.fullmatch(value):
            message += f": {value}; Available abstractPolicies: [{', '.join(POLICIES)}]"
        self.errors.append(("signaturePolicy", message))
        return POLV4

    def report_type(self, value: Any) -> str:
        if value is None:
            return REPORT_TYPES[0]
        for known in REPORT_TYPES:
            if isinstance(value, str) and value.lower() == known.lower():
                return known
        self.errors.append(("reportType", "Invalid report type"))
        return REPORT_TYPES[0]

    def no_document_type(self, request: Mapping[str, Any]) -> None:
        if "documentType" in request:
            self.errors.append(("documentType", "documentType is not a valid request parameter"))

    def check(self) -> None:
        if self.errors:
            raise RequestErrors(*self.errors)


def _size(longest: int) -> str:
    return f"size must be between 1 and {longest}"


# ------------------------------------------------------------------ the calls


def _validate(request: dict[str, Any], trust: VerifiedTrust, at: datetime) -> dict[str, Any]:
    # 1 the request, everything that is wrong with it at once
    fields = _Fields()
    fields.no_document_type(request)
    document = fields.base64(request.get("document"), "document")
    name = fields.file_name(request.get("filename"), "filename")
    policy = fields.policy(request.get("signaturePolicy"))
    kind = fields.report_type(request.get("reportType"))
    fields.check()
    # 2 the verdict
    try:
        report = validate_document(io.BytesIO(document), trust=trust, at=at, policy=policy, file_name=name)
    except Malformed as error:
        # What ASiC-S may hold (EN 319 162-1 §4.3.3) is told apart from what is no container.
        message = _REQUIREMENTS if error.code.startswith("asic.simple.") else _MALFORMED
        raise RequestErrors(("document", message)) from error
    return {"validationReport": _report(report, kind, trust)}


def _report(report: Report, kind: str, trust: VerifiedTrust) -> dict[str, Any]:
    found: dict[str, Any] = {"validationConclusion": report.to_simple_report()}
    if (report.form or "").startswith("DIGIDOC"):
        return found
    if kind == "Detailed":
        found["validationProcess"] = validation_process(report)
    if kind == "Diagnostic":
        found["diagnosticData"] = diagnostic_data(report, trust)
    return found


def _validate_hashcode(request: dict[str, Any], trust: VerifiedTrust, at: datetime) -> dict[str, Any]:
    # 1 the request
    fields = _Fields()
    policy = fields.policy(request.get("signaturePolicy"))
    fields.report_type(request.get("reportType"))
    given = request.get("signatureFiles")
    if given is None:
        fields.errors.append(("signatureFiles", "must not be null"))
    if not given:
        fields.errors.append(("signatureFiles", _EMPTY))
    elif not isinstance(given, list) or len(given) > MAX_SIGNATURE_FILES:
        fields.errors.append(("signatureFiles", "Invalid SignatureFiles format"))
    fields.check()
    items: list[Any] = given or []
    files = [_signature_file(fields, item, f"signatureFiles[{number}]") for number, item in enumerate(items)]
    fields.check()
    # 2 one verdict about all signature files
    try:
        reports = [validate_hashcode(xml, data, trust=trust, at=at, policy=policy) for xml, data in files]
    except Malformed as error:
        raise RequestErrors(("signatureFiles.signature", "Signature file malformed")) from error
    return {"validationReport": {"validationConclusion": _together(reports)}}


def _signature_file(fields: _Fields, item: Any, key: str) -> tuple[bytes, Sequence[HashcodeFile] | None]:
    if not isinstance(item, dict):
        fields.errors.append((key, "Invalid SignatureFiles format"))
        return b"", None
    xml = fields.base64(item.get("signature"), f"{key}.signature", wrong=_SIGNATURE_NOT_BASE64)
    given = item.get("datafiles")
    if given is None:
        return xml, None
    key = f"{key}.datafiles"
    if not isinstance(given, list) or not 1 <= len(given) <= MAX_DATA_FILES:
        fields.errors.append((key, "Invalid dataFiles list"))
        return xml, None
    return xml, [_digest(fields, data_file, f"{key}[{number}]") for number, data_file in enumerate(given)]


def _digest(fields: _Fields, item: Any, key: str) -> HashcodeFile:
    if not isinstance(item, dict):
        fields.errors.append((key, "Invalid dataFiles list"))
        return HashcodeFile("", "", b"")
    name = fields.file_name(item.get("filename"), f"{key}.filename")
    algorithm = item.get("hashAlgo")
    hash_name = HASHES.get(algorithm.upper(), "") if isinstance(algorithm, str) else ""
    if not hash_name:
        fields.errors.append((f"{key}.hashAlgo", "Invalid hash algorithm"))
    return HashcodeFile(name, hash_name, fields.base64(item.get("hash"), f"{key}.hash", longest=MAX_HASH_TEXT))


def _together(reports: Sequence[Report]) -> dict[str, Any]:
    simple = [report.to_simple_report() for report in reports]
    found = {
        **simple[0],
        "signatures": [signature for one in simple for signature in one["signatures"]],
        "signaturesCount": sum(one["signaturesCount"] for one in simple),
        "validSignaturesCount": sum(one["validSignaturesCount"] for one in simple),
    }
    del found["validatedDocument"]
    return found


def _data_files(request: dict[str, Any], _trust: VerifiedTrust, _at: datetime) -> dict[str, Any]:
    fields = _Fields()
    fields.no_document_type(request)
    document = fields.base64(request.get("document"), "document")
    name = request.get("filename")
    if not isinstance(name, str) or not name.lower().endswith(".ddoc"):
        message = "Invalid filename. Can only return data files for DDOC type containers."
        fields.errors.append(("filename", message))
    fields.check()
    try:
        parsed = parse_ddoc(document)
        files = [
            {
                "filename": file.name,
                "mimeType": file.media_type,
                "base64": base64.b64encode(file.content()).decode() if file.is_there else None,
                "size": file.size_bytes,
            }
            for file in parsed.data_files
        ]
    except Malformed as error:
        raise RequestErrors(("document", _MALFORMED)) from error
    return {"dataFiles": files}


def _raw(file: BinaryIO, trust: VerifiedTrust, at: datetime, parameters: Mapping[str, str]) -> dict[str, Any]:
    """The call that streams: errors say what is wrong with the file, by our own codes."""
    fields = _Fields()
    name = fields.file_name(parameters.get("filename"), "filename")
    policy = fields.policy(parameters.get("policy"))
    kind = fields.report_type(parameters.get("report"))
    if fields.errors:
        key, message = fields.errors[0]
        raise Malformed("validation.request", f"{key}: {message}")
    report = validate_document(file, trust=trust, at=at, policy=policy, file_name=name)
    return {"isValid": report.is_valid, "validationReport": _report(report, kind, trust)}


def _json(value: Any) -> bytes:
    # Names in hostile files may hold what UTF-8 cannot: escaped, they reach the reader as they are.
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode("ascii")
