"""The CA over SQLite and PostgreSQL: issuing, changes of status, revocation lists."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from digiid.contracts import trust_services as contract
from digiid.contracts.members import BANK, CARD_BUREAU, INFORMATION_AUTHORITY, POLICE_BOARD
from digiid.exchange.gate import Caller
from digiid.formats import ocsp
from digiid.formats.x509.crl import verify_crl
from digiid.formats.x509.path import verify_path
from digiid.formats.x509.profile import CertificateKind, DocumentPolicy, Holder, document_policy
from digiid.institutions.trust_services.ca import api, store, use_cases
from digiid.institutions.trust_services.ca.use_cases import Deps
from digiid.institutions.trust_services.domain import CertificateState
from digiid.kernel.errors import Conflict, Malformed, NotFound, Refused
from digiid.platform import journal
from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.entropy import SeededEntropy
from tests.unit.institutions.trust_services.ca_setup import (
    CA_PACKAGE,
    ca_over,
    chip_request,
    contract_request,
    order_for,
    shared_hierarchy,
)


@pytest.fixture
def deps(new_database: Callable[[str], Database], clock: ManualClock, entropy: SeededEntropy) -> Deps:
    clock.advance(timedelta(hours=3))  # the shared hierarchy is valid from 11:00
    return ca_over(new_database(CA_PACKAGE), clock, entropy)


def states(deps: Deps, document_number: str) -> list[CertificateState]:
    return [status.state for status in use_cases.get_statuses(deps, document_number)]


def certificates(issued: use_cases.IssuedPair) -> tuple[x509.Certificate, x509.Certificate]:
    return (
        x509.load_der_x509_certificate(issued.authentication_der),
        x509.load_der_x509_certificate(issued.signature_der),
    )


def said(deps: Deps, certificate: x509.Certificate) -> ocsp.EncodedStatus | None:
    return deps.board.find(certificate.serial_number)


# ---------------------------------------------------------------------------------------------- issuing


def test_a_pair_is_issued_on_hold_under_the_issuing_ca(deps: Deps) -> None:
    order = order_for()
    issued = use_cases.issue_certificates(deps, order)
    pki = shared_hierarchy()
    for certificate in certificates(issued):
        path = verify_path(
            certificate,
            intermediates=[pki.issuing.certificate],
            anchors=[pki.root.certificate],
            at=deps.clock.now(),
        )
        assert path.issuer == pki.issuing.certificate
        assert document_policy(certificate) is DocumentPolicy.E_RESIDENT
        answer = said(deps, certificate)
        assert answer is not None and answer.status is ocsp.CertStatus.REVOKED
    assert states(deps, order.document_number) == [CertificateState.ISSUED_ON_HOLD] * 2


def test_the_same_order_gives_the_same_certificates(deps: Deps) -> None:
    order = order_for()
    assert use_cases.issue_certificates(deps, order) == use_cases.issue_certificates(deps, order)
    with deps.db.read() as tx:
        assert len(store.find_certificates(tx, order_id=order.order_id)) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"policy": DocumentPolicy.CITIZEN},
        {"holder": Holder("38001085718", "TAMM", "JAAK-KRISTJAN")},
        {"signature_request_der": chip_request()},
    ],
    ids=["policy", "name", "key"],
)
def test_the_same_order_id_with_another_content_is_a_conflict(deps: Deps, change: dict[str, object]) -> None:
    order = order_for()
    use_cases.issue_certificates(deps, order)
    with pytest.raises(Conflict, match=r"trust\.issue\.order_differs"):
        use_cases.issue_certificates(deps, replace(order, **change))


def test_a_document_number_is_certified_once(deps: Deps) -> None:
    use_cases.issue_certificates(deps, order_for(1))
    with pytest.raises(Conflict, match=r"trust\.issue\.document_taken"):
        use_cases.issue_certificates(deps, order_for(2, document_number="NE0000001"))


def test_a_key_is_certified_once(deps: Deps) -> None:
    request = chip_request()
    use_cases.issue_certificates(deps, order_for(1, signature_request_der=request))
    for position in ("authentication_request_der", "signature_request_der"):
        with pytest.raises(Refused, match=r"trust\.profile\.key_blocked"):
            use_cases.issue_certificates(deps, order_for(2, **{position: request}))


def test_one_key_for_both_certificates_is_refused(deps: Deps) -> None:
    request = chip_request()
    with pytest.raises(Refused, match=r"trust\.profile\.key_blocked"):
        use_cases.issue_certificates(deps, order_for(authentication_request_der=request, signature_request_der=request))


def test_a_blocked_key_is_refused(deps: Deps) -> None:
    request = chip_request()
    spki = x509.load_der_x509_csr(request).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    use_cases.block_key(deps, spki, reason="found in a public list")
    use_cases.block_key(deps, spki, reason="found again")
    with pytest.raises(Refused, match=r"trust\.profile\.key_blocked"):
        use_cases.issue_certificates(deps, order_for(signature_request_der=request))


def test_a_key_that_is_too_small_leaves_nothing_behind(deps: Deps) -> None:
    small = chip_request(ec.generate_private_key(ec.SECP256R1()))
    order = order_for(signature_request_der=small)
    with pytest.raises(Refused, match=r"trust\.profile\.key_too_small"):
        use_cases.issue_certificates(deps, order)
    with deps.db.read() as tx:
        assert store.find_order(tx, order_id=order.order_id) is None
        assert store.find_certificates(tx, order_id=order.order_id) == []
    use_cases.issue_certificates(deps, replace(order, signature_request_der=chip_request()))


def test_a_request_that_is_no_request_is_malformed(deps: Deps) -> None:
    with pytest.raises(Malformed):
        use_cases.issue_certificates(deps, order_for(authentication_request_der=b"\x30\x00"))


def test_every_act_is_in_the_journal(deps: Deps) -> None:
    order = order_for()
    use_cases.issue_certificates(deps, order)
    use_cases.activate_certificates(deps, order.document_number, actor="card_bureau")
    use_cases.activate_certificates(deps, order.document_number, actor="card_bureau")
    with deps.db.read() as tx:
        journal.verify_chain(tx, store.JOURNAL)
        kinds = [row.kind for row in tx.execute(store.JOURNAL.select().order_by(store.JOURNAL.c.number))]
        texts = " ".join(row.payload for row in tx.execute(store.JOURNAL.select()))
    assert kinds == ["serials_recorded", "certificate_issued", "certificate_issued", "certificates_activate"]
    assert order.holder.personal_code not in texts and order.holder.surname not in texts


# ---------------------------------------------------------------------------------------------- status


def test_both_certificates_go_through_their_life_together(deps: Deps) -> None:
    order = order_for()
    pair = certificates(use_cases.issue_certificates(deps, order))
    number = order.document_number

    def both() -> set[tuple[str, bool]]:
        return {(answer.status.value, answer == ocsp.GOOD) for one in pair if (answer := said(deps, one))}

    use_cases.activate_certificates(deps, number, actor="card_bureau")
    assert both() == {("good", True)} and states(deps, number) == [CertificateState.GOOD] * 2
    use_cases.suspend_certificates(deps, number, actor="police_board")
    assert both() == {("revoked", False)} and states(deps, number) == [CertificateState.ON_HOLD] * 2
    use_cases.resume_certificates(deps, number, actor="police_board")
    assert both() == {("good", True)}
    use_cases.revoke_certificates(deps, number, reason="keyCompromise", actor="police_board")
    assert both() == {("revoked", False)} and states(deps, number) == [CertificateState.REVOKED] * 2
    with pytest.raises(Conflict):
        use_cases.resume_certificates(deps, number, actor="police_board")
    with pytest.raises(Conflict):
        use_cases.activate_certificates(deps, number, actor="card_bureau")
    assert both() == {("revoked", False)}


def test_a_repeated_message_changes_nothing(deps: Deps, clock: ManualClock) -> None:
    order = order_for()
    use_cases.issue_certificates(deps, order)
    use_cases.activate_certificates(deps, order.document_number, actor="card_bureau")
    first = use_cases.suspend_certificates(deps, order.document_number, actor="police_board")
    clock.advance(timedelta(hours=1))
    assert use_cases.suspend_certificates(deps, order.document_number, actor="police_board") == first
    revoked = use_cases.revoke_certificates(deps, order.document_number, reason="keyCompromise", actor="police_board")
    again = use_cases.revoke_certificates(deps, order.document_number, reason="superseded", actor="police_board")
    assert again == revoked and revoked[0].reason == "keyCompromise"


def test_a_document_that_was_never_certified_is_not_found(deps: Deps) -> None:
    with pytest.raises(NotFound):
        use_cases.suspend_certificates(deps, "NE9999999", actor="police_board")
    with pytest.raises(NotFound):
        use_cases.get_statuses(deps, "NE9999999")


def test_what_is_past_its_end_is_marked_and_still_answered(deps: Deps, clock: ManualClock) -> None:
    order = order_for()
    pair = certificates(use_cases.issue_certificates(deps, order))
    use_cases.activate_certificates(deps, order.document_number, actor="card_bureau")
    assert use_cases.expire_certificates(deps) == 0
    clock.advance(timedelta(days=5 * 366))
    assert use_cases.expire_certificates(deps) == 1
    assert use_cases.expire_certificates(deps) == 0
    assert states(deps, order.document_number) == [CertificateState.EXPIRED] * 2
    assert all(said(deps, one) == ocsp.GOOD for one in pair)


def test_a_board_opened_later_knows_everything(deps: Deps, clock: ManualClock, entropy: SeededEntropy) -> None:
    order = order_for()
    pair = certificates(use_cases.issue_certificates(deps, order))
    use_cases.activate_certificates(deps, order.document_number, actor="card_bureau")
    later = ca_over(deps.db, clock, entropy)
    assert all(said(later, one) == ocsp.GOOD for one in pair)
    assert later.board.find(12345) is None
    use_cases.suspend_certificates(deps, order.document_number, actor="police_board")
    assert later.board.refresh() == 2
    assert all(said(later, one) != ocsp.GOOD for one in pair)


# ------------------------------------------------------------------------------------------ revocation lists


def test_lists_are_signed_where_the_key_is_at_hand_and_follow_every_change(deps: Deps, clock: ManualClock) -> None:
    order = order_for()
    pair = certificates(use_cases.issue_certificates(deps, order))
    assert use_cases.issue_crls(deps) == 2  # the TSA CA's key is away
    assert use_cases.find_crl(deps, CertificateKind.TSA_CA) is None
    issuing = shared_hierarchy().issuing.certificate

    def listed() -> tuple[int | None, dict[int, str | None]]:
        stored = use_cases.find_crl(deps, CertificateKind.ISSUING_CA)
        assert stored is not None
        crl = verify_crl(stored.crl_der, issuer=issuing)
        assert crl.next_update_at is not None
        assert crl.next_update_at - crl.this_update_at <= timedelta(hours=24)
        return crl.number, {serial: entry.reason for serial, entry in crl.entries.items()}

    serials = [one.serial_number for one in pair]
    assert listed() == (1, dict.fromkeys(serials, "certificateHold"))
    use_cases.activate_certificates(deps, order.document_number, actor="card_bureau")
    assert use_cases.issue_crls(deps) == 1
    assert listed() == (2, {})
    assert use_cases.issue_crls(deps) == 0
    use_cases.revoke_certificates(deps, order.document_number, reason="superseded", actor="police_board")
    use_cases.issue_crls(deps)
    assert listed() == (3, dict.fromkeys(serials, "superseded"))
    clock.advance(timedelta(hours=7))
    assert use_cases.issue_crls(deps) == 1
    assert listed()[0] == 4


def test_an_entry_leaves_the_list_after_its_certificate_has_ended(deps: Deps, clock: ManualClock) -> None:
    order = order_for()
    use_cases.issue_certificates(deps, order)
    clock.advance(timedelta(days=5 * 366))
    use_cases.issue_crls(deps)
    stored = use_cases.find_crl(deps, CertificateKind.ISSUING_CA)
    assert stored is not None
    assert verify_crl(stored.crl_der, issuer=shared_hierarchy().issuing.certificate).entries == {}


# ---------------------------------------------------------------------------------------------- services


def test_services_are_for_those_who_may_call_them(deps: Deps) -> None:
    allowed = {service.operation.service.service_code: service.operation.allowed for service in api.services(deps)}
    assert allowed == {
        "issue-certificates": {CARD_BUREAU},
        "activate-certificates": {CARD_BUREAU},
        "suspend-certificates": {POLICE_BOARD},
        "resume-certificates": {POLICE_BOARD},
        "revoke-certificates": {POLICE_BOARD},
        "certificate-status": {POLICE_BOARD, INFORMATION_AUTHORITY},
    }


def test_a_documents_life_over_the_contract(deps: Deps) -> None:
    services = {service.operation.service.service_code: service for service in api.services(deps)}
    bureau, police = Caller(CARD_BUREAU, "m1"), Caller(POLICE_BOARD, "m2")
    order = order_for()
    issued = services["issue-certificates"].answer(bureau, contract_request(order))
    assert issued == services["issue-certificates"].answer(bureau, contract_request(order))
    number = order.document_number
    status = services["activate-certificates"].answer(bureau, contract.ActivateCertificates(document_number=number))
    assert isinstance(status, contract.CertificateStatus)
    assert [(one.purpose, one.state) for one in status.certificates] == [
        ("authentication", "good"),
        ("signature", "good"),
    ]
    status = services["revoke-certificates"].answer(
        police, contract.RevokeCertificates(document_number=number, reason="cessationOfOperation")
    )
    assert isinstance(status, contract.CertificateStatus)
    assert {(one.state, one.reason) for one in status.certificates} == {("revoked", "cessationOfOperation")}


def test_the_state_table_refuses_whom_the_gate_let_through_by_mistake(deps: Deps) -> None:
    order = order_for()
    use_cases.issue_certificates(deps, order)
    services = {service.operation.service.service_code: service for service in api.services(deps)}
    for stranger in (BANK, POLICE_BOARD, INFORMATION_AUTHORITY):
        with pytest.raises(Refused, match=r"state\.actor_not_allowed"):
            services["activate-certificates"].answer(
                Caller(stranger, "m"), contract.ActivateCertificates(document_number=order.document_number)
            )
