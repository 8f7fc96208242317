"""The validation service over real HTTP, its workers real processes."""

import base64
import contextlib
import io
import os
import signal
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from digiid.formats.asic import DataFile
from digiid.institutions.information_authority.validation_service.app import ValidationService, build
from digiid.institutions.information_authority.validation_service.settings import Settings
from digiid.kernel.errors import Refused
from digiid.platform.clock import ManualClock
from digiid.platform.documents.signing import KeySigner, sign_files
from digiid.platform.entropy import SeededEntropy
from digiid.platform.http import HttpClient
from digiid.platform.institution import Surroundings
from digiid.platform.pools import Pools
from tests.support.containers import changed
from tests.support.pki import AT
from tests.support.serve import free_port, serving
from tests.support.signing_room import signing_room
from tests.support.time_marked import TimeMarkMaker
from tests.support.time_stamped import stamped


@dataclass(frozen=True)
class Desk:
    client: httpx.Client
    service: ValidationService
    container: bytes
    renew_seal: Callable[[], None]

    def validate(self, **fields: Any) -> httpx.Response:
        body = {"filename": "a.asice", "document": base64.b64encode(self.container).decode(), **fields}
        return self.client.post("/V3/validate", json=body)


@contextlib.contextmanager
def open_desk(folder: Path, settings: Settings, open_seal: Callable[[], KeySigner] | None = None) -> Iterator[Desk]:
    clock, entropy, pools, http = ManualClock(AT), SeededEntropy(b"judged"), Pools(), HttpClient()
    with signing_room(clock, entropy) as room, contextlib.ExitStack() as closing:
        around = Surroundings(clock, entropy, pools, http, folder, {})
        seals = [room.seal()]
        service = build(
            settings, around, trust=room.trust, issuers=room.issuers, open_seal=open_seal or (lambda: seals[-1])
        )
        closing.callback(pools.close)
        closing.callback(http.close)
        closing.callback(service.running.close)
        files = [DataFile("a.txt", "text/plain", b"a")]
        container = sign_files(files, signer=room.signer(), issuers=room.issuers, trust=room.trust)
        port = free_port()
        closing.enter_context(serving(service.app, port))
        client = closing.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60))
        yield Desk(client, service, container, lambda: seals.append(room.seal()))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    settings = Settings(max_json_bytes=1024 * 1024, max_raw_bytes=1024 * 1024)
    with open_desk(tmp_path_factory.mktemp("validation"), settings) as opened:
        yield opened


def _error(answer: httpx.Response) -> tuple[int, str, str]:
    [error] = answer.json()["requestErrors"]
    return answer.status_code, error["key"], error["message"]


def _errors(answer: httpx.Response) -> set[tuple[str, str]]:
    assert answer.status_code == 400
    return {(error["key"], error["message"]) for error in answer.json()["requestErrors"]}


def test_a_client_as_digidoc_tool_is_answered(desk: Desk) -> None:
    headers = {"Content-Type": "application/json;charset=UTF-8", "Connection": "close"}
    body = {"filename": "a.asice", "document": base64.b64encode(desk.container).decode(), "signaturePolicy": "POLv4"}
    answer = desk.client.post("/V3/validate", json=body, headers=headers)
    assert answer.status_code == 200
    conclusion = answer.json()["validationReport"]["validationConclusion"]
    [signature] = conclusion["signatures"]
    assert (signature["indication"], signature["signatureLevel"]) == ("TOTAL-PASSED", "QESIG")
    assert (conclusion["signatureForm"], conclusion["validSignaturesCount"]) == ("ASiC-E", 1)
    assert {"id", "claimedSigningTime", "signatureFormat", "indication", "signedBy"} <= signature.keys()


def test_the_longer_reports_and_the_seal(desk: Desk) -> None:
    assert "validationProcess" in desk.validate(reportType="detailed").json()["validationReport"]
    assert "diagnosticData" in desk.validate(reportType="DIAGNOSTIC").json()["validationReport"]
    body = {"filename": "a.asice", "document": base64.b64encode(desk.container).decode()}
    sealed = desk.client.post("/V3/validate", json=body, headers={"X-Sign-Report": "true"}).json()
    again = desk.validate(document=sealed["validationReportSignature"])
    [signature] = again.json()["validationReport"]["validationConclusion"]["signatures"]
    assert (signature["indication"], signature["signatureLevel"]) == ("TOTAL-PASSED", "QESEAL")


