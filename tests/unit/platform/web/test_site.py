"""What every site answers: headers, sessions, forms, errors, languages."""

import json

import pytest

from digiid.platform.clock import ManualClock
from digiid.platform.db import Database
from digiid.platform.entropy import SystemEntropy
from digiid.platform.web.dispatch import HostDispatch
from digiid.platform.web.site import is_own_path
from tests.support.page_client import PageClient
from tests.support.reference_site import MAX_BODY_BYTES, METADATA, Reference, build_reference_site

from .conftest import ORIGIN


def test_every_answer_carries_a_policy_that_forbids_inline_scripts_and_framing(visitor: PageClient) -> None:
    for path in ("/", "/no-such-page", "/static/digiid.css", "/health", "/own"):
        headers = visitor.get(path).headers
        policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'", path
        assert policy["script-src"] == policy["style-src"] == "'self'", path
        assert policy["frame-ancestors"] == policy["base-uri"] == "'none'", path
        assert policy["form-action"] == "'self' http://pay.localhost:8899", path
        assert headers["cross-origin-opener-policy"] == "same-origin-allow-popups", path
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["referrer-policy"] == "same-origin", path


def test_pages_are_never_kept_and_fingerprinted_files_are(visitor: PageClient) -> None:
    page = visitor.get("/")
    assert page.headers["cache-control"] == "no-store"
    style = next(part for part in page.text.split('"') if part.startswith("/static/digiid.css"))
    assert "immutable" in visitor.get(style).headers["cache-control"]


def test_no_page_has_an_inline_script_or_style(visitor: PageClient) -> None:
    for path in ("/", "/table", "/no-such-page", "/sign-in"):
        text = visitor.get(path).text
        assert "<style" not in text
        assert " style=" not in text
        assert " onclick=" not in text
        assert all(tag.startswith((' type="module" src="', ' src="')) for tag in text.split("<script")[1:])


@pytest.mark.parametrize(
    "name", ["../site.py", "..%2fsite.py", "%2e%2e/site.py", "/etc/passwd", "x%00y", "..\\site.py"]
)
def test_static_files_never_lead_out_of_their_folder(visitor: PageClient, name: str) -> None:
    assert visitor.get(f"/static/{name}").status_code in (400, 404)


def test_a_session_cookie_is_host_only_and_unreadable_for_scripts(visitor: PageClient) -> None:
    visitor.get("/")
    cookie = next(
        value
        for value in visitor.post_form("/enter", {"subject": "account-1"}).headers.get_list("set-cookie")
        if value.startswith("digiid_session=")
    )
    parts = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert parts == {"path=/", "httponly", "samesite=lax"}  # no Domain: host-only


def test_over_https_cookies_are_secure_and_bound_to_the_host(tmp_path, clock: ManualClock) -> None:
    database = Database.sqlite(tmp_path / "tls.sqlite")
    with database.write() as tx:
        METADATA.create_all(tx)
    reference = build_reference_site(database, clock, SystemEntropy(), origin="https://reference.localhost:8843")
    with PageClient(reference.app, "https://reference.localhost:8843") as visitor:
        first = visitor.get("/")
        second = visitor.post_form("/enter", {"subject": "account-1"})
    reference.pools.close()
    database.close()
    cookies = first.headers.get_list("set-cookie") + second.headers.get_list("set-cookie")
    assert len(cookies) == 2
    assert all(cookie.startswith("__Host-digiid_") and "; Secure" in cookie for cookie in cookies)
    assert "strict-transport-security" in first.headers


def test_signing_in_gives_a_new_identifier_and_ends_the_old_one(visitor: PageClient, reference: Reference) -> None:
    visitor.get("/")
    visitor.post_form("/enter", {"subject": "account-1"})
    old = visitor.cookies["digiid_session"]
    visitor.get("/own")
    visitor.post_form("/enter", {"subject": "account-2"})
    assert visitor.cookies["digiid_session"] != old
    assert reference.sessions.find(old) is None
    assert "account-2" in visitor.get("/own").text


