"""Providers sign over HTTP: whole files and digests, several signers, broken requests, replays, other clients."""

import base64
import hashlib
import io
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from digiid.formats.asic.hashcode import hash_file, parse_hashcode_container, restore_container
from digiid.formats.validation import validate_container
from digiid.institutions.information_authority.signing_service import store, use_cases
from digiid.institutions.information_authority.signing_service.api import build_signing_service_app
from digiid.institutions.information_authority.signing_service.clients import ClientCredentials, Registry
from digiid.institutions.information_authority.signing_service.settings import Settings
from digiid.institutions.information_authority.signing_service.use_cases import Deps
from digiid.kernel.errors import Conflict, NotFound, Refused
from digiid.platform import journal
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.documents import KeySigner, sign_files
from digiid.platform.documents.early_status import EarlyStatus
from digiid.platform.documents.judging import validate_document
from digiid.platform.entropy import SeededEntropy, SystemEntropy
from digiid.platform.pools import Pools
from tests.support.pdf import simple_pdf
from tests.support.pki import AT, FILES, key_usage, person
from tests.support.schema import schema_differences
from tests.support.serve import free_port, serving
from tests.support.signing_client import SigningClient, b64
from tests.support.signing_room import SigningRoom, packed_entries, signing_room

PACKAGE = "digiid.institutions.information_authority.signing_service"


@dataclass
class Desk:
    room: SigningRoom
    deps: Deps
    client: SigningClient
    other: SigningClient
    clock: ManualClock

    def prepare(self, container_id: str, signer: KeySigner, form: str = "containers", **more: Any) -> dict[str, str]:
        body = {"signingCertificate": b64(signer.certificate.public_bytes(Encoding.DER)), **more}
        return dict(self.client.ok("POST", f"/signing/{form}/{container_id}/remotesigning", body))

    def complete(self, container_id: str, prepared: dict[str, str], value: bytes, form: str = "containers") -> Any:
        path = f"/signing/{form}/{container_id}/remotesigning/{prepared['generatedSignatureId']}"
        return self.client.call("PUT", path, {"signatureValue": b64(value)})

    def sign(self, container_id: str, signer: KeySigner, form: str = "containers", **more: Any) -> None:
        prepared = self.prepare(container_id, signer, form, **more)
        answer = self.complete(container_id, prepared, signer.sign(base64.b64decode(prepared["digest"])), form)
        assert answer.status_code == 200, answer.text

    def report(self, container: bytes) -> Any:
        return validate_container(io.BytesIO(container), trust=self.room.trust.trust(), at=self.clock.now())


@pytest.fixture
def desk(clock: ManualClock, entropy: SeededEntropy, tmp_path: Path) -> Iterator[Desk]:
    database = Database.sqlite(tmp_path / "signing.sqlite")
    database.migrate(PACKAGE)
    with desk_over(database, clock, entropy) as opened:
        yield opened
    database.close()


@pytest.fixture
def any_desk(clock: ManualClock, entropy: SeededEntropy, new_database: Callable[[str], Database]) -> Iterator[Desk]:
    """The same on SQLite and on PostgreSQL."""
    with desk_over(new_database(PACKAGE), clock, entropy) as opened:
        yield opened


@contextmanager
def desk_over(
    database: Database, clock: ManualClock, entropy: SeededEntropy, *, max_containers: int = 12
) -> Iterator[Desk]:
    pools = Pools(pages=4, services=1)
    with signing_room(clock, entropy) as room:
        registry = Registry(database, clock, SystemEntropy(), b"m" * 32)
        settings = Settings(max_containers=max_containers, max_files=3, max_body_bytes=400_000)
        deps = Deps(database, clock, SystemEntropy(), registry, room.issuers, room.trust, settings)
        port = free_port()
        with serving(build_signing_service_app(deps, pools), port):
            base_url = f"http://127.0.0.1:{port}"
            clients = [SigningClient(base_url, registry.add(name), clock) for name in ("TEST provider", "TEST other")]
            yield Desk(room, deps, *clients, clock)
    pools.close()


