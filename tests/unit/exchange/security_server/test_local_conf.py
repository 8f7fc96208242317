import time
from datetime import UTC, datetime, timedelta

import pytest

from digiid.exchange.security_server.local_conf import (
    EVERYTHING,
    Endpoint,
    LocalConf,
    LocalConfFile,
    Offer,
    build_local_conf,
    dump_local_conf,
    load_local_conf,
    parse_local_conf,
    write_local_conf,
)
from digiid.kernel.errors import Malformed, Refused
from digiid.kernel.identifiers import ClientId, MemberId, ServiceId
from digiid.platform.clock import ManualClock
from tests.unit.exchange.security_server.rooms import BANK, POPULATION, SHOP, GroupsOf, self_signed

ADDRESS = ServiceId(POPULATION, "address")
NOBODY = GroupsOf({})
FILE = """
[[clients]]
id = "EE/GOV/70000103/population"
mode = "SSLNOAUTH"

[[clients.groups]]
code = "shops"
members = ["EE/COM/10000202/shop", "EE/COM/10000203/kiosk"]

[[clients.services]]
code = "address"
base_url = "http://127.0.0.1:8801"
timeout_seconds = 5.0
endpoints = [
  { method = "GET", path = "/v1/persons/*" },
  { method = "POST", path = "/v1/search" },
  { method = "*", path = "/v1/open/**" },
  { method = "GET", path = "/v1/files/*.pdf" },
]

[[clients.services]]
code = "closed"
base_url = "http://127.0.0.1:8801"
disabled_notice = "Back on Monday"

[[clients.rights]]
client = "EE/COM/10000201/bank"
service = "address"
method = "GET"
path = "/v1/persons/*"

[[clients.rights]]
client = "EE/COM/10000201/bank"
service = "closed"

[[clients.rights]]
local_group = "shops"
service = "address"
path = "/v1/open/**"

[[clients.rights]]
global_group = "auditors"
service = "address"

[[clients]]
id = "EE/GOV/70000105"
mode = "NOSSL"
"""


def conf_of(tmp_path, text=FILE) -> LocalConf:
    file = tmp_path / "local.toml"
    file.write_text(text, "utf-8")
    return load_local_conf(file)


@pytest.fixture
def conf(tmp_path):
    return conf_of(tmp_path)


def ask(conf, method, rest, *, client=BANK, service=ADDRESS, groups=NOBODY, headers=()):
    return conf.authorise(client, service, method, service.path + rest, groups, headers=headers)


def refusal(conf, method, rest, **options) -> str:
    with pytest.raises(Refused) as refused:
        ask(conf, method, rest, **options)
    return refused.value.code


# ------------------------------------------------------------------ rights


def test_a_right_leads_to_the_information_system_with_its_timeout(conf):
    target = ask(conf, "GET", "/v1/persons/38001085718")
    assert (target.base_url, target.tls_certificate, target.timeout_seconds) == ("http://127.0.0.1:8801", None, 5.0)
    assert target.endpoint == Endpoint("GET", "/v1/persons/*")


@pytest.mark.parametrize(
    "rest",
    ["", "/", "/v1/persons", "/v1/persons/", "/v1/persons/1/2", "/v1/persons/1/", "/V1/persons/1", "/v2/persons/1"],
)
def test_what_no_right_names_is_denied(conf, rest):
    assert refusal(conf, "GET", rest) == "exchange.access_denied"


def test_a_star_stays_in_its_segment_and_two_stars_take_the_rest(conf):
    assert ask(conf, "PUT", "/v1/open/a/b/c", client=SHOP)
    assert ask(conf, "GET", "/v1/open/", client=SHOP)
    assert refusal(conf, "GET", "/v1/open", client=SHOP) == "exchange.access_denied"
    assert refusal(conf, "GET", "/v1/opened/x", client=SHOP) == "exchange.access_denied"