def test_an_identifier_from_outside_is_never_adopted(visitor: PageClient) -> None:
    visitor.cookies.set("digiid_session", "A" * 43, domain="reference.localhost")
    visitor.get("/")
    visitor.post_form("/enter", {"subject": "account-1"})
    cookies = [c for c in visitor.cookies.jar if c.name == "digiid_session"]
    assert all(cookie.value != "A" * 43 for cookie in cookies[-1:])
    assert visitor.get("/own", headers={"Cookie": "digiid_session=" + "A" * 43}).status_code == 303


def test_signing_out_ends_the_session_also_for_a_kept_cookie(visitor: PageClient, reference: Reference) -> None:
    visitor.get("/")
    visitor.post_form("/enter", {"subject": "account-1"})
    kept = visitor.cookies["digiid_session"]
    visitor.get("/own")
    assert visitor.post_form("/sign-out", {}).status_code == 303
    assert reference.sessions.find(kept) is None
    assert visitor.get("/own").status_code == 303


def test_a_page_for_people_leads_to_the_sign_in_and_back(visitor: PageClient) -> None:
    answer = visitor.get("/own")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in?next=/own"


def test_a_program_that_is_not_signed_in_gets_a_problem(visitor: PageClient) -> None:
    answer = visitor.get("/own", headers={"Accept": "application/json"})
    assert answer.status_code == 401
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.json()["code"] == "web.not_signed_in"


# ------------------------------------------------------------------ forms


def test_a_form_without_its_token_changes_nothing(visitor: PageClient) -> None:
    visitor.get("/")
    for fields in ({}, {"csrf_token": ""}, {"csrf_token": "0" * 64}, {"csrf_token": "ä"}):
        answer = visitor.request("POST", "/enter", data={"subject": "account-1", **fields})
        assert answer.status_code == 403
        assert "digiid_session" not in visitor.cookies


def test_a_form_from_another_origin_changes_nothing_even_with_the_token(visitor: PageClient) -> None:
    visitor.get("/")
    for origin in ("http://evil.localhost:8899", "null", "http://reference.localhost:8898"):
        answer = visitor.request(
            "POST", "/enter", data={"csrf_token": visitor._token, "subject": "x"}, headers={"Origin": origin}
        )
        assert answer.status_code == 403, origin


def test_the_token_of_another_visitor_is_not_accepted(visitor: PageClient, reference: Reference) -> None:
    with PageClient(reference.app, ORIGIN) as other:
        other.get("/")
        visitor.get("/")
        answer = visitor.request("POST", "/enter", data={"csrf_token": other._token, "subject": "x"})
    assert answer.status_code == 403


def test_the_token_from_before_signing_in_is_not_accepted_afterwards(visitor: PageClient) -> None:
    visitor.get("/")
    before = visitor._token
    visitor.post_form("/enter", {"subject": "account-1"})
    answer = visitor.request("POST", "/enter", data={"csrf_token": before, "subject": "x"})
    assert answer.status_code == 403


def test_errors_stand_in_the_summary_and_beside_the_field_and_values_stay(visitor: PageClient) -> None:
    visitor.get("/")
    fields = {"surname": "<b>x", "sex": "X", "why": "because"}
    answer = visitor.post_form("/", {**fields, "surname": "X"})
    assert answer.status_code == 422
    text = answer.text
    assert text.count("Enter the surname as it stands in the document") == 2
    assert 'href="#surname"' in text
    assert 'id="surname-error"' in text
    assert 'value="X"' in text
    assert ">because</textarea>" in text
    assert "Fill in this field" in text  # languages
    assert "Choose one of the options" in text  # sex


def test_what_was_typed_is_shown_escaped(visitor: PageClient) -> None:
    visitor.get("/")
    answer = visitor.post_form("/", {"surname": '"><script>alert(1)</script>', "why": "</textarea><script>"})
    assert "<script>alert" not in answer.text
    assert "</textarea><script>" not in answer.text