def test_files_are_signed_in_two_steps_and_our_validator_agrees(any_desk: Desk) -> None:
    desk = any_desk
    signer = desk.room.signer()
    container_id = desk.client.create(FILES)
    prepared = desk.prepare(
        container_id,
        signer,
        signatureProfile="LT",
        roles=["Board member"],
        signatureProductionPlace={"city": "Tallinn", "countryName": "EE"},
    )
    data = base64.b64decode(prepared["dataToSign"])
    assert prepared["digestAlgorithm"] == "SHA384"
    assert hashlib.sha384(data).digest() == base64.b64decode(prepared["digest"])
    # a provider's program may hash by itself, as with every ordinary crypto library
    assert isinstance(signer.key, ec.EllipticCurvePrivateKey)
    value_der = signer.key.sign(data, ec.ECDSA(hashes.SHA384()))  # DER, as every library makes it
    assert desk.complete(container_id, prepared, value_der).json() == {"result": "OK"}
    report = desk.report(desk.client.fetch(container_id))
    assert report.is_valid and report.signatures[0].claimed_roles == ("Board member",)
    assert desk.client.ok("GET", f"/signing/containers/{container_id}/datafiles")["dataFiles"][0] == {
        "fileName": FILES[0].name,
        "mimeType": "text/plain",
        "fileSize": len(FILES[0].content),
    }
    listed = desk.client.ok("GET", f"/signing/containers/{container_id}/signatures")["signatures"]
    assert [one["indication"] for one in listed] == ["TOTAL-PASSED"]
    conclusion = desk.client.ok("GET", f"/signing/containers/{container_id}/validationreport")["validationConclusion"]
    assert conclusion["validSignaturesCount"] == 1
    assert desk.client.ok("DELETE", f"/signing/containers/{container_id}") == {"result": "OK"}
    assert desk.client.refused(404, "GET", f"/signing/containers/{container_id}") == "signing.container"


def test_digests_are_signed_and_the_client_puts_its_files_back(desk: Desk) -> None:
    digests = [hash_file(io.BytesIO(file.content), name=file.name) for file in FILES]
    data_files = [
        {
            "fileName": one.name,
            "fileHashSha256": b64(one.sha256),
            "fileHashSha512": b64(one.sha512),
            "fileSize": one.size_bytes,
        }
        for one in digests
    ]
    created = desk.client.ok("POST", "/signing/hashcodecontainers", {"dataFiles": data_files})
    container_id, form = created["containerId"], "hashcodecontainers"
    signer = desk.room.signer(kind="rsa", pss=True)
    desk.sign(container_id, signer, form, paddingScheme="PSS")
    container = desk.client.fetch(container_id, form)
    assert not any(file.content in container for file in FILES)
    full = restore_container(parse_hashcode_container(io.BytesIO(container)), FILES, at=AT)
    report = desk.report(full)
    assert report.is_valid and "MGF1" in report.signatures[0].method_uri
    assert isinstance(signer.key, rsa.RSAPrivateKey)
    listed = desk.client.ok("GET", f"/signing/{form}/{container_id}/datafiles")["dataFiles"]
    assert [one["fileSize"] for one in listed] == [one.size_bytes for one in digests]
    certificate = b64(signer.certificate.public_bytes(Encoding.DER))
    body = {"signingCertificate": certificate, "signatureProfile": "LTA"}
    assert desk.client.refused(422, "POST", f"/signing/{form}/{container_id}/remotesigning", body) == "signing.level"
    # under the other path it does not exist
    assert desk.client.refused(404, "GET", f"/signing/containers/{container_id}") == "signing.container"