def test_a_service_that_is_not_there_and_one_that_is_switched_off(conf):
    assert refusal(conf, "GET", "", service=ServiceId(POPULATION, "nothing")) == "exchange.unknown_service"
    assert refusal(conf, "GET", "", service=ServiceId(BANK, "address")) == "exchange.unknown_service"
    closed = ServiceId(POPULATION, "closed")
    with pytest.raises(Refused) as refused:
        ask(conf, "GET", "/x", service=closed)
    assert (refused.value.code, refused.value.public) == ("exchange.service_disabled", "Back on Monday")
    # who has no right to it is not told that it is switched off
    assert refusal(conf, "GET", "/x", service=closed, client=SHOP) == "exchange.access_denied"


def test_a_provider_that_is_switched_off_offers_nothing(tmp_path):
    text = FILE.replace('mode = "SSLNOAUTH"', 'mode = "SSLNOAUTH"\nenabled = false')
    conf = conf_of(tmp_path, text)
    assert refusal(conf, "GET", "/v1/persons/1") == "exchange.service_disabled"
    assert not conf.find_client(POPULATION).is_enabled


def test_a_global_group_is_asked_of_the_global_configuration(conf):
    assert ask(conf, "DELETE", "/anything", client=SHOP, groups=GroupsOf({"auditors": {SHOP}}))
    assert refusal(conf, "DELETE", "/anything", client=SHOP) == "exchange.access_denied"


def test_a_right_of_a_subsystem_is_not_its_members_nor_a_sisters(conf):
    for client in (
        MemberId("EE", "COM", "10000201"),
        ClientId("EE", "COM", "10000201", "Bank"),
        ClientId("FI", "COM", "10000201", "bank"),
    ):
        assert refusal(conf, "GET", "/v1/persons/1", client=client) == "exchange.access_denied"


def test_clients_with_their_modes(conf):
    assert conf.find_client(POPULATION).mode == "SSLNOAUTH"
    assert conf.find_client(MemberId("EE", "GOV", "70000105")).mode == "NOSSL"
    assert conf.find_client(BANK) is None


def test_what_a_client_may_use(conf):
    assert conf.allowed_endpoints(BANK, ADDRESS, NOBODY) == (Endpoint("GET", "/v1/persons/*"),)
    assert conf.allowed_endpoints(SHOP, ADDRESS, GroupsOf({"auditors": {SHOP}})) == (EVERYTHING,)
    assert conf.allowed_endpoints(ClientId("EE", "COM", "1", "x"), ADDRESS, NOBODY) is None


def test_a_thousand_rights_are_judged_in_microseconds(tmp_path):
    rights = "".join(
        f'[[clients.rights]]\nclient = "EE/COM/{number}/x"\nservice = "address"\npath = "/v1/open/**"\n'
        for number in range(1000)
    )
    head, tail = FILE.split('[[clients]]\nid = "EE/GOV/70000105"')
    conf = conf_of(tmp_path, head + rights + '[[clients]]\nid = "EE/GOV/70000105"' + tail)
    path = ADDRESS.path + "/v1/persons/38001085718"
    begun = time.perf_counter()
    for _ in range(2000):
        conf.authorise(BANK, ADDRESS, "GET", path, NOBODY)
    assert (time.perf_counter() - begun) / 2000 < 200e-6  # about 10 µs; the limit is for a busy machine


def test_a_hostile_path_against_a_wildcard_costs_no_time(conf):
    begun = time.perf_counter()
    assert refusal(conf, "GET", "/v1/files/" + ".pd" * 2600) == "exchange.access_denied"
    assert time.perf_counter() - begun < 0.5


# ------------------------------------------------------------------ TM-04: nobody gets past the rights

