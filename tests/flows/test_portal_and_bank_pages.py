"""The portal and the bank as a person meets them: sign in, sign, validate, open an account, report."""

import io
import re
import zipfile
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pypdfium2
import pytest

from digiid.formats.asic import DataFile
from digiid.institutions.bank.domain import is_iban
from digiid.institutions.bank.settings import Settings as BankSettings
from digiid.platform.clock import ManualClock
from digiid.platform.preview import draw_page
from digiid.platform.printing import PrintedPage
from tests.flows.provider_room import ProviderRoom, open_provider_room
from tests.support.containers import changed
from tests.support.page_client import PageClient
from tests.support.pdf import plain_pdf
from tests.support.pki import CA_EXTENSIONS, make_certificate, new_key, person, shared_pki
from tests.support.time_stamped import stamped
from tests.unit.formats.test_webeid import FOR_SIGNING_IN

PDF = b"%PDF-1.7\n%test only\n"


@pytest.fixture
def room(tmp_path: Path, clock: ManualClock) -> Iterator[ProviderRoom]:
    with open_provider_room(tmp_path, clock) as opened:
        yield opened


def words(text: str) -> str:
    main = text.split("<main", 1)[-1].split("</main>", 1)[0]
    return " ".join(re.sub(r"<[^>]+>", " ", main).split())


def upload(browser: PageClient, content: bytes = PDF, name: str = "agreement.pdf") -> str:
    """Upload a file to sign; returns its document's id."""
    browser.get("/sign")
    answer = browser.post_form("/sign", {}, files={"file": (name, content, "application/pdf")})
    assert answer.status_code == 303
    return str(answer.headers["location"]).removeprefix("/sign/")


def signed_container(room: ProviderRoom, browser: PageClient) -> bytes:
    holder = room.holder()
    assert holder.sign_in(browser).status_code == 200
    document_id = upload(browser)
    browser.get(f"/sign/{document_id}")
    assert holder.sign(browser, document_id).json() == {"next": f"/sign/{document_id}"}
    return browser.get(f"/sign/{document_id}/container").content


def validate(browser: PageClient, container: bytes, **fields: str) -> str:
    browser.get("/validate")
    answer = browser.post_form("/validate", fields, files={"container": ("a.asice", container, "application/zip")})
    assert answer.status_code == 200
    return words(answer.text)


def altered(container: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(container)) as source, zipfile.ZipFile(out, "w") as target:
        for entry in source.infolist():
            data = source.read(entry)
            target.writestr(entry, data.replace(b"test", b"TEST") if entry.filename == "agreement.pdf" else data)
    return out.getvalue()


# ------------------------------------------------------------------ the portal


def test_a_signed_container_is_valid_for_somebody_else(room: ProviderRoom) -> None:
    container = signed_container(room, room.browser("portal"))
    report = validate(room.browser("portal"), container)
    assert "The signature is valid. Nothing was changed" in report and "Qualified electronic signature" in report
    assert "O’CONNEŽ-ŠUSLIK,MARY ÄNN,60001019906" in report
    assert "agreement.pdf" in report
    assert "TOTAL-PASSED" in report


def test_a_changed_file_is_named_as_what_it_is_in_both_languages(room: ProviderRoom) -> None:
    container = altered(signed_container(room, room.browser("portal")))
    report = validate(room.browser("portal"), container)
    assert "0 of 1 signatures are valid" in report
    assert "A file was changed after it was signed." in report
    assert "HASH_FAILURE" in report
    assert "Faili on pärast allkirjastamist muudetud." in validate(room.browser("portal", language="et"), container)


def test_a_report_can_be_had_as_json(room: ProviderRoom) -> None:
    container = signed_container(room, room.browser("portal"))
    browser = room.browser("portal")
    browser.get("/validate")
    files = {"container": ("a.asice", container, "application/zip")}
    answer = browser.post_form("/validate", {"format": "json"}, files=files)
    assert answer.headers["content-disposition"] == 'attachment; filename="a.asice.report.json"'
    assert answer.json()["validSignaturesCount"] == 1


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" + b"\x00" * 50])
def test_what_is_no_container_gets_a_clear_answer(room: ProviderRoom, content: bytes) -> None:
    browser = room.browser("portal")
    browser.get("/validate")
    answer = browser.post_form("/validate", {}, files={"container": ("a.asice", content, "application/zip")})
    assert answer.status_code == 422
    assert "There is a problem" in answer.text