def test_an_uploaded_container_gets_a_signature_more_one_less_and_an_archive_time_stamp(desk: Desk) -> None:
    first = sign_files(FILES, signer=desk.room.signer("FIRST"), issuers=desk.room.issuers, trust=desk.room.trust)
    body = {"containerName": "theirs.asice", "container": b64(first)}
    container_id = desk.client.ok("POST", "/signing/upload/containers", body)["containerId"]
    desk.sign(container_id, desk.room.signer("SECOND", kind="p256"), signatureProfile="LTA")
    both = desk.client.fetch(container_id)
    assert [len(one.archive_time_stamps) for one in desk.report(both).signatures] == [0, 1]
    assert {name: packed_entries(both)[name] for name in packed_entries(first)} == packed_entries(first)
    assert desk.client.ok("PUT", f"/signing/containers/{container_id}/augmentation") == {"result": "OK"}
    report = desk.report(desk.client.fetch(container_id))
    assert report.is_valid and [len(one.archive_time_stamps) for one in report.signatures] == [1, 2]
    path = f"/signing/containers/{container_id}/signatures"
    assert desk.client.ok("DELETE", f"{path}/{report.signatures[1].id}") == {"result": "OK"}
    assert desk.client.refused(404, "DELETE", f"{path}/{report.signatures[1].id}") == "documents.signature"
    assert len(desk.report(desk.client.fetch(container_id)).signatures) == 1


def test_two_people_prepare_at_once_and_both_signatures_stay(any_desk: Desk) -> None:
    desk = any_desk
    signers = [desk.room.signer(name) for name in ("A", "B", "C", "D")]
    container_id = desk.client.create(FILES)
    prepared = [desk.prepare(container_id, signer) for signer in signers]
    assert len({one["generatedSignatureId"] for one in prepared}) == 4
    values = [signer.sign(base64.b64decode(one["digest"])) for signer, one in zip(signers, prepared, strict=True)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda pair: desk.complete(container_id, *pair), zip(prepared, values, strict=True)))
    assert [answer.status_code for answer in answers] == [200] * 4, [answer.text for answer in answers]
    report = desk.report(desk.client.fetch(container_id))
    assert report.is_valid and {one.signed_by[0] for one in report.signatures} == {"A", "B", "C", "D"}


# ------------------------------------------------------------------------------------------ single use


def test_a_value_is_used_once_and_its_repeat_changes_nothing(any_desk: Desk) -> None:
    desk = any_desk
    signer, container_id = desk.room.signer(), desk.client.create(FILES)
    prepared = desk.prepare(container_id, signer)
    value = signer.sign(base64.b64decode(prepared["digest"]))
    assert desk.complete(container_id, prepared, value).status_code == 200
    before = desk.client.fetch(container_id)
    assert desk.complete(container_id, prepared, value).json() == {"result": "OK"}
    assert desk.client.fetch(container_id) == before
    another = signer.sign(base64.b64decode(prepared["digest"]))
    assert desk.complete(container_id, prepared, another).json()["code"] == "signing.prepared.used"
    assert desk.client.fetch(container_id) == before


def test_a_wrong_value_ends_the_preparation_and_leaves_the_container(desk: Desk) -> None:
    signer, container_id = desk.room.signer(), desk.client.create(FILES)
    prepared = desk.prepare(container_id, signer)
    before = desk.client.fetch(container_id)
    wrong = desk.complete(container_id, prepared, desk.room.signer("OTHER").sign(base64.b64decode(prepared["digest"])))
    assert (wrong.status_code, wrong.json()["code"]) == (422, "xades.signature_value")
    right = desk.complete(container_id, prepared, signer.sign(base64.b64decode(prepared["digest"])))
    assert (right.status_code, right.json()["code"]) == (409, "signing.prepared.used")
    assert desk.client.fetch(container_id) == before


def test_after_a_quarter_of_an_hour_a_prepared_signature_is_worth_nothing(desk: Desk) -> None:
    signer, container_id = desk.room.signer(), desk.client.create(FILES)
    prepared = desk.prepare(container_id, signer)
    desk.clock.advance(timedelta(minutes=15, seconds=1))
    answer = desk.complete(container_id, prepared, signer.sign(base64.b64decode(prepared["digest"])))
    assert (answer.status_code, answer.json()["code"]) == (422, "signing.prepared.expired")