TRAVERSALS = (
    "/v1/open/../admin",
    "/v1/open/..",
    "/v1/open/.",
    "/v1/open/./x",
    "/v1/open/%2e%2e/admin",
    "/v1/open/%2E%2e/admin",
    "/v1/open/.%2e/admin",
    "/v1/open/%2e./admin",
    "/v1/open/%252e%252e/admin",
    "/v1/open/%25252e%25252e/admin",
    "/v1/open/..;/admin",
    "/v1/open/..;x=1/admin",
    "/v1/open/%2e%2e;x/admin",
    "/v1/open/..%2fadmin",
    "/v1/open/..%5cadmin",
    "/v1/open/%c0%ae%c0%ae/admin",
    "/v1/open/%e0%80%ae/admin",
    "/v1/open/%u002e%u002e/admin",
)
HIDDEN_SLASHES = (
    "/v1/open/a%2fb",
    "/v1/open/a%2Fb",
    "/v1/open/a%252fb",
    "/v1/open/a%25252Fb",
    "/v1/open/a%c0%afb",
    "/v1/open//admin",
    "//v1/open/x",
)
BACKSLASHES = ("/v1/open/a\\b", "/v1/open/a%5cb", "/v1/open/a%5Cb", "/v1/open/a%255cb", "/v1/open/..\\admin")
OTHER_FORMS = (
    "/v1/open/a%00",
    "/v1/open/a\x00",
    "/v1/open/a b",
    "/v1/open/a\r\nb",
    "/v1/open/õ",
    "/v1/open/%",
    "/v1/open/a?b",
    "/v1/open/a#b",
)


@pytest.mark.parametrize("rest", TRAVERSALS)
def test_tm04_no_spelling_of_a_dot_segment_leaves_a_wildcard(conf, rest):
    assert refusal(conf, "GET", rest, client=SHOP) == "exchange.path"


@pytest.mark.parametrize("rest", HIDDEN_SLASHES)
def test_tm04_encoded_and_doubled_slashes_are_refused(conf, rest):
    assert refusal(conf, "GET", rest, client=SHOP) == "exchange.path"


@pytest.mark.parametrize("rest", BACKSLASHES)
def test_tm04_backslashes_are_refused(conf, rest):
    assert refusal(conf, "GET", rest, client=SHOP) == "exchange.path"


@pytest.mark.parametrize("rest", OTHER_FORMS)
def test_tm04_what_two_programs_could_read_differently_is_refused(conf, rest):
    assert refusal(conf, "GET", rest, client=SHOP) == "exchange.path"


@pytest.mark.parametrize("rest", TRAVERSALS + HIDDEN_SLASHES + BACKSLASHES + OTHER_FORMS)
def test_tm04_a_right_to_everything_does_not_let_such_a_path_through_either(conf, rest):
    groups = GroupsOf({"auditors": {SHOP}})
    assert refusal(conf, "GET", rest, client=SHOP, groups=groups) == "exchange.path"


def test_tm04_an_encoded_letter_is_another_path(conf):
    # `/v1/search` by another spelling: nothing is decoded before it is matched, so no right names it
    assert refusal(conf, "GET", "/v1/person%73/1") == "exchange.access_denied"


def test_tm04_the_service_asked_is_the_one_in_the_path(conf):
    closed = ServiceId(POPULATION, "closed")
    with pytest.raises(Refused) as refused:
        conf.authorise(BANK, ADDRESS, "GET", closed.path + "/v1/persons/1", NOBODY)
    assert refused.value.code == "exchange.path"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/v1/persons/1",
        "/r1/EE/GOV/70000103/population",
        "r1/EE/GOV/70000103/population/address",
        "/r1//EE/GOV/70000103/population/address",
    ],
)
def test_tm04_a_path_without_a_service_is_refused(conf, path):
    with pytest.raises(Refused) as refused:
        conf.authorise(BANK, ADDRESS, "GET", path, NOBODY)
    assert refused.value.code == "exchange.path"


@pytest.mark.parametrize(
    "method", ["HEAD", "get", "Get", "GET ", "POST", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "", "*"]
)
def test_tm04_a_right_to_get_is_a_right_to_get_only(conf, method):
    assert refusal(conf, method, "/v1/persons/1") == "exchange.access_denied"


@pytest.mark.parametrize("method", ["get", "CONNECT", "PROPFIND", "*", ""])
def test_tm04_any_method_means_the_methods_of_the_protocol(conf, method):
    assert refusal(conf, method, "/v1/open/x", client=SHOP) == "exchange.access_denied"