def test_a_report_can_be_had_on_paper(room: ProviderRoom) -> None:
    container = signed_container(room, room.browser("portal"))
    stranger = room.browser("portal")
    stranger.get("/validate")
    answer = stranger.post_form(
        "/validate", {"format": "pdf"}, files={"container": ("a.asice", container, "application/zip")}
    )
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/pdf"
    assert draw_page(answer.content).pages >= 1


def test_a_stamped_container_with_many_files_inside_is_told_as_one_file(room: ProviderRoom) -> None:
    inside = [DataFile(f"one-of-many-files-{number}.txt", "text/plain", b"x") for number in range(300)]
    container = stamped(shared_pki().container(inside), name="inside.asice")
    files = {"container": ("a.asics", container, "application/zip")}
    browser = room.browser("portal")
    browser.get("/validate")
    said = words(browser.post_form("/validate", {}, files=files).text)
    assert "Files inside.asice" in said
    assert "one-of-many-files-0.txt" not in said
    answer = browser.post_form("/validate", {"format": "pdf"}, files=files)
    assert answer.status_code == 200 and draw_page(answer.content).pages >= 1


def test_what_is_odd_is_told_in_estonian_with_the_exact_words_beside_it(room: ProviderRoom) -> None:
    container = changed(shared_pki().container(), {"mimetype": None, "META-INF/x": b"x", "META-INF/y": b"y"})
    files = {"container": ("a.asice", container, "application/zip")}
    sentence = "Esimene fail ümbrikus peaks olema „mimetype“, mis ütleb, mis liiki ümbrik see on."
    meaning = "Seda ei ole, nii et mõni programm ei ava faili; allkirju see ei mõjuta."
    estonian, english = room.browser("portal", language="et"), room.browser("portal")
    estonian.get("/validate")
    page = estonian.post_form("/validate", {}, files=files).text
    assert f"<strong>Teadmiseks:</strong> {sentence} {meaning}" in page
    assert 'Täpsed sõnad: <span lang="en">&#34;mimetype&#34; should be the first file in the container</span>' in page
    assert page.count("Seda faili ei ole keegi allkirjastanud.") == 1
    for name in ("META-INF/x", "META-INF/y"):
        assert f'<li lang="en">&#39;{name}&#39; is not covered by any signature</li>' in page
    printed = pypdfium2.PdfDocument(estonian.post_form("/validate", {"format": "pdf"}, files=files).content)
    text = " ".join(page.get_textpage().get_text_bounded() for page in printed)
    assert f'Teadmiseks: {sentence} {meaning} Täpsed sõnad: "mimetype" should be' in " ".join(text.split())
    english.get("/validate")
    said = words(english.post_form("/validate", {}, files=files).text)
    assert 'For your information: "mimetype" should be the first file in the container There is none, so' in unescape(
        said
    )
    assert "Exact words" not in said and "which says what kind of container" not in said


def test_what_will_be_signed_is_shown_as_a_picture_or_as_text(room: ProviderRoom) -> None:
    browser = room.browser("portal")
    room.holder().sign_in(browser)
    printed = PrintedPage(title="TEST", language="en", foot="", created_at=room.clock.now()).to_bytes()
    drawn = upload(browser, printed)
    assert f'src="/sign/{drawn}/files/0/pages/0"' in browser.get(f"/sign/{drawn}").text
    assert "Page 1 of 1" in words(browser.get(f"/sign/{drawn}/files/0/look").text)
    picture = browser.get(f"/sign/{drawn}/files/0/pages/0")
    assert picture.headers["content-type"] == "image/png"
    assert browser.get(f"/sign/{drawn}/files/0/pages/1").status_code == 404
    damaged = upload(browser, PDF)
    assert "cannot be shown here" in words(browser.get(f"/sign/{damaged}/files/0/look").text)
    text = upload(browser, "<b>tere</b> \u202e".encode(), name="a.txt")
    assert "&lt;b&gt;tere&lt;/b&gt; [U+202E]" in browser.get(f"/sign/{text}/files/0/look").text