def test_when_the_time_stamp_cannot_be_had_the_same_value_may_come_again(any_desk: Desk) -> None:
    desk = any_desk
    signer, container_id = desk.room.signer(), desk.client.create(FILES)
    prepared = desk.prepare(container_id, signer)
    value = signer.sign(base64.b64decode(prepared["digest"]))
    desk.room.server.change = lambda _path, _body: (503, b"")
    assert desk.complete(container_id, prepared, value).status_code == 503
    desk.room.server.change = lambda _path, body: (200, body)
    assert desk.complete(container_id, prepared, value).status_code == 200
    assert desk.report(desk.client.fetch(container_id)).is_valid


def test_a_revoked_certificate_signs_nothing(desk: Desk) -> None:
    signer, container_id = desk.room.signer(), desk.client.create(FILES)
    prepared = desk.prepare(container_id, signer)
    desk.room.server.status = "revoked"
    answer = desk.complete(container_id, prepared, signer.sign(base64.b64decode(prepared["digest"])))
    assert (answer.status_code, answer.json()["code"]) == (422, "documents.certificate.revoked")


def test_nobody_types_a_pin_for_a_certificate_that_is_not_in_force(desk: Desk) -> None:
    server, signer = desk.room.server, desk.room.signer()
    body = {"signingCertificate": b64(signer.certificate.public_bytes(Encoding.DER))}
    paths = [f"/signing/containers/{desk.client.create(FILES)}/remotesigning"]
    paths.append(f"/signing/pdfs/{upload_pdf(desk, simple_pdf())}/remotesigning")
    server.status = "revoked"
    for path in paths:
        answer = desk.client.call("POST", path, body)
        assert (answer.status_code, answer.json()["code"]) == (422, "documents.certificate.revoked")
        assert answer.json()["detail"] == "The certificate is revoked. Nothing was signed."
    desk.clock.advance(timedelta(seconds=10))
    server.reason = "certificate_hold"
    assert desk.client.refused(422, "POST", paths[0], body) == "documents.certificate.suspended"
    desk.clock.advance(timedelta(seconds=10))
    server.status, server.reason = "good", None
    desk.client.ok("POST", paths[0], body)


def test_the_responder_is_asked_within_measure_and_may_be_away(desk: Desk) -> None:
    server, signers = desk.room.server, [desk.room.signer(f"SIGNER{number}") for number in range(5)]
    container_id = desk.client.create(FILES)
    for _ in range(5):
        desk.prepare(container_id, signers[0])
    assert server.requests.count("/ocsp") == 1
    # away: preparing goes on, and the next do not wait for it either
    server.change = lambda _path, _body: (503, b"")
    for signer in signers[1:]:
        desk.prepare(container_id, signer)
    assert server.requests.count("/ocsp") == 2
    # back, with an answer that says nothing: the second step judges
    desk.clock.advance(timedelta(seconds=30))
    server.change = lambda _path, _body: (200, b"nonsense")
    prepared = desk.prepare(container_id, signers[1])
    assert server.requests.count("/ocsp") == 3
    server.change = lambda _path, body: (200, body)
    value = signers[1].sign(base64.b64decode(prepared["digest"]))
    assert desk.complete(container_id, prepared, value).status_code == 200


def test_of_many_at_once_a_few_ask_the_responder(desk: Desk) -> None:
    server, signers = desk.room.server, [desk.room.signer(f"SIGNER{number}") for number in range(6)]
    status, asking, go_on = EarlyStatus(), threading.Semaphore(0), threading.Event()

    def wait_and_answer(_path: str, body: bytes) -> tuple[int, bytes]:
        asking.release()
        go_on.wait(30)
        return 200, body

    def check(signer: KeySigner) -> None:
        fetch = desk.room.trust.ocsp.fetch
        status.check(signer.certificate, desk.room.issuers[0], fetch=fetch, clock=desk.clock)

    server.change = wait_and_answer
    with ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(check, signer) for signer in signers[:4]]
        for _ in waiting:
            assert asking.acquire(timeout=30)
        for signer in signers:  # four are asked about; these ask nobody and wait for nobody
            check(signer)
        assert server.requests.count("/ocsp") == 4
        go_on.set()
        for one in waiting:
            one.result(timeout=30)
    check(signers[4])
    assert server.requests.count("/ocsp") == 5