def test_a_good_form_becomes_a_model(visitor: PageClient) -> None:
    visitor.get("/")
    fields = {"surname": "  Õun ", "sex": "F", "languages": ["et", "en"], "visits": "3"}
    answer = visitor.post_form("/", fields, files={"photo": ("p.jpg", b"x" * 1000, "image/jpeg")})
    assert answer.status_code == 200
    assert "Õun" in answer.text
    assert "et&#39;, &#39;en" in answer.text
    assert "{&#39;photo&#39;: 1000}" in answer.text


def test_a_body_over_the_limit_is_refused_with_words(visitor: PageClient) -> None:
    visitor.get("/")
    answer = visitor.post_form("/", {}, files={"photo": ("p.jpg", b"x" * (MAX_BODY_BYTES + 1), "image/jpeg")})
    assert answer.status_code == 413
    assert "The file is too large" in answer.text


def test_too_many_fields_and_parts_are_refused(visitor: PageClient) -> None:
    visitor.get("/")
    assert visitor.post_form("/", {f"f{n}": "x" for n in range(250)}).status_code == 400
    parts = {f"f{n}": ("x", b"x", "text/plain") for n in range(150)}
    assert visitor.post_form("/", {}, files=parts).status_code in (400, 413)


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded; charset=utf-8"],
)
def test_a_broken_body_gets_a_clear_answer(visitor: PageClient, content_type: str) -> None:
    visitor.get("/")
    headers = {"Content-Type": content_type, "Origin": ORIGIN, "X-CSRF-Token": visitor._token}
    for body in (b"", b"--x\r\nContent-Disposition: form-data", b"\xff\xfe%zz&&==", b"--x--", b"\0" * 500):
        answer = visitor.request("POST", "/", content=body, headers=headers)
        assert answer.status_code in (400, 422), (content_type, body)


def test_control_characters_never_reach_the_model(visitor: PageClient) -> None:
    visitor.get("/")
    answer = visitor.post_form("/", {"surname": "Õ\0un", "sex": "F", "languages": "et"})
    assert answer.status_code == 422
    assert "Remove characters that cannot be shown" in answer.text
    assert "\0" not in answer.text


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("malformed", 400),
        ("refused", 403),
        ("not_found", 404),
        ("conflict", 409),
        ("unavailable", 503),
        ("broken", 500),
    ],
)
def test_each_kind_of_error_has_its_status_for_people_and_programs(visitor: PageClient, kind: str, status: int) -> None:
    for_people = visitor.get(f"/fail/{kind}")
    assert for_people.status_code == status
    assert "Words for people." in for_people.text
    assert "internal detail" not in for_people.text
    for_programs = visitor.get(f"/fail/{kind}", headers={"Accept": "application/json"})
    problem = json.loads(for_programs.content)
    assert for_programs.status_code == problem["status"] == status
    assert problem["code"] == "reference.failed"
    assert problem["type"] == "urn:digiid:error:reference.failed"
    assert problem["instance"] in for_programs.text
    assert "internal detail" not in for_programs.text


def test_a_bug_tells_nothing_but_a_reference(visitor: PageClient) -> None:
    answer = visitor.get("/fail/bug")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "ZeroDivision" not in answer.text
    assert "Reference:" in answer.text


def test_errors_of_use_cases_come_through_the_pool(visitor: PageClient) -> None:
    assert visitor.get("/slow").status_code == 403


def test_unknown_pages_and_methods_have_their_own_pages(visitor: PageClient) -> None:
    missing = visitor.get("/no-such-page")
    assert missing.status_code == 404
    assert "Page not found" in missing.text
    wrong = visitor.request("DELETE", "/")
    assert wrong.status_code == 405
    assert "GET" in wrong.headers["allow"]


def test_a_file_name_from_outside_cannot_add_a_header(visitor: PageClient) -> None:
    headers = visitor.get("/file").headers
    assert headers["content-disposition"] == 'attachment; filename="x___Set-Cookie_ a_b_..__.txt"'


def test_health_says_failed_when_the_check_fails(visitor: PageClient) -> None:
    assert visitor.get("/health").json() == {"status": "ok", "name": "Reference"}


# ------------------------------------------------------------------ languages, paths, hosts