def test_a_renewed_seal_seals_from_the_next_report_on_and_both_reports_hold(desk: Desk) -> None:
    body = {"filename": "a.asice", "document": base64.b64encode(desk.container).decode()}

    def sealed() -> str:
        answer = desk.client.post("/V3/validate", json=body, headers={"X-Sign-Report": "true"})
        return str(answer.json()["validationReportSignature"])

    reports = [sealed()]
    desk.renew_seal()
    reports.append(sealed())
    for report in reports:
        conclusion = desk.validate(document=report).json()["validationReport"]["validationConclusion"]
        assert [each["indication"] for each in conclusion["signatures"]] == ["TOTAL-PASSED"]
    certificates = [
        zipfile.ZipFile(io.BytesIO(base64.b64decode(report)))
        .read("META-INF/signatures0.xml")
        .split(b"X509Certificate")[1]
        for report in reports
    ]
    assert certificates[0] != certificates[1]


def test_a_report_that_cannot_be_sealed_is_not_given_out_without_its_seal(tmp_path: Path) -> None:
    def refuse() -> KeySigner:
        raise Refused("keys.no_certificate", "there is no seal")

    with open_desk(tmp_path, Settings(), refuse) as desk:
        body = {"filename": "a.asice", "document": base64.b64encode(desk.container).decode()}
        answer = desk.client.post("/V3/validate", json=body, headers={"X-Sign-Report": "true"})
        assert _error(answer) == (503, "unavailable", "The report cannot be signed now")
        assert desk.validate().status_code == 200


@pytest.mark.nightly
def test_half_a_gigabyte_streams_in_little_memory(tmp_path: Path) -> None:
    """Neither the process that takes the body nor the one that judges holds it (client and service are one here)."""
    block, container = os.urandom(1024 * 1024), tmp_path / "large.asice"

    def pieces() -> Iterator[bytes]:
        with container.open("rb") as file:
            while piece := file.read(1024 * 1024):
                yield piece

    with open_desk(tmp_path, Settings()) as desk:
        with zipfile.ZipFile(io.BytesIO(desk.container)) as signed, zipfile.ZipFile(container, "w") as archive:
            for name in signed.namelist():
                with archive.open(zipfile.ZipInfo(name), "w") as entry:
                    for piece in [block] * 500 if name == "a.txt" else [signed.read(name)]:
                        entry.write(piece)
        headers = {"Content-Type": "application/octet-stream"}
        path = "/validation/report?filename=large.asice"
        assert desk.client.post(path, content=desk.container, headers=headers).json()["isValid"]
        [worker] = desk.service.workers.process_ids
        before = {process: _most_held(process) for process in (os.getpid(), worker)}
        answer = desk.client.post(path, content=pieces(), headers=headers)
        assert answer.status_code == 200, answer.text
        [signature] = answer.json()["validationReport"]["validationConclusion"]["signatures"]
        assert signature["subIndication"] == "HASH_FAILURE"
        for process, megabytes in before.items():
            assert _most_held(process) - megabytes <= 150