# ------------------------------------------------------------------------------------------ who asks


def test_another_client_sees_and_changes_nothing(desk: Desk) -> None:
    container_id, signer = desk.client.create(FILES), desk.room.signer()
    prepared = desk.prepare(container_id, signer)
    path = f"/signing/containers/{container_id}"
    body = {"signingCertificate": b64(signer.certificate.public_bytes(Encoding.DER))}
    assert desk.other.refused(404, "GET", path) == "signing.container"
    assert desk.other.refused(404, "DELETE", path) == "signing.container"
    assert desk.other.refused(404, "POST", f"{path}/remotesigning", body) == "signing.container"
    value = {"signatureValue": b64(signer.sign(base64.b64decode(prepared["digest"])))}
    complete = f"{path}/remotesigning/{prepared['generatedSignatureId']}"
    assert desk.other.refused(404, "PUT", complete, value) == "signing.container"
    # nor is a preparation found under another container of the same client
    elsewhere = f"/signing/containers/{desk.client.create(FILES)}/remotesigning/{prepared['generatedSignatureId']}"
    assert desk.client.refused(404, "PUT", elsewhere, value) == "signing.prepared"
    assert desk.client.ok("PUT", complete, value) == {"result": "OK"}


def test_a_request_counts_once_within_a_minute_and_as_it_was_signed(desk: Desk) -> None:
    now, path = desk.clock.now(), "/signing/containers"
    body = {"dataFiles": [{"fileName": "a.txt", "fileContent": b64(b"abc")}]}
    assert desk.client.call("POST", path, body, at=now).status_code == 200
    assert desk.client.refused(401, "POST", path, body, at=now) == "signing.auth.replayed"
    for wrong in (timedelta(seconds=-62), timedelta(seconds=62)):
        assert desk.client.refused(401, "POST", path, body, at=now + wrong) == "signing.auth.clock"
    for header in ("X-Authorization-Signature", "X-Authorization-Timestamp", "X-Authorization-ServiceUUID"):
        assert desk.client.refused(401, "POST", path, body, headers={header: ""}) == "signing.auth.missing"
    algorithm = {"X-Authorization-Hmac-Algorithm": "HmacMD5"}
    assert desk.client.refused(401, "POST", path, body, headers=algorithm) == "signing.auth.algorithm"
    forged = {"X-Authorization-Signature": "0" * 64}
    assert desk.client.refused(401, "POST", path, body, headers=forged) == "signing.auth.refused"
    stranger = SigningClient(
        desk.client.base_url, ClientCredentials("0" * 8 + "-0000" * 3 + "-" + "0" * 12, "", "x"), desk.clock
    )
    assert stranger.refused(401, "POST", path, body) == "signing.auth.refused"
    # what was signed for one path or body is worth nothing for another
    answer = desk.client.call("POST", path, body, headers={})
    signed = {name: value for name, value in answer.request.headers.items() if name.startswith("x-auth")}
    other = httpx.post(f"{desk.client.base_url}{path}?x=1", content=answer.request.content, headers=signed)
    assert (other.status_code, other.json()["code"]) == (401, "signing.auth.refused")
    other = httpx.post(f"{desk.client.base_url}{path}", content=answer.request.content + b" ", headers=signed)
    assert other.json()["code"] == "signing.auth.refused"
    assert httpx.get(f"{desk.client.base_url}/signing/containers/x").status_code == 401