def test_the_signature_covers_what_was_shown_and_the_portal_forgets_it_when_told(room: ProviderRoom) -> None:
    browser = room.browser("portal")
    holder = room.holder()
    holder.sign_in(browser)
    document_id = upload(browser)
    shown = browser.get(f"/sign/{document_id}").text
    assert "agreement.pdf" in shown
    assert f"{len(PDF)} B" in shown
    assert browser.get(f"/sign/{document_id}/files/0").content == PDF
    holder.sign(browser, document_id)
    assert "agreement.pdf" in browser.get("/sign").text
    browser.get(f"/sign/{document_id}")
    browser.post_form(f"/sign/{document_id}/delete", {})
    assert browser.get(f"/sign/{document_id}").status_code == 404
    assert browser.get(f"/sign/{document_id}/container").status_code == 404


def test_a_container_of_somebody_else_gets_one_signature_more(room: ProviderRoom) -> None:
    container = signed_container(room, room.browser("portal"))
    second, browser = room.holder("ORAVAS", "38001085718"), room.browser("portal")
    second.sign_in(browser)
    document_id = upload(browser, container, name="agreement.asice")
    shown = words(browser.get(f"/sign/{document_id}").text)
    assert "Signatures that are there already" in shown
    assert "agreement.pdf" in shown
    assert browser.get(f"/sign/{document_id}/files/0").content == PDF
    assert second.sign(browser, document_id).status_code == 200
    answer = browser.get(f"/sign/{document_id}/container")
    assert answer.headers["content-disposition"] == 'attachment; filename="agreement.asice"'
    assert "All 2 signatures are valid" in validate(room.browser("portal"), answer.content)
    first = zipfile.ZipFile(io.BytesIO(container)).read("META-INF/signatures0.xml")
    assert zipfile.ZipFile(io.BytesIO(answer.content)).read("META-INF/signatures0.xml") == first


def test_a_container_that_is_not_valid_gets_no_signature(room: ProviderRoom) -> None:
    browser = room.browser("portal")
    container = altered(signed_container(room, browser))
    document_id = upload(browser, container, name="agreement.asice")
    assert "no signature can be added" in words(browser.get(f"/sign/{document_id}").text)
    assert room.holder().sign(browser, document_id).status_code == 403


def test_two_people_sign_inside_a_pdf_file(room: ProviderRoom) -> None:
    browser, holder = room.browser("portal"), room.holder()
    holder.sign_in(browser)
    document_id = upload(browser, plain_pdf())
    assert "Sign inside the PDF file instead" in words(browser.get(f"/sign/{document_id}").text)
    inside = browser.get(f"/sign/{document_id}?inside=1").text
    assert "Into the PDF file itself" in words(inside)
    assert f'data-reference="{document_id}?inside=1"' in inside
    assert holder.sign(browser, f"{document_id}?inside=1").json() == {"next": f"/sign/{document_id}"}
    assert "Download the PDF file" in words(browser.get(f"/sign/{document_id}").text)
    first = browser.get(f"/sign/{document_id}/container")
    assert first.headers["content-disposition"] == 'attachment; filename="agreement-signed.pdf"'
    assert first.headers["content-type"] == "application/pdf"
    assert first.content.startswith(plain_pdf())

    second, browser = room.holder("ORAVAS", "38001085718"), room.browser("portal")
    second.sign_in(browser)
    document_id = upload(browser, first.content, name="agreement-signed.pdf")
    shown = browser.get(f"/sign/{document_id}").text
    assert "Signatures that are there already" in words(shown)
    assert f'data-reference="{document_id}?inside=1"' in shown
    assert second.sign(browser, f"{document_id}?inside=1").status_code == 200
    both = browser.get(f"/sign/{document_id}/container")
    assert both.headers["content-disposition"] == 'attachment; filename="agreement-signed.pdf"'
    assert both.content.startswith(first.content)
    assert "All 2 signatures are valid" in validate(room.browser("portal"), both.content)