@pytest.mark.parametrize(
    "name",
    [
        "X-HTTP-Method-Override",
        "x-http-method",
        "X-Method-Override",
        "X_HTTP_METHOD_OVERRIDE",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Forwarded-Prefix",
    ],
)
def test_tm04_a_header_that_would_change_method_or_path_is_refused(conf, name):
    assert (
        refusal(conf, "GET", "/v1/persons/1", headers=[("Accept", "*/*"), (name, "DELETE")])
        == "exchange.method_override"
    )


def test_tm04_leaving_a_global_group_takes_effect_with_the_next_message(conf):
    members = {SHOP}
    groups = GroupsOf({"auditors": members})
    assert ask(conf, "GET", "/v1/search", client=SHOP, groups=groups)
    members.clear()
    assert refusal(conf, "GET", "/v1/search", client=SHOP, groups=groups) == "exchange.access_denied"


def test_tm04_leaving_a_local_group_takes_effect_with_the_next_message(tmp_path):
    file = tmp_path / "local.toml"
    file.write_text(FILE, "utf-8")
    # the file system's own clock: also a file written twice within its tick must be seen
    local = LocalConfFile(file, ManualClock(datetime.fromtimestamp(file.stat().st_mtime, UTC)))
    assert ask(local.current(), "GET", "/v1/open/x", client=SHOP)
    file.write_text(FILE.replace("EE/COM/10000202/shop", "EE/COM/10000209/shop"), "utf-8")
    assert refusal(local.current(), "GET", "/v1/open/x", client=SHOP) == "exchange.access_denied"


# ------------------------------------------------------------------ the file changes


def later(file) -> ManualClock:
    return ManualClock(datetime.fromtimestamp(file.stat().st_mtime, UTC) + timedelta(minutes=1))


def test_an_unchanged_file_is_not_read_again(tmp_path):
    file = tmp_path / "local.toml"
    file.write_text(FILE, "utf-8")
    local = LocalConfFile(file, later(file))
    assert local.current() is local.current()


@pytest.mark.parametrize("broken", ["not = [toml", "", "version = 2", '[[clients]]\nid = "x"', "gone"])
def test_a_broken_file_keeps_the_last_good_one_and_raises_an_alarm(tmp_path, broken):
    file = tmp_path / "local.toml"
    file.write_text(FILE, "utf-8")
    clock = later(file)
    local = LocalConfFile(file, clock)
    good = local.current()
    if broken == "gone":
        file.unlink()
    else:
        file.write_text(broken, "utf-8")
    now = local.current()
    if broken == "":  # an empty file is a whole one: it has no clients, so everything is refused
        assert local.alarm is None
        assert refusal(now, "GET", "/v1/persons/1") == "exchange.unknown_service"
        return
    assert now is good
    assert local.alarm.since == clock.now()
    assert local.alarm.code.startswith("exchange.local_conf.")
    # 2 and it ends when the file is whole again
    file.write_text(FILE.replace("Back on Monday", "Back on Tuesday"), "utf-8")
    clock.advance(timedelta(seconds=6))
    assert local.current() is not good
    assert local.alarm is None


def test_a_certificate_that_was_missing_is_found_when_it_comes(tmp_path):
    file = tmp_path / "local.toml"
    file.write_text(FILE, "utf-8")
    clock = later(file)
    local = LocalConfFile(file, clock)
    file.write_text(FILE.replace('"NOSSL"', '"SSLAUTH"\ncertificates = ["portal.pem"]'), "utf-8")
    local.current()
    assert local.alarm.code == "exchange.local_conf.certificate"
    (tmp_path / "portal.pem").write_bytes(self_signed("portal")[0])
    clock.advance(timedelta(seconds=6))
    client = local.current().find_client(MemberId("EE", "GOV", "70000105"))
    assert (client.mode, local.alarm) == ("SSLAUTH", None)