def test_a_closed_or_renewed_client_is_known_no_more(any_desk: Desk) -> None:
    desk = any_desk
    registry = desk.deps.registry
    renewed = registry.renew(desk.client.credentials.client_id)
    path = "/signing/containers/" + "0" * 36
    assert desk.client.refused(401, "GET", path) == "signing.auth.refused"
    desk.client.credentials = renewed
    assert desk.client.refused(404, "GET", path) == "signing.container"
    registry.close(renewed.client_id)
    assert desk.client.refused(401, "GET", path) == "signing.auth.refused"
    with pytest.raises(NotFound):
        registry.renew(renewed.client_id)
    with pytest.raises(Conflict):
        registry.add("again", client_id=renewed.client_id)
    with pytest.raises(Refused):
        registry.add("")
    with desk.deps.db.read() as tx:
        journal.verify_chain(tx, store.JOURNAL)
        rows = " ".join(str(row) for table in store.metadata.sorted_tables for row in tx.execute(table.select()))
    assert renewed.secret not in rows


# ------------------------------------------------------------------------------------------ what is not taken


NOT_KEPT: list[tuple[Any, int, str]] = [
    ({}, 400, "signing.request"),
    ({"dataFiles": []}, 400, "signing.request"),
    ({"dataFiles": [{"fileName": "a"}]}, 400, "signing.request"),
    ({"dataFiles": [{"fileName": "a", "fileContent": "%%%%"}]}, 400, "signing.request"),
    ({"dataFiles": [{"fileName": "a", "fileContent": "YWJjZ"}]}, 400, "signing.base64"),
    ({"dataFiles": [{"fileName": "../a", "fileContent": "YWJj"}]}, 400, "asic.data_file.name"),
    ({"dataFiles": [{"fileName": "a", "fileContent": "YWJj"}] * 2}, 400, "asic.data_file.duplicate"),
    ({"dataFiles": [{"fileName": f"{n}", "fileContent": "YWJj"} for n in range(4)]}, 422, "signing.too_many_files"),
    ({"dataFiles": [{"fileName": "a", "fileContent": "YWJj", "mimeType": "x"}]}, 400, "asic.data_file.media_type"),
    (
        {"containerName": "a/b", "dataFiles": [{"fileName": "a", "fileContent": "YWJj"}]},
        400,
        "signing.name",
    ),
]


def test_what_is_no_container_is_not_kept(desk: Desk) -> None:
    for body, status, code in NOT_KEPT:
        assert desk.client.refused(status, "POST", "/signing/containers", body) == code, body


def test_a_body_of_another_kind_is_refused_with_what_to_send_instead(desk: Desk) -> None:
    path, body = "/signing/containers", {"dataFiles": [{"fileName": "a.txt", "fileContent": b64(b"abc")}]}
    for given in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = desk.client.call("POST", path, body, headers={"Content-Type": given})
        assert (answer.status_code, answer.json()["code"]) == (415, "signing.content_type")
        assert "application/json" in answer.json()["detail"]
    assert desk.client.call("POST", path, body, headers={"Content-Type": "Application/JSON; charset=utf-8"}).is_success
    headers = desk.client.headers_for("POST", path, b"{") | {"Content-Type": "application/json"}
    answer = httpx.post(desk.client.base_url + path, content=b"{", headers=headers)
    assert (answer.status_code, answer.json()["detail"]) == (400, "The body is not JSON in UTF-8.")


def test_what_a_header_or_a_certificate_lacks_is_said(desk: Desk) -> None:
    path = f"/signing/containers/{desk.client.create(FILES)}/remotesigning"
    answer = desk.client.call("POST", path, {}, headers={"X-Authorization-Timestamp": "yesterday"})
    assert answer.json()["detail"].endswith("not in its form: X-Authorization-Timestamp.")
    authentication = desk.room.pki.issue(
        person("MAASIKAS", "60001019906"), extensions=[key_usage(digital_signature=True)]
    )
    body = {"signingCertificate": b64(authentication.certificate.public_bytes(Encoding.DER))}
    assert desk.client.call("POST", path, body).json()["detail"] == "This certificate is not one for signing."