def test_a_pdf_file_that_was_changed_gets_no_signature_inside(room: ProviderRoom) -> None:
    browser, holder = room.browser("portal"), room.holder()
    holder.sign_in(browser)
    document_id = upload(browser, plain_pdf())
    holder.sign(browser, f"{document_id}?inside=1")
    signed = browser.get(f"/sign/{document_id}/container").content
    changed = upload(browser, signed.replace(b"100 EUR", b"900 EUR"))
    assert "no signature can be added" in words(browser.get(f"/sign/{changed}").text)
    assert holder.sign(browser, f"{changed}?inside=1").status_code == 403


def test_a_pdf_file_that_cannot_be_read_still_goes_into_a_container(room: ProviderRoom) -> None:
    browser, holder = room.browser("portal"), room.holder()
    holder.sign_in(browser)
    document_id = upload(browser, PDF)
    assert "inside the PDF" not in words(browser.get(f"/sign/{document_id}").text)
    assert holder.sign(browser, f"{document_id}?inside=1").status_code == 200
    assert browser.get(f"/sign/{document_id}/container").content.startswith(b"PK")


def test_another_persons_document_is_not_there(room: ProviderRoom) -> None:
    browser, stranger = room.browser("portal"), room.browser("portal")
    room.holder().sign_in(browser)
    document_id = upload(browser)
    other = room.holder("ORAVAS", "38001085718")
    other.sign_in(stranger)
    for path in ("", "/files/0", "/container"):
        assert stranger.get(f"/sign/{document_id}{path}").status_code == 404
    stranger.get("/sign")
    assert other.sign(stranger, document_id).status_code == 404


def test_somebody_elses_card_cannot_sign_in_ones_session(room: ProviderRoom) -> None:
    browser = room.browser("portal")
    room.holder().sign_in(browser)
    document_id = upload(browser)
    browser.get(f"/sign/{document_id}")
    answer = room.holder("ORAVAS", "38001085718").sign(browser, document_id)
    assert (answer.status_code, answer.json()["code"]) == (403, "signing.other_person")


def test_a_card_suspended_after_the_sign_in_signs_nothing(room: ProviderRoom) -> None:
    browser, holder = room.browser("portal"), room.holder()
    holder.sign_in(browser)
    document_id = upload(browser)
    browser.get(f"/sign/{document_id}")
    room.trust.status, room.trust.reason = "revoked", "certificate_hold"
    assert holder.sign(browser, document_id).status_code == 403
    assert browser.get(f"/sign/{document_id}/container").status_code == 404


@pytest.mark.parametrize("path", ["/ocsp", "/tsa"])
def test_a_silent_trust_service_delivers_nothing_and_loses_nothing(room: ProviderRoom, path: str) -> None:
    browser, holder = room.browser("portal"), room.holder()
    holder.sign_in(browser)
    document_id = upload(browser)
    browser.get(f"/sign/{document_id}")
    room.trust.change = lambda asked, body: (500, b"") if asked == path else (200, body)
    silent = holder.sign(browser, document_id)
    assert silent.status_code == 503
    assert "nothing was signed" in silent.json()["detail"]
    room.trust.change = lambda _path, body: (200, body)
    browser.get(f"/sign/{document_id}")
    assert holder.sign(browser, document_id).status_code == 200


def test_nobody_signs_in_while_the_responder_is_silent_and_the_page_says_why(room: ProviderRoom) -> None:
    room.trust.change = lambda _path, _body: (500, b"")
    browser = room.browser("portal", language="et")
    answer = room.holder().sign_in(browser)
    assert answer.status_code == 503
    assert "kehtivust ei saa praegu kontrollida" in answer.json()["detail"]
    assert browser.get("/sign").status_code == 303


def test_a_counterfeit_card_opens_a_case_at_the_board(room: ProviderRoom) -> None:
    pretender = make_certificate(shared_pki().ca.certificate.subject, new_key(), None, CA_EXTENSIONS)
    card = make_certificate(person("FALSE", "60001019906"), new_key(), pretender, FOR_SIGNING_IN)
    for running, site in ((room.portal, "portal"), (room.bank, "bank")):
        answer = room.holder().sign_in(room.browser(site), identity=card)
        assert answer.json()["code"] == "webeid.certificate_counterfeit"
        assert running.workers[0].deliver_due() == 1
        assert running.health()