def test_a_certificate_exchanged_beside_the_file_counts_at_once(tmp_path):
    file = tmp_path / "local.toml"
    file.write_text(FILE.replace('"NOSSL"', '"SSLAUTH"\ncertificates = ["portal.pem"]'), "utf-8")
    first, second = self_signed("portal"), self_signed("portal")
    (tmp_path / "portal.pem").write_bytes(first[0])
    local = LocalConfFile(file, ManualClock(datetime(2020, 1, 1, tzinfo=UTC)))
    portal = MemberId("EE", "GOV", "70000105")
    assert local.current().find_client(portal).certificates == {first[1]}
    (tmp_path / "portal.new").write_bytes(second[0])
    (tmp_path / "portal.new").replace(tmp_path / "portal.pem")
    assert local.current().find_client(portal).certificates == {second[1]}


def test_the_first_reading_must_succeed(tmp_path):
    with pytest.raises(Malformed) as error:
        LocalConfFile(tmp_path / "nothing.toml", ManualClock(datetime(2026, 1, 1, tzinfo=UTC)))
    assert error.value.code == "exchange.local_conf.unreadable"


# ------------------------------------------------------------------ hostile and mistaken files

SERVICE = '[[clients.services]]\ncode = "s"\nbase_url = "http://127.0.0.1:1"\n'
CLIENT = '[[clients]]\nid = "EE/GOV/1/x"\nmode = "NOSSL"\n'


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[" * 5000, "exchange.local_conf.unreadable"),
        ("a = " + "[" * 100_000, "exchange.local_conf.unreadable"),
        ("a = " + "{ a = " * 5000, "exchange.local_conf.unreadable"),
        ("x" * 5_000_000, "larger than"),
        ("clients = 5", "clients"),
        ("clents = []", "clents"),
        ("version = 2", "version"),
        (CLIENT + "colour = 1", "clients.0.colour"),
        ('[[clients]]\nid = "EE/GOV/1"\nmode = "NOSSL"\n' + SERVICE, "only a subsystem"),
        ('[[clients]]\nid = "EE"\nmode = "NOSSL"\n', "class/code"),
        ('[[clients]]\nid = "EE/GOV/../x"\nmode = "NOSSL"\n', "class/code"),
        ('[[clients]]\nid = "EE/GOV/1/x"\n', "SSLAUTH needs"),
        (CLIENT + CLIENT, "is there twice"),
        (CLIENT + SERVICE + SERVICE, "is there twice"),
        (CLIENT + SERVICE.replace('"s"', '"listMethods"'), "security server itself"),
        (CLIENT + SERVICE.replace('"s"', '"a/b"'), "a code has"),
        (CLIENT + SERVICE.replace("http:", "https:"), "tls_certificate"),
        (CLIENT + SERVICE.replace("http:", "file:"), "not an http"),
        (CLIENT + SERVICE.replace("127.0.0.1:1", "u:p@127.0.0.1:1"), "no user"),
        (CLIENT + SERVICE.replace("127.0.0.1:1", "127.0.0.1:1/x"), "sent on as it is"),
        (CLIENT + SERVICE.replace("127.0.0.1:1", "127.0.0.1:99999"), "not an http"),
        (CLIENT + SERVICE + 'type = "OPENAPI"', "description_url"),
        (
            CLIENT + SERVICE + 'type = "OPENAPI"\ndescription_url = "http://169.254.169.254/x"',
            "information system of base_url",
        ),
        (CLIENT + SERVICE + "timeout_seconds = 0", "timeout_seconds"),
        (CLIENT + SERVICE + "timeout_seconds = inf", "timeout_seconds"),
        (CLIENT + SERVICE + 'endpoints = [{ method = "get" }]', "method"),
        (CLIENT + SERVICE + 'endpoints = [{ path = "a" }]', "begins with a slash"),
        (CLIENT + SERVICE + 'endpoints = [{ path = "/a/../b" }]', "dot segment"),
        (CLIENT + SERVICE + 'endpoints = [{ path = "/a/%2f" }]', "encoded slash"),
        (CLIENT + SERVICE + 'endpoints = [{ path = "/a*b*" }]', "one * at most"),
        (CLIENT + SERVICE + 'endpoints = [{ path = "/**/b" }]', "one * at most"),
        (CLIENT + SERVICE + 'endpoints = [{ path = "/a" }, { path = "/a" }]', "is there twice"),
        (CLIENT + SERVICE + '[[clients.rights]]\nservice = "s"', "exactly one of"),
        (
            CLIENT + SERVICE + '[[clients.rights]]\nservice = "s"\nclient = "EE/COM/1/x"\nglobal_group = "g"',
            "exactly one of",
        ),
        (CLIENT + SERVICE + '[[clients.rights]]\nservice = "t"\nclient = "EE/COM/1/x"', "no service t"),
        (CLIENT + SERVICE + '[[clients.rights]]\nservice = "s"\nclient = "EE/COM/1/x"\npath = "/typo"', "no endpoint"),
        (CLIENT + SERVICE + '[[clients.rights]]\nservice = "s"\nlocal_group = "g"', "no local group"),
        (CLIENT + SERVICE + '[[clients.rights]]\nservice = "s"\nclient = "*"', "class/code"),
    ],
)
def test_a_mistake_is_named_and_nothing_else_escapes(text, named):
    with pytest.raises(Malformed) as error:
        parse_local_conf(text.encode())
    assert named in f"{error.value.code} {error.value.detail}"
    assert len(error.value.detail) < 20_000


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(Malformed):
        parse_local_conf(b"\xff\xfe\x00")


