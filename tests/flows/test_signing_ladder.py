"""Files to a container of level LT over real HTTP, and what must not come out when a service misbehaves."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from rich.console import Console
from typer.testing import CliRunner

from digiid.apps.trusted_list_cli import tl_app
from digiid.formats.asic import DataFile, parse_container
from digiid.formats.trusted_list import VerifiedTrust, verify_trusted_list
from digiid.formats.validation import validate_container
from digiid.formats.xades import ProductionPlace
from digiid.kernel.errors import Broken, DigiidError, Malformed, Refused, Unavailable
from digiid.platform.clock import ManualClock
from digiid.platform.documents import (
    CallbackSigner,
    KeySigner,
    Level,
    PreparedSignature,
    TrustServices,
    complete_signature,
    prepare_signature,
    sign_container,
    sign_files,
)
from digiid.platform.documents.commands import (
    SigningWish,
    batch_command,
    extend_command,
    remove_signature_command,
    sign_command,
    timestamp_command,
)
from digiid.platform.documents.expectations import read_expectations
from digiid.platform.documents.verifying import Judge, compare_command, read_anchors, verify_command
from digiid.platform.entropy import SeededEntropy
from digiid.platform.http import HttpClient
from digiid.platform.trust import AllowedHosts, ListSource, OcspClient, TrustedListStore, TsaClient
from tests.support.pki import AT, DAY, FILES, Identity, Pki, key_usage, person, shared_pki
from tests.support.trust_server import TrustServer, running_trust_server


@dataclass(frozen=True)
class Desk:
    """Everything that signing needs, against one running server."""

    server: TrustServer
    signer: Identity
    clock: ManualClock
    http: HttpClient
    trust: TrustServices
    pki: Pki

    @property
    def issuers(self) -> list:  # type: ignore[type-arg]
        return [self.pki.ca.certificate]

    def sign(self, files: tuple[DataFile, ...] = FILES) -> bytes:
        signer = KeySigner(self.signer.certificate, self.signer.key)
        return sign_files(files, signer=signer, issuers=self.issuers, trust=self.trust)

    def verified(self) -> VerifiedTrust:
        return self.trust.trust()


@pytest.fixture
def desk(clock: ManualClock, entropy: SeededEntropy) -> Iterator[Desk]:
    with running_trust_server(shared_pki(), clock) as server:
        pki = replace(shared_pki(), aia_base=server.base)
        signer = pki.issue(person("SIGNER", "38001085718"))
        server.knows(signer.certificate)
        http = HttpClient(timeout_seconds=5)
        hosts = AllowedHosts.of_urls(server.base)
        services = TrustServices(
            tsa=TsaClient(http, entropy, clock, address=f"{server.base}/tsa"),
            ocsp=OcspClient(http, entropy, clock, hosts=hosts),
            trust=lambda: VerifiedTrust(
                [verify_trusted_list(pki.trusted_list(), signers=[pki.list_signer.certificate])], at=clock.now()
            ),
            clock=clock,
        )
        yield Desk(server, signer, clock, http, services, pki)
        http.close()


def code_of(desk: Desk, kind: type[DigiidError] = Refused) -> str:
    with pytest.raises(kind) as caught:
        desk.sign()
    return caught.value.code


def test_files_become_a_container_that_our_own_validator_accepts(desk: Desk) -> None:
    container = desk.sign()
    report = validate_container(io.BytesIO(container), trust=desk.verified(), at=AT)
    assert report.is_valid
    assert report.signatures[0].level == "QESIG"
    assert desk.server.requests == ["/tsa", "/ocsp"]  # in this order


def test_a_certificate_below_the_policy_is_refused_by_name_and_is_no_fault_of_ours(desk: Desk) -> None:
    plain = desk.pki.issue(person("PLAIN", "38001085718"), extensions=(key_usage(content_commitment=True),))
    desk.server.knows(plain.certificate)
    desk = replace(desk, signer=plain)
    assert code_of(desk) == "documents.certificate.level"


def test_two_steps_with_the_state_kept_in_between(desk: Desk) -> None:
    prepared = prepare_signature(
        FILES,
        certificate=desk.signer.certificate,
        issuers=desk.issuers,
        at=desk.clock.now(),
        roles=("Board member",),
        place=ProductionPlace(city="Tallinn", country_name="EE"),
    )
    assert desk.server.requests == []  # nothing leaves before there is a signature
    stored = prepared.to_bytes()
    value = KeySigner(desk.signer.certificate, desk.signer.key).sign(prepared.digest)
    desk.clock.advance(timedelta(minutes=14))
    container = complete_signature(PreparedSignature.from_bytes(stored), value, trust=desk.trust)
    (signature,) = validate_container(io.BytesIO(container), trust=desk.verified(), at=desk.clock.now()).signatures
    assert signature.claimed_roles == ("Board member",)
    assert dict(signature.place) == {"city": "Tallinn", "countryName": "EE"}
    assert signature.claimed_signing_at == AT
    assert signature.best_signature_at == AT + timedelta(minutes=14)


def test_a_prepared_signature_does_not_live_long(desk: Desk) -> None:
    prepared = prepare_signature(FILES, certificate=desk.signer.certificate, issuers=desk.issuers, at=AT)
    value = KeySigner(desk.signer.certificate, desk.signer.key).sign(prepared.digest)
    desk.clock.advance(timedelta(minutes=15, seconds=1))
    with pytest.raises(Refused, match="expired"):
        complete_signature(prepared, value, trust=desk.trust)
    assert desk.server.requests == []


def test_a_value_of_somebody_else_stops_before_any_service_is_asked(desk: Desk) -> None:
    prepared = prepare_signature(FILES, certificate=desk.signer.certificate, issuers=desk.issuers, at=AT)
    other = desk.pki.issue(person("OTHER", "38001085718"))
    with pytest.raises(Refused, match="signature_value"):
        complete_signature(prepared, KeySigner(other.certificate, other.key).sign(prepared.digest), trust=desk.trust)
    assert desk.server.requests == []


@pytest.mark.parametrize("cut", [0, 10, 40, 500])
def test_a_stored_state_that_is_cut_off_is_malformed(desk: Desk, cut: int) -> None:
    prepared = prepare_signature(FILES, certificate=desk.signer.certificate, issuers=desk.issuers, at=AT)
    with pytest.raises(Malformed, match="prepared"):
        PreparedSignature.from_bytes(prepared.to_bytes()[:cut])


def test_a_second_signer_does_not_change_the_first(desk: Desk) -> None:
    first = desk.sign()
    second = desk.pki.issue(person("SECOND", "48001085718"), kind="p256")
    desk.server.knows(second.certificate)
    both = sign_container(
        first,
        signer=CallbackSigner(second.certificate, KeySigner(second.certificate, second.key).sign),
        issuers=desk.issuers,
        trust=desk.trust,
    )
    report = validate_container(io.BytesIO(both), trust=desk.verified(), at=AT)
    assert report.is_valid
    assert [signature.id.split("-")[0] for signature in report.signatures] == ["S0", "S1"]
    before, after = parse_container(io.BytesIO(first)), parse_container(io.BytesIO(both))
    for entry in before.archive.entries:
        copy = after.archive.find(entry.name)
        assert copy is not None
        assert after.archive.read_packed(copy) == before.archive.read_packed(entry)


def test_nobody_signs_under_a_container_that_is_not_valid(desk: Desk) -> None:
    broken = desk.pki.container(signer=desk.signer, level="B")
    with pytest.raises(Refused, match="not_valid"):
        sign_container(
            broken,
            signer=KeySigner(desk.signer.certificate, desk.signer.key),
            issuers=desk.issuers,
            trust=desk.trust,
        )


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [
        ("revoked", None, "documents.certificate.revoked"),
        ("revoked", "certificate_hold", "documents.certificate.suspended"),
        ("unknown", None, "documents.certificate.unknown"),
    ],
)
def test_no_container_for_a_certificate_that_is_not_in_force(
    desk: Desk, status: str, reason: str | None, code: str
) -> None:
    desk.server.status, desk.server.reason = status, reason
    assert code_of(desk) == code


def test_answers_that_are_not_for_us_are_refused(desk: Desk) -> None:
    desk.server.nonce = b"x" * 32
    assert code_of(desk) == "ocsp.nonce"
    desk.server.nonce = None
    desk.server.ocsp_at = -timedelta(minutes=16)
    assert code_of(desk) == "ocsp.not_fresh"
    desk.server.ocsp_at = timedelta(minutes=3)
    assert code_of(desk) == "ocsp.not_fresh"
    desk.server.ocsp_at = -timedelta(seconds=5)
    assert code_of(desk) == "documents.ocsp.too_early"
    desk.server.ocsp_at = timedelta(0)
    desk.server.tsa_at = timedelta(minutes=5)
    assert code_of(desk) == "trust.tsa.time"


def test_services_that_fail_leave_nothing_behind(desk: Desk) -> None:
    desk.server.change = lambda _path, _body: (500, b"")
    assert code_of(desk, Unavailable) == "trust.tsa.http"
    desk.server.change = lambda path, body: (200, body) if path == "/tsa" else (503, b"")
    assert code_of(desk, Unavailable) == "trust.ocsp.http"
    desk.server.change = lambda _path, _body: (200, b"junk")
    assert code_of(desk, Malformed).startswith("der.")
    desk.server.change = lambda _path, _body: (200, bytes(1024 * 1024))
    assert code_of(desk, Malformed) == "http.too_large"


def test_redirects_are_not_followed(desk: Desk) -> None:
    desk.server.change = lambda _path, _body: (302, b"")
    assert code_of(desk, Unavailable) == "trust.tsa.http"
    assert desk.server.requests == ["/tsa"]


def test_only_hosts_on_the_list_are_called(desk: Desk) -> None:
    elsewhere = replace(desk.pki, aia_base="http://169.254.169.254").issue(person("SSRF", "38001085718"))
    with pytest.raises(Refused) as caught:
        sign_files(
            FILES, signer=KeySigner(elsewhere.certificate, elsewhere.key), issuers=desk.issuers, trust=desk.trust
        )
    assert caught.value.code == "trust.host"


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "http://127.0.0.1:1/", "http://a@127.0.0.1/", "gopher://127.0.0.1/", "http://[::1", "//x"],
)
def test_addresses_that_are_never_called(url: str) -> None:
    with pytest.raises(Refused, match="host"):
        AllowedHosts(["127.0.0.1", "127.0.0.1:8800"]).check(url)


def test_addresses_that_are_called() -> None:
    hosts = AllowedHosts(["127.0.0.1:8800", "ocsp.example.test"])
    hosts.check("http://127.0.0.1:8800/ocsp")
    hosts.check("https://OCSP.example.test/x")
    with pytest.raises(Refused):
        hosts.check("https://ocsp.example.test:8443/x")


def test_nothing_is_delivered_that_our_validator_does_not_accept(desk: Desk) -> None:
    """The list does not name the time-stamping unit: everything else went well, and still nothing comes out."""
    services = desk.pki.services()[:2]
    strict = replace(desk.trust, trust=lambda: desk.pki.trust(services=services))
    with pytest.raises(Broken, match="not_valid"):
        sign_files(
            FILES, signer=KeySigner(desk.signer.certificate, desk.signer.key), issuers=desk.issuers, trust=strict
        )


# ------------------------------------------------------------------ the store of lists


def store(desk: Desk, folder: Path) -> TrustedListStore:
    source = ListSource(f"{desk.server.base}/tl.xml", (desk.pki.list_signer.certificate,))
    return TrustedListStore(source, folder=folder, http=desk.http, clock=desk.clock)


def test_a_list_is_fetched_once_and_kept(desk: Desk, tmp_path: Path) -> None:
    desk.server.lists["/tl.xml"] = desk.pki.trusted_list()
    assert store(desk, tmp_path / "lists").trust().lists[0].content.sequence_number == 1
    desk.server.lists.clear()
    again = store(desk, tmp_path / "lists")
    assert again.trust().lists[0].content.sequence_number == 1
    with pytest.raises(Unavailable):
        again.refresh()
    assert again.trust().lists[0].content.sequence_number == 1  # the last good copy stays


def test_no_list_means_no_trust(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        store(desk, tmp_path / "lists").trust()


def test_a_list_goes_forward_only(desk: Desk, tmp_path: Path) -> None:
    lists = store(desk, tmp_path / "lists")
    desk.server.lists["/tl.xml"] = desk.pki.trusted_list(sequence_number=5)
    lists.trust()
    desk.server.lists["/tl.xml"] = desk.pki.trusted_list(sequence_number=4)
    with pytest.raises(Refused, match="rollback"):
        lists.refresh()
    desk.server.lists["/tl.xml"] = desk.pki.trusted_list(sequence_number=6)
    assert lists.refresh().lists[0].content.sequence_number == 6


def test_a_list_that_has_run_out_is_replaced_or_refused(desk: Desk, tmp_path: Path) -> None:
    lists = store(desk, tmp_path / "lists")
    desk.server.lists["/tl.xml"] = desk.pki.trusted_list()
    lists.trust()
    desk.clock.advance(200 * DAY)
    with pytest.raises(Refused, match="expired"):
        lists.trust()
    with pytest.raises(Refused, match="expired"):
        store(desk, tmp_path / "lists").trust()
    desk.server.lists["/tl.xml"] = desk.pki.trusted_list(sequence_number=2, next_update_at=AT + 300 * DAY)
    assert lists.trust().lists[0].content.sequence_number == 2


def test_a_copy_that_was_tampered_with_on_disk_is_not_believed(desk: Desk, tmp_path: Path) -> None:
    desk.server.lists["/tl.xml"] = desk.pki.trusted_list()
    store(desk, tmp_path / "lists").trust()
    (copy,) = (tmp_path / "lists").glob("*.xml")
    copy.write_bytes(copy.read_bytes().replace(b"TEST TSA", b"EVIL TSA"))
    with pytest.raises(Refused, match="digest"):
        store(desk, tmp_path / "lists").trust()


def test_lists_are_fetched_anew_by_the_clock_and_the_store_tells_how_they_stand(desk: Desk, tmp_path: Path) -> None:
    lists, hour = store(desk, tmp_path / "lists"), timedelta(hours=1)
    assert not lists.state().is_good  # there are none yet
    desk.server.lists["/tl.xml"] = desk.pki.trusted_list()
    lists.keep_fresh(every=hour)
    state = lists.state()
    assert state.is_good
    assert (state.fetched_at, state.problem) == (AT, None)
    assert (state.lists[0].territory, state.lists[0].sequence_number, state.lists[0].left) == ("EE", 1, 170 * DAY)

    desk.server.lists["/tl.xml"] = desk.pki.trusted_list(sequence_number=2)
    lists.keep_fresh(every=hour)
    assert lists.state().lists[0].sequence_number == 1  # not an hour old
    desk.clock.advance(hour)
    lists.keep_fresh(every=hour)
    assert lists.state().lists[0].sequence_number == 2

    desk.server.lists["/tl.xml"] = b"<broken/>"
    desk.clock.advance(hour)
    lists.keep_fresh(every=hour)
    state = lists.state()
    assert state.is_good  # the last good copy stays in use
    assert state.lists[0].sequence_number == 2
    assert state.problem is not None and state.problem.startswith("trusted_list.")
    assert state.problem_at == AT + 2 * hour

    desk.clock.advance(200 * DAY)
    assert not lists.state().is_good
    with pytest.raises(DigiidError):
        lists.trust()
    desk.server.lists["/tl.xml"] = desk.pki.trusted_list(sequence_number=3, next_update_at=AT + 300 * DAY)
    lists.keep_fresh(every=hour)
    assert lists.state().is_good
    assert lists.state().problem is None


# ------------------------------------------------------------------ the commands


@pytest.fixture
def paper(tmp_path: Path) -> Path:
    file = tmp_path / "contract.txt"
    file.write_text("I agree.\n")
    return file


def console() -> Console:
    return Console(file=io.StringIO(), width=120, no_color=True)


def output(where: Console) -> str:
    assert isinstance(where.file, io.StringIO)
    return where.file.getvalue()


def run_sign(desk: Desk, paths: list[Path], target: Path | None, **how: object) -> tuple[int, str]:
    where = console()
    code = sign_command(
        paths,
        target,
        signer=lambda: KeySigner(desk.signer.certificate, desk.signer.key),
        issuers=desk.issuers,
        trust=desk.trust,
        console=where,
        **how,  # type: ignore[arg-type]
    )
    return code, output(where)


def run_verify(desk: Desk, paths: list[Path], **how: object) -> tuple[int, str]:
    where = console()
    trust = how.pop("trust", desk.verified)
    anchors = {
        "lists": (),
        "list_certificates": (),
        **{k: how.pop(k) for k in ("lists", "list_certificates") if k in how},
    }

    def judge() -> Judge:
        return Judge(read_anchors(trust, http=desk.http, clock=desk.clock, **anchors), desk.clock)  # type: ignore[arg-type]

    return verify_command(paths, judge=judge, console=where, **how), output(where)  # type: ignore[arg-type]


def test_sign_and_verify_from_the_command_line(desk: Desk, paper: Path, tmp_path: Path) -> None:
    target = tmp_path / "signed.asice"
    assert run_sign(desk, [paper], target) == (0, f"Signed: {target}\n")
    code, text = run_verify(desk, [target])
    assert code == 0
    assert "The signature is valid" in text
    assert "TOTAL-PASSED" in text
    code, text = run_verify(desk, [target], as_json=True)
    assert code == 0
    assert json.loads(text)["validSignaturesCount"] == 1
    code, text = run_sign(desk, [paper], target)
    assert (code, "output_exists" in text) == (1, True)
    assert run_sign(desk, [target], None)[0] == 0
    assert json.loads(run_verify(desk, [target], as_json=True)[1])["signaturesCount"] == 2


def test_verify_answers_one_for_what_is_not_valid_and_two_for_what_is_unreadable(desk: Desk, tmp_path: Path) -> None:
    basic, junk, absent = tmp_path / "basic.asice", tmp_path / "junk.asice", tmp_path / "absent.asice"
    basic.write_bytes(desk.pki.container(signer=desk.signer, level="B"))
    junk.write_bytes(b"junk")
    code, text = run_verify(desk, [basic])
    assert (code, "INDETERMINATE" in text, "nothing proves" in text) == (1, True, True)
    assert run_verify(desk, [junk])[0] == 2
    assert run_verify(desk, [absent])[0] == 2
    code, text = run_verify(desk, [basic, junk], as_json=True)
    assert code == 2
    assert [("error" in answer) for answer in json.loads(text)] == [False, True]


def test_verify_without_anchors_says_what_to_do(desk: Desk, paper: Path) -> None:
    code, text = run_verify(desk, [paper], trust=None)
    assert code == 2
    assert "--tl" in text


def test_verify_with_a_named_list(desk: Desk, tmp_path: Path) -> None:
    container, listed, signer = tmp_path / "x.asice", tmp_path / "tl.xml", tmp_path / "tl.crt"
    container.write_bytes(desk.sign())
    listed.write_bytes(desk.pki.trusted_list())
    signer.write_bytes(desk.pki.list_signer.certificate.public_bytes(Encoding.PEM))
    assert run_verify(desk, [container], trust=None, lists=[str(listed)], list_certificates=[signer])[0] == 0
    desk.server.lists["/tl.xml"] = listed.read_bytes()
    address = f"{desk.server.base}/tl.xml"
    assert run_verify(desk, [container], trust=None, lists=[address], list_certificates=[signer])[0] == 0
    signer.write_bytes(desk.pki.ca.certificate.public_bytes(Encoding.DER))
    assert run_verify(desk, [container], trust=None, lists=[str(listed)], list_certificates=[signer])[0] == 2
    assert run_verify(desk, [container], trust=None, lists=[str(listed)])[0] == 2


def test_every_file_into_a_container_of_its_own_and_what_is_done_is_left_alone(desk: Desk, tmp_path: Path) -> None:
    papers = []
    for number in range(3):
        papers.append(tmp_path / f"{number}.txt")
        papers[-1].write_text(f"paper {number}", encoding="utf-8")
    absent, folder = tmp_path / "absent.txt", tmp_path / "signed"

    def run() -> tuple[int, str]:
        where = console()
        signer = KeySigner(desk.signer.certificate, desk.signer.key)
        code = batch_command(
            [*papers, absent], folder, signer=lambda: signer, issuers=desk.issuers, trust=desk.trust, console=where
        )
        return code, output(where)

    code, text = run()
    assert (code, "3 signed, 0 skipped, 1 failed" in text, "absent.txt" in text) == (1, True, True)
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    code, text = run()
    assert "0 signed, 3 skipped, 1 failed" in text
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == kept
    assert run_verify(desk, [folder])[0] == 0


def test_a_signature_is_taken_out_by_its_name(desk: Desk, paper: Path, tmp_path: Path) -> None:
    target, less = tmp_path / "signed.asice", tmp_path / "less.asice"
    assert run_sign(desk, [paper], target)[0] == 0
    assert run_sign(desk, [target], None)[0] == 0
    names = [found["id"] for found in json.loads(run_verify(desk, [target], as_json=True)[1])["signatures"]]
    where = console()
    assert remove_signature_command(target, "nobody", less, console=where) == 2
    assert all(name in output(where) for name in names)
    assert remove_signature_command(target, names[0], less, console=console()) == 0
    left = json.loads(run_verify(desk, [less], as_json=True)[1])
    assert [found["id"] for found in left["signatures"]] == names[1:]
    assert left["validSignaturesCount"] == 1


def test_levels_below_lt_are_asked_for_by_name_and_are_never_valid(desk: Desk, paper: Path, tmp_path: Path) -> None:
    for level in (Level.B, Level.T):
        target = tmp_path / f"{level}.asice"
        code, text = run_sign(desk, [paper], target, wish=SigningWish(level, place=ProductionPlace(city="Tartu")))
        assert (code, "proves too little" in text) == (0, True)
        assert run_verify(desk, [target])[0] == 1
    stamped, where = tmp_path / "T.asice", console()
    assert extend_command([stamped], services=desk.trust, level="LT", only_due=False, console=where) == 0
    assert run_verify(desk, [stamped])[0] == 0
    assert extend_command([stamped], services=desk.trust, level="LTA", only_due=False, console=where) == 0
    told = json.loads(run_verify(desk, [stamped], as_json=True)[1])["signatures"][0]
    assert (told["signatureFormat"], told["indication"]) == ("XAdES_BASELINE_LTA", "TOTAL-PASSED")
    kept = stamped.read_bytes()
    assert extend_command([stamped], services=desk.trust, level="LTA", only_due=True, console=where) == 0
    assert stamped.read_bytes() == kept  # not due
    basic = tmp_path / "B.asice"
    assert extend_command([basic], services=desk.trust, level="LTA", only_due=False, console=where) == 1
    assert extend_command([paper], services=desk.trust, level="LTA", only_due=False, console=where) == 2  # no container
    absent, told_where = tmp_path / "none.asice", console()
    assert extend_command([absent], services=desk.trust, level="LTA", only_due=False, console=told_where) == 2
    assert output(told_where).count("none.asice") == 1


def test_time_stamp_and_renew_from_the_command_line(desk: Desk, paper: Path, tmp_path: Path) -> None:
    where = console()
    assert timestamp_command([paper], None, services=desk.trust, console=where) == 0
    stamped = paper.with_name(f"{paper.name}.asics")
    first = stamped.read_bytes()
    code, text = run_verify(desk, [stamped])
    assert (code, "TOTAL-PASSED" in text) == (0, True)
    assert timestamp_command([paper], None, services=desk.trust, console=where) == 1  # it is there already
    assert timestamp_command([stamped], None, services=desk.trust, console=where) == 0
    assert stamped.read_bytes() != first
    assert run_verify(desk, [stamped])[0] == 0
    junk = tmp_path / "junk.asics"
    junk.write_bytes(b"junk")
    assert timestamp_command([junk], None, services=desk.trust, console=where) == 2


def test_a_list_at_an_address_is_shown_and_checked(desk: Desk, tmp_path: Path) -> None:
    address, signer = f"{desk.server.base}/tl.xml", tmp_path / "signer.crt"
    desk.server.lists["/tl.xml"] = desk.pki.trusted_list()
    shown = CliRunner().invoke(tl_app, ["show", address, "--json"])
    assert json.loads(shown.stdout)["territory"] == "EE"
    signer.write_bytes(desk.pki.list_signer.certificate.public_bytes(Encoding.PEM))
    checked = CliRunner().invoke(tl_app, ["check", address, "--tl-cert", str(signer), "--json"])
    assert json.loads(checked.stdout)[0]["list"] == address and "problems" in json.loads(checked.stdout)[0]
    absent = CliRunner().invoke(tl_app, ["show", f"{desk.server.base}/none.xml"])
    assert isinstance(absent.exception, Unavailable) and "404" in absent.exception.detail


def test_programs_read_every_answer_of_time_stamping_as_json(desk: Desk, paper: Path, tmp_path: Path) -> None:
    absent, where = tmp_path / "none.txt", console()
    assert timestamp_command([absent, paper], None, services=desk.trust, console=where, as_json=True) == 2
    told = json.loads(output(where))
    assert told["containers"] == [f"{paper}.asics"]
    assert [(one["file"], one["error"]["code"]) for one in told["errors"]] == [(str(absent), "documents.file")]


def test_many_are_told_in_short_and_written_down(desk: Desk, tmp_path: Path) -> None:
    folder, report = tmp_path / "many", tmp_path / "report.json"
    folder.mkdir()
    good, basic = desk.sign(), desk.pki.container(signer=desk.signer, level="B")
    for number in range(22):
        (folder / f"{number:02}.asice").write_bytes(basic if number == 7 else good)
    (folder / "notes.txt").write_text("not a container", encoding="utf-8")
    code, text = run_verify(desk, [folder], report_file=report)
    assert code == 1
    assert "21 of 22 are valid." in text
    assert "07.asice" in text
    assert "08.asice" not in text
    assert len(json.loads(report.read_text(encoding="utf-8"))) == 22


@pytest.mark.parametrize(
    ("asserted", "explained", "code"),
    [("valid", "", 0), ("invalid", "", 1), ("invalid", "valid", 0), ("valid", "invalid", 1)],
    ids=["agreed", "not explained", "explained", "explanation not true any more"],
)
def test_verdicts_are_compared_with_asserted_ones(
    desk: Desk, tmp_path: Path, asserted: str, explained: str, code: int
) -> None:
    (tmp_path / "a.asice").write_bytes(desk.sign())
    (tmp_path / "junk.asice").write_bytes(b"junk")
    table, why = tmp_path / "table.csv", tmp_path / "why.csv"
    table.write_text(f"file,expected,policy\na.asice,{asserted},POLv4\njunk.asice,error,\n", encoding="utf-8")
    why.write_text(f"file,ours,reason\na.asice,{explained},stricter\n" if explained else "file,ours,reason\n")
    where = console()
    judge = Judge(desk.verified(), desk.clock)
    assert compare_command(read_expectations(table, why), judge=lambda: judge, console=where) == code
    assert ("not explained a.asice" in output(where)) == (code == 1)


def test_a_table_about_files_that_are_not_there_compares_nothing(desk: Desk, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("file,expected\nabsent.asice,valid\n", encoding="utf-8")
    where, judge = console(), Judge(desk.verified(), desk.clock)
    assert compare_command(read_expectations(table), judge=lambda: judge, console=where) == 2
    assert "absent.asice" in output(where).replace("\n", "")


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "file,expected\nx,perhaps\n", "\x00"])
def test_a_table_that_cannot_be_read_is_malformed(tmp_path: Path, content: str) -> None:
    table = tmp_path / "table.csv"
    table.write_text(content, encoding="utf-8")
    with pytest.raises(Malformed):
        read_expectations(table)


def test_names_from_strangers_cannot_move_the_cursor(desk: Desk, tmp_path: Path) -> None:
    files = (DataFile("contract.txt", "text/plain", b"x"),)
    container = desk.pki.container(files, signer=desk.signer)
    renamed = container.replace(b"contract.txt", "c\u202ext.ftp\u2028".encode()[:12].ljust(12, b"!"))
    target = tmp_path / "x.asice"
    target.write_bytes(renamed)
    _code, text = run_verify(desk, [target])
    assert "\u202e" not in text