def test_bodies_that_are_too_large_or_no_json_are_not_read(desk: Desk) -> None:
    big = {"dataFiles": [{"fileName": "a", "fileContent": "A" * 400_000}]}
    assert desk.client.refused(413, "POST", "/signing/containers", big) == "http.too_large"
    assert desk.client.refused(400, "POST", "/signing/containers", "text") == "signing.request"
    text = {"Content-Type": "text/plain"}
    assert desk.client.call("POST", "/signing/containers", {"dataFiles": []}, headers=text).status_code in (400, 415)
    assert desk.client.refused(405, "PATCH", "/signing/containers") == "http.status_405"
    assert desk.client.refused(404, "GET", "/signing/nothing") == "http.status_404"
    upload = {"container": b64(b"PK no container")}
    assert desk.client.refused(400, "POST", "/signing/upload/containers", upload).startswith("asic.")
    full = {
        "container": b64(sign_files(FILES, signer=desk.room.signer(), issuers=desk.room.issuers, trust=desk.room.trust))
    }
    assert desk.client.refused(422, "POST", "/signing/upload/hashcodecontainers", full) == "signing.form"


def test_certificates_that_may_not_sign_are_refused_at_the_first_step(desk: Desk) -> None:
    path = f"/signing/containers/{desk.client.create(FILES)}/remotesigning"
    ca = b64(desk.room.pki.ca.der)
    assert desk.client.refused(422, "POST", path, {"signingCertificate": ca}) == "documents.certificate.usage"
    assert desk.client.refused(400, "POST", path, {"signingCertificate": b64(b"none")}).startswith(("der.", "x509."))
    good = b64(desk.room.signer().certificate.public_bytes(Encoding.DER))
    for more in (
        {"signatureProfile": "B_BES"},
        {"roles": ["x"] * 6},
        {"roles": ["x" * 300]},
        {"paddingScheme": "OAEP"},
    ):
        assert desk.client.refused(400, "POST", path, {"signingCertificate": good, **more}) == "signing.request"


def test_a_client_has_only_so_many_containers_and_old_ones_are_forgotten(any_desk: Desk) -> None:
    desk = any_desk
    for _ in range(12):
        last = desk.client.create(FILES[:1])
    body = {"dataFiles": [{"fileName": "a", "fileContent": "YWJj"}]}
    assert desk.client.refused(422, "POST", "/signing/containers", body) == "signing.too_many"
    desk.clock.advance(timedelta(minutes=61))
    assert use_cases.purge(desk.deps) == 12
    assert desk.client.refused(404, "GET", f"/signing/containers/{last}") == "signing.container"
    desk.client.create(FILES)


def test_the_migrated_schema_is_what_the_code_says(new_database: Callable[[str], Database]) -> None:
    assert schema_differences(new_database(PACKAGE), store.metadata) == []


def test_the_description_is_served_without_a_signature(desk: Desk) -> None:
    answer = httpx.get(f"{desk.client.base_url}/signing/openapi.json")
    assert answer.status_code == 200
    paths = answer.json()["paths"]
    assert "/signing/containers/{container_id}/remotesigning" in paths
    assert set(paths["/signing/containers"]["post"]["responses"]) >= {"200", "400", "401", "409", "413", "422", "503"}


# ------------------------------------------------------------------------------------------ PDF files


def upload_pdf(desk: Desk, content: bytes) -> str:
    body = {"containerName": "leping.pdf", "container": b64(content)}
    return str(desk.client.ok("POST", "/signing/upload/pdfs", body)["containerId"])


def judged(desk: Desk, content: bytes) -> Any:
    return validate_document(io.BytesIO(content), trust=desk.room.trust.trust(), at=desk.clock.now())