def test_misuse_is_reported_without_signing_in_and_reaches_the_board(room: ProviderRoom) -> None:
    browser = room.browser("portal")
    browser.get("/report-misuse")
    refused = browser.post_form("/report-misuse", {"what_happened": "short"})
    assert refused.status_code == 422
    assert "at least ten characters" in refused.text
    thanked = browser.post_form("/report-misuse", {"what_happened": "Somebody lends out a card for money."})
    assert re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-", thanked.text)
    assert room.portal.workers[0].deliver_due() == 1


def test_a_document_that_is_not_ones_own_cannot_be_reported_lost(room: ProviderRoom) -> None:
    browser = room.browser("portal")
    room.holder().sign_in(browser)
    browser.get("/lost/NS0000001")
    assert browser.post_form("/lost/NS0000001", {}).status_code == 404


@pytest.mark.parametrize("path", ["/sign", "/sign-ins", "/sign/x", "/sign/x/container", "/lost/NS0000001"])
def test_own_pages_lead_to_the_sign_in(room: ProviderRoom, path: str) -> None:
    answer = room.browser("portal").get(path)
    assert (answer.status_code, answer.headers["location"].split("?")[0]) == (303, "/sign-in")


# ------------------------------------------------------------------ the bank


def apply(browser: PageClient) -> str:
    browser.get("/open")
    fields = {"purpose": "business", "currency": "EUR", "expected_use": "Invoices of a small company"}
    answer = browser.post_form("/open", fields)
    assert answer.status_code == 303
    return str(answer.headers["location"])


def test_a_signed_application_opens_one_account(room: ProviderRoom) -> None:
    browser, holder = room.browser("bank"), room.holder()
    assert "e-residents with a valid digi-ID" in browser.get("/").text
    holder.sign_in(browser)
    where = apply(browser)
    reference = where.rsplit("/", 1)[1]
    shown = browser.get(where).text
    assert "Invoices of a small company" in shown
    assert holder.sign(browser, reference).json() == {"next": where}
    (iban,) = set(re.findall(r"EE\d{18}", browser.get(where).text))
    assert is_iban(iban)
    again = holder.sign(browser, reference)
    assert (again.status_code, again.json()["code"]) == (409, "bank.signed_already")
    assert set(re.findall(r"EE\d{18}", browser.get("/").text)) == {iban}
    report = validate(room.browser("portal"), browser.get(f"{where}/container").content)
    assert "The signature is valid." in report


def test_a_form_that_is_not_filled_in_says_what_is_missing(room: ProviderRoom) -> None:
    browser = room.browser("bank")
    room.holder().sign_in(browser)
    browser.get("/open")
    answer = browser.post_form("/open", {"currency": "XAU"})
    assert answer.status_code == 422
    for text in ("Choose what the account is for", "Choose the currency", "Say in a few words"):
        assert text in answer.text


def test_a_suspended_card_does_not_enter_the_bank(room: ProviderRoom) -> None:
    room.trust.status, room.trust.reason = "revoked", "certificate_hold"
    browser = room.browser("bank")
    answer = room.holder().sign_in(browser)
    assert (answer.status_code, answer.json()["code"]) == (403, "sign_in.card_suspended")
    assert browser.get("/open").status_code == 303


def test_a_bank_that_does_not_accept_e_residents_says_so(tmp_path: Path, clock: ManualClock) -> None:
    settings = BankSettings(accepted_policies=frozenset({"citizen"}))
    with open_provider_room(tmp_path, clock, bank_settings=settings) as room:
        browser = room.browser("bank")
        assert "e-residents with a valid digi-ID" not in browser.get("/").text
        answer = room.holder().sign_in(browser)
        assert (answer.status_code, answer.json()["code"]) == (403, "bank.document_not_accepted")
        assert browser.get("/open").status_code == 303