def test_the_language_is_remembered_and_the_visitor_stays_on_the_page(visitor: PageClient) -> None:
    visitor.get("/table")
    answer = visitor.post_form("/language", {"language": "et", "back": "/table"})
    assert answer.headers["location"] == "/table"
    page = visitor.get("/table").text
    assert '<html lang="et"' in page
    assert "Liigu põhisisu juurde" in page


def test_the_navigation_shows_which_part_a_deeper_page_belongs_to(visitor: PageClient) -> None:
    assert '<a href="/table" aria-current="page">' in visitor.get("/table").text
    assert '<a href="/table" aria-current="true">' in visitor.get("/table/deeper").text
    assert "aria-current" not in visitor.get("/table-of-another-kind").text


def test_what_was_asked_for_is_kept_when_the_language_changes(visitor: PageClient) -> None:
    page = visitor.get("/table?q=n%C3%A4idis&page=2").text
    assert '<input type="hidden" name="back" value="/table?q=n%C3%A4idis&amp;page=2">' in page
    assert '<input type="hidden" name="back" value="/table">' in visitor.get("/table").text


def test_after_a_refused_form_the_language_switch_leads_to_a_page_that_is_there(visitor: PageClient) -> None:
    visitor.get("/")
    for path, back in (("/table", "/table"), ("/only-posted", "/")):
        page = visitor.post_form(path, {})
        assert page.status_code == 422 and f'name="back" value="{back}"' in page.text


def test_the_language_switch_leads_nowhere_else(visitor: PageClient) -> None:
    visitor.get("/")
    for back in ("//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"):
        assert visitor.post_form("/language", {"language": "et", "back": back}).headers["location"] == "/"


def test_problem_pages_speak_the_visitors_language(reference: Reference) -> None:
    with PageClient(reference.app, ORIGIN, language="et-EE,et;q=0.9,en;q=0.5") as visitor:
        assert "Lehte ei leitud" in visitor.get("/no-such-page").text


@pytest.mark.parametrize("path", ["/", "/a/b?c=d#e", "/õ"])
def test_own_paths(path: str) -> None:
    assert is_own_path(path)


@pytest.mark.parametrize("path", ["", "a", "//x", "/\\x", "http://x/", "/\tx", "/a\r\nSet-Cookie: x"])
def test_paths_that_are_not_our_own(path: str) -> None:
    assert not is_own_path(path)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8899", 200),
        ("127.0.0.1", 200),  # as `openssl ocsp` says it
        ("127.0.0.1:8898", 421),
        ("reference.localhost", 421),
        ("", 421),
    ],
)
def test_programs_are_found_by_their_address_with_the_port_or_without(
    reference: Reference, host: str, status: int
) -> None:
    dispatch = HostDispatch({"reference.localhost:8899": reference.app}, programs={"127.0.0.1:8899": reference.app})
    with PageClient(dispatch, ORIGIN) as visitor:
        assert visitor.get("/health", headers={"Host": host}).status_code == status


def test_unknown_and_doubled_hosts_are_misdirected(reference: Reference) -> None:
    dispatch = HostDispatch({"reference.localhost:8899": reference.app}, programs={})
    with PageClient(dispatch, ORIGIN) as visitor:
        assert visitor.get("/").status_code == 200
        assert visitor.get("/", headers={"Host": "REFERENCE.localhost:8899"}).status_code == 200
        for host in ("other.localhost:8899", "reference.localhost", "reference.localhost:8899.evil.example", ""):
            assert visitor.get("/", headers={"Host": host}).status_code == 421, host
        doubled = [("Host", "reference.localhost:8899"), ("Host", "other.localhost:8899")]
        assert visitor.get("/", headers=doubled).status_code == 421


def test_a_full_pool_is_told_as_a_page(visitor: PageClient, reference: Reference) -> None:
    visitor.get("/")
    visitor.post_form("/enter", {"subject": "account-1"})
    reference.pools.pages._limit = 0
    answer = visitor.get("/own")
    assert answer.status_code == 503
    assert "Part of the service does not answer now" in answer.text