def test_a_pdf_file_is_signed_inside_by_two_people_and_extended(desk: Desk) -> None:
    original = simple_pdf()
    document_id = upload_pdf(desk, original)
    signer = desk.room.signer()
    prepared = desk.prepare(
        document_id,
        signer,
        "pdfs",
        signingReason="Kinnitan",
        roles=["Notar"],
        visible={"page": 1, "left": 40, "bottom": 40, "right": 240, "top": 100},
    )
    data = base64.b64decode(prepared["dataToSign"])
    assert hashlib.sha384(data).digest() == base64.b64decode(prepared["digest"])
    assert isinstance(signer.key, ec.EllipticCurvePrivateKey)
    value_der = signer.key.sign(data, ec.ECDSA(hashes.SHA384()))
    assert desk.complete(document_id, prepared, value_der, "pdfs").json() == {"result": "OK"}
    assert desk.complete(document_id, prepared, value_der, "pdfs").json() == {"result": "OK"}  # a repeat says the same
    desk.sign(document_id, desk.room.signer("TEINE", kind="rsa", pss=True), "pdfs", paddingScheme="PSS")
    assert desk.client.ok("PUT", f"/signing/pdfs/{document_id}/augmentation") == {"result": "OK"}

    signed = desk.client.fetch(document_id, "pdfs")
    assert signed.startswith(original)
    report = judged(desk, signed)
    assert report.is_valid
    assert [one.signature_format for one in report.signatures] == ["PAdES_BASELINE_LTA"] * 2
    assert (report.signatures[0].reason, report.signatures[0].claimed_roles) == ("Kinnitan", ("Notar",))
    listed = desk.client.ok("GET", f"/signing/pdfs/{document_id}/signatures")["signatures"]
    assert [one["indication"] for one in listed] == ["TOTAL-PASSED"] * 2
    conclusion = desk.client.ok("GET", f"/signing/pdfs/{document_id}/validationreport")["validationConclusion"]
    assert conclusion["validSignaturesCount"] == 2
    assert desk.client.ok("DELETE", f"/signing/pdfs/{document_id}") == {"result": "OK"}


def test_of_two_prepared_in_one_pdf_file_the_second_begins_again(desk: Desk) -> None:
    document_id = upload_pdf(desk, simple_pdf())
    first, second = desk.room.signer("ESIMENE"), desk.room.signer("TEINE")
    one, two = desk.prepare(document_id, first, "pdfs"), desk.prepare(document_id, second, "pdfs")
    assert desk.complete(document_id, one, first.sign(base64.b64decode(one["digest"])), "pdfs").status_code == 200
    late = desk.complete(document_id, two, second.sign(base64.b64decode(two["digest"])), "pdfs")
    assert (late.status_code, late.json()["code"]) == (409, "documents.pdf.changed")
    desk.sign(document_id, second, "pdfs")
    assert judged(desk, desk.client.fetch(document_id, "pdfs")).valid_count == 2


@pytest.mark.parametrize(
    ("more", "status", "code"),
    [
        ({"signatureField": "Nowhere"}, 422, "pdf.field"),
        ({"visible": {"page": 9, "left": 0, "bottom": 0, "right": 100, "top": 50}}, 422, "pdf.page"),
        ({"visible": {"page": 1, "left": 0, "bottom": 0, "right": 10, "top": 5}}, 400, "documents.pdf.box"),
    ],
)
def test_what_a_pdf_file_does_not_have_is_told(desk: Desk, more: dict[str, Any], status: int, code: str) -> None:
    document_id = upload_pdf(desk, simple_pdf())
    body = {"signingCertificate": b64(desk.room.signer().certificate.public_bytes(Encoding.DER)), **more}
    assert desk.client.refused(status, "POST", f"/signing/pdfs/{document_id}/remotesigning", body) == code


def test_what_is_no_pdf_file_is_not_taken(desk: Desk) -> None:
    body = {"containerName": "x.pdf", "container": b64(b"no PDF at all")}
    assert desk.client.refused(400, "POST", "/signing/upload/pdfs", body) == "pdf.header"


def test_a_trust_service_that_is_away_lets_the_same_value_come_again(desk: Desk) -> None:
    document_id = upload_pdf(desk, simple_pdf())
    signer = desk.room.signer()
    prepared = desk.prepare(document_id, signer, "pdfs")
    value = signer.sign(base64.b64decode(prepared["digest"]))
    usual, desk.room.server.change = desk.room.server.change, lambda _path, _body: (503, b"")
    assert desk.complete(document_id, prepared, value, "pdfs").status_code == 503
    desk.room.server.change = usual
    assert desk.complete(document_id, prepared, value, "pdfs").status_code == 200
    assert judged(desk, desk.client.fetch(document_id, "pdfs")).is_valid