@pytest.mark.parametrize(
    "content", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"\x30\x80", b"x" * 100_000]
)
def test_a_file_that_is_no_certificate_is_refused(tmp_path, content):
    (tmp_path / "is.pem").write_bytes(content)
    with pytest.raises(Malformed) as error:
        conf_of(tmp_path, FILE.replace('"NOSSL"', '"SSLAUTH"\ncertificates = ["is.pem"]'))
    assert error.value.code == "exchange.local_conf.certificate"


# ------------------------------------------------------------------ written from contracts


def test_what_is_written_is_read_again(tmp_path):
    certificate = self_signed("gate")[1]
    tracker = ServiceId(POPULATION, "tracker")
    settings = build_local_conf(
        {POPULATION: [self_signed("population")[1]], BANK: [self_signed("bank")[1]]},
        [
            Offer(ADDRESS, (("POST", "/v1"),), frozenset((BANK,)), "https://127.0.0.1:8801", certificate),
            Offer(ADDRESS, (("POST", "/v2"),), frozenset((BANK, SHOP)), "https://127.0.0.1:8801", certificate),
            Offer(tracker, (), frozenset((SHOP,)), "https://127.0.0.1:8801", certificate, "https://127.0.0.1:8801/d"),
        ],
    )
    file = tmp_path / "conf" / "local.toml"
    write_local_conf(file, settings)
    assert parse_local_conf(file.read_bytes()) == settings
    conf = load_local_conf(file)
    assert ask(conf, "POST", "/v1").tls_certificate == certificate
    assert ask(conf, "POST", "/v2", client=SHOP)
    assert refusal(conf, "POST", "/v1", client=SHOP) == "exchange.access_denied"
    assert conf.find_service(tracker).type == "OPENAPI"
    assert ask(conf, "GET", "/any", client=SHOP, service=tracker)


def test_odd_texts_survive_writing():
    notice = 'a "quoted" \\ line\nand \t õ 😀 \x7f'
    settings = parse_local_conf(FILE.encode())
    services = tuple(s.model_copy(update={"disabled_notice": notice}) for s in settings.clients[0].services)
    changed = settings.model_copy(update={"clients": (settings.clients[0].model_copy(update={"services": services}),)})
    assert parse_local_conf(dump_local_conf(changed)) == changed


def test_services_of_strangers_are_not_written():
    with pytest.raises(Malformed):
        build_local_conf({BANK: [self_signed("bank")[1]]}, [Offer(ADDRESS, (), frozenset(), "http://127.0.0.1:1")])