def _most_held(process: int) -> float:
    """The most memory that a process ever held, in MB (proc(5): VmHWM)."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


BLANK, EMPTY, NOT_BASE64 = "must not be blank", "must not be empty", "Document is not encoded in a valid base64 string"
MALFORMED = "Document malformed or not matching documentType"
NO_POLICY = "Invalid signature policy"
NO_NAME = "Invalid filename"


def size(longest: int) -> str:
    return f"size must be between 1 and {longest}"


@pytest.mark.parametrize(
    ("fields", "key", "messages"),
    [
        ({"document": "!"}, "document", {NOT_BASE64}),
        ({"document": ""}, "document", {BLANK, NOT_BASE64}),
        ({"document": None}, "document", {BLANK, NOT_BASE64}),
        ({"document": "AAAA"}, "document", {MALFORMED}),
        ({"filename": ""}, "filename", {EMPTY, size(260)}),
        ({"filename": None}, "filename", {EMPTY, NO_NAME}),
        ({"filename": "a" * 261}, "filename", {size(260)}),
        ({"filename": "a\nb"}, "filename", {NO_NAME}),
        ({"signaturePolicy": ""}, "signaturePolicy", {size(100)}),
        ({"signaturePolicy": "a" * 101}, "signaturePolicy", {size(100)}),
        ({"signaturePolicy": "POLv3.*"}, "signaturePolicy", {NO_POLICY}),
        (
            {"signaturePolicy": "POLv5"},
            "signaturePolicy",
            {"Invalid signature policy: POLv5; Available abstractPolicies: [POLv3, POLv4]"},
        ),
        ({"reportType": "Long"}, "reportType", {"Invalid report type"}),
        ({"documentType": "BDOC"}, "documentType", {"documentType is not a valid request parameter"}),
    ],
)
def test_wrong_fields_are_named(desk: Desk, fields: dict[str, Any], key: str, messages: set[str]) -> None:
    assert _errors(desk.validate(**fields)) == {(key, message) for message in messages}


def test_everything_that_is_wrong_is_told_at_once(desk: Desk) -> None:
    answer = desk.client.post("/V3/validate", json={"DOCUMENT": "AAAA", "reportType": ""})
    assert _errors(answer) == {
        ("document", BLANK),
        ("document", NOT_BASE64),
        ("filename", EMPTY),
        ("filename", NO_NAME),
        ("reportType", "Invalid report type"),
    }


FILE, DATA = "signatureFiles[0]", "signatureFiles[0].datafiles[0]"


@pytest.mark.parametrize(
    ("files", "errors"),
    [
        (None, {("signatureFiles", EMPTY), ("signatureFiles", "must not be null")}),
        ([], {("signatureFiles", EMPTY)}),
        ([{"signature": "."}], {(f"{FILE}.signature", "Signature file is not valid base64 encoded string")}),
        ([{"signature": "Tk9UIFhNTA=="}], {("signatureFiles.signature", "Signature file malformed")}),
        ([{"signature": "AAAA", "datafiles": []}], {(f"{FILE}.datafiles", "Invalid dataFiles list")}),
    ],
)
def test_wrong_signature_files_are_named(desk: Desk, files: Any, errors: set[tuple[str, str]]) -> None:
    assert _errors(desk.client.post("/V3/validateHashcode", json={"signatureFiles": files})) == errors


@pytest.mark.parametrize(
    ("field", "value", "messages"),
    [
        ("filename", "", {EMPTY, size(260)}),
        ("filename", None, {EMPTY, NO_NAME}),
        ("filename", "a" * 261, {size(260)}),
        ("hashAlgo", "MD5", {"Invalid hash algorithm"}),
        ("hash", None, {BLANK, NOT_BASE64}),
        ("hash", "", {BLANK, NOT_BASE64, size(1000)}),
        ("hash", "NOT.BASE64", {NOT_BASE64}),
        ("hash", "P" * 1001, {size(1000)}),
    ],
)
def test_wrong_data_files_are_named(desk: Desk, field: str, value: Any, messages: set[str]) -> None:
    data_file = {"filename": "a.txt", "hashAlgo": "sha256", "hash": "AAAA", field: value}
    body = {"signatureFiles": [{"signature": "AAAA", "datafiles": [data_file]}]}
    answer = desk.client.post("/V3/validateHashcode", json=body)
    assert _errors(answer) == {(f"{DATA}.{field}", message) for message in messages}


@pytest.mark.parametrize("name", ["", None, "a.bdoc"])
def test_only_files_of_ddoc_are_handed_out(desk: Desk, name: str | None) -> None:
    answer = desk.client.post("/V3/getDataFiles", json={"document": "AAAA", "filename": name})
    message = "Invalid filename. Can only return data files for DDOC type containers."
    assert _errors(answer) == {("filename", message)}
    malformed = desk.client.post("/V3/getDataFiles", json={"document": "AAAA", "filename": "a.DDOC"})
    assert _errors(malformed) == {("document", MALFORMED)}


@pytest.mark.parametrize(
    "changes",
    [
        {"more.txt": b"x"},
        {"letter.txt": None},
        {"folder/more.txt": b"x"},
        {"META-INF/signatures.xml": b"<x/>"},
        {"META-INF/signature.p7s": b"x"},
        {"META-INF/evidencerecord.xml": b"<x/>"},
        {"META-INF/evidencerecord.ers": b"x"},
    ],
)
def test_what_asic_s_must_not_hold_does_not_meet_the_requirements(desk: Desk, changes: dict[str, bytes | None]) -> None:
    container = changed(stamped(b"I, the undersigned, agree."), changes)
    answer = desk.validate(document=base64.b64encode(container).decode(), filename="a.asics")
    assert _errors(answer) == {("document", "Document does not meet the requirements")}


NOT_FIRST = '"mimetype" should be the first file in the container'
EXPECTED = (
    "Container should have one of the expected mimetypes: "
    '"application/vnd.etsi.asic-e+zip", "application/vnd.etsi.asic-s+zip"'
)


@pytest.mark.parametrize(("mimetype", "warning"), [(None, NOT_FIRST), (b"text/plain", EXPECTED)])
def test_a_container_without_its_media_type_is_judged_with_the_warning_that_clients_know(
    desk: Desk, mimetype: bytes | None, warning: str
) -> None:
    container = changed(desk.container, {"mimetype": mimetype})
    conclusion = desk.validate(document=base64.b64encode(container).decode()).json()["validationReport"][
        "validationConclusion"
    ]
    assert (conclusion["signatureForm"], conclusion["validSignaturesCount"]) == ("ASiC-E", 1)
    assert warning in [each["content"] for each in conclusion["validationWarnings"]]


def test_a_time_marked_container_without_its_media_type_is_no_document(desk: Desk) -> None:
    headers = {"Content-Type": "application/octet-stream"}
    for mimetype, code in ((None, "asic.mimetype.missing"), (b"application/zip", "asic.mimetype.unknown")):
        container = changed(TimeMarkMaker().container(), {"mimetype": mimetype})
        answer = desk.validate(document=base64.b64encode(container).decode())
        assert _error(answer) == (400, "document", "Document malformed or not matching documentType")
        raw = desk.client.post("/validation/report?filename=a.bdoc", content=container, headers=headers)
        assert (raw.status_code, raw.json()["code"]) == (400, code)


@pytest.mark.parametrize("body", [b"", b"[]", b"[" * 100_000, b'{"filename":"a","filename":"b"}', b"\xff", b"NaN"])
def test_hostile_json_is_not_readable(desk: Desk, body: bytes) -> None:
    answer = desk.client.post("/V3/validate", content=body, headers={"Content-Type": "application/json"})
    assert _error(answer)[:2] == (400, "requestBodyNotReadable")


def test_statuses(desk: Desk) -> None:
    assert _error(desk.client.post("/V3/other"))[:2] == (404, "endpointNotFound")
    assert _error(desk.client.get("/V3/validate"))[:2] == (405, "methodNotAllowed")
    assert _error(desk.client.post("/V3/validate", content=b"x"))[:2] == (415, "contentTypeNotSupported")
    assert _error(desk.validate(document="A" * 1024 * 1024))[:2] == (400, "request")
    assert desk.client.get("/monitoring/health").json()["status"] == "UP"


def test_a_raw_body_streams(desk: Desk) -> None:
    def chunks() -> Iterator[bytes]:
        for start in range(0, len(desk.container), 1000):
            yield desk.container[start : start + 1000]

    headers = {"Content-Type": "application/octet-stream", "X-Request-Id": "mine-1"}
    address = "/validation/report?filename=a.asice&policy=POLv4"
    answer = desk.client.post(address, content=chunks(), headers=headers)
    assert (answer.status_code, answer.json()["isValid"]) == (200, True)
    assert answer.headers["x-request-id"] == "mine-1"
    form = desk.client.post(
        address, content=desk.container, headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert form.status_code == 415 and "application/octet-stream" in form.json()["detail"]
    wrong = desk.client.post(address, content=b"no container", headers=headers)
    assert (wrong.status_code, wrong.json()["code"]) == (400, "validation.unknown_form")
    assert desk.client.post(address, content=bytes(1024 * 1024 + 1), headers=headers).status_code == 413


def test_a_worker_that_died_is_replaced(desk: Desk) -> None:
    assert desk.validate().status_code == 200
    before = desk.service.workers.process_ids
    for process_id in before:
        os.kill(process_id, signal.SIGKILL)
    statuses = [desk.validate().status_code for _ in range(4)]
    assert statuses[-1] == 200 and set(statuses) <= {200, 500}, statuses
    assert not set(before) & set(desk.service.workers.process_ids)
