import base64
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digiid.formats.global_conf import (
    MONITORING,
    PRIVATE_PARAMETERS,
    SHARED_PARAMETERS,
    VerifiedDirectory,
    build_directory,
    build_location,
    parse_directory,
    part_of,
    sign_directory,
    verify_directory,
)
from digiid.formats.global_conf.directory import MAX_DIRECTORY_BYTES, parse_generated_at
from digiid.kernel.errors import DigiidError, Malformed, Refused
from tests.support.global_conf import configuration_key
from tests.unit.formats.fuzz import damaged, only_raises

AT = datetime(2025, 11, 10, 17, 0, 0, 548026, tzinfo=UTC)
KEYS = {kind: configuration_key(kind) for kind in ("rsa", "p256", "p384")}
PARTS = (
    part_of(SHARED_PARAMETERS, "DEV", build_location(6, AT, "shared-params.xml"), b"shared"),
    part_of(PRIVATE_PARAMETERS, "DEV", build_location(6, AT, "private-params.xml"), b"private"),
    part_of(MONITORING, None, build_location(6, AT, "monitoring-params.xml"), b"monitoring"),
)
EXPIRES = datetime(2025, 11, 10, 17, 10, tzinfo=UTC)


def signed(kind: str = "rsa", *, version: int = 6, inner: str = "CNo5S3hBEIHbDGmANPgi") -> bytes:
    to_sign = build_directory(version=version, expires_at=EXPIRES, parts=PARTS, boundary=inner)
    key = KEYS[kind]
    return sign_directory(to_sign, key=key.key, certificate=key.certificate, boundary="lmyAPTb9i7P4fQ7MmpnZ")


SIGNED = signed("p256")


def verify(data: bytes, *, kind: str = "rsa", at: datetime = AT) -> VerifiedDirectory:
    certificates = [one.certificate for one in KEYS.values()] if kind == "all" else [KEYS[kind].certificate]
    return verify_directory(parse_directory(data), certificates, at=at)


def resigned(change: tuple[bytes, bytes], *, drop_last: bool = False) -> bytes:
    """A directory with something changed inside, and then signed."""
    to_sign = build_directory(version=6, expires_at=EXPIRES, parts=PARTS, boundary="inner")
    assert change[0] in to_sign
    to_sign = to_sign.replace(*change, 1)
    if drop_last:
        to_sign = to_sign.removesuffix(b"--inner--\r\n")
    return sign_directory(to_sign, key=KEYS["rsa"].key, certificate=KEYS["rsa"].certificate, boundary="outer")


@pytest.mark.parametrize("kind", KEYS)
def test_a_directory_is_written_and_verified(kind: str) -> None:
    verified = verify(signed(kind), kind="all")
    assert (verified.version, verified.expires_at, verified.parts) == (6, EXPIRES, PARTS)
    assert verified.certificate == KEYS[kind].certificate
    assert verified.generated_at == AT


def test_it_is_written_as_x_road_writes_it() -> None:
    lines = signed().decode().split("\r\n")
    assert lines[:8] == [
        "Content-Type: multipart/related; charset=UTF-8; boundary=lmyAPTb9i7P4fQ7MmpnZ",
        "",
        "--lmyAPTb9i7P4fQ7MmpnZ",
        "Content-Type: multipart/mixed; charset=UTF-8; boundary=CNo5S3hBEIHbDGmANPgi",
        "",
        "--CNo5S3hBEIHbDGmANPgi",
        "Expire-date: 2025-11-10T17:10:00Z",
        "Version: 6",
    ]
    assert "Content-identifier: SHARED-PARAMETERS; instance='DEV'" in lines
    assert "Content-location: /V6/20251110170000548026000/shared-params.xml" in lines
    assert "Hash-algorithm-id: http://www.w3.org/2001/04/xmlenc#sha512" in lines
    assert "Signature-Algorithm-Id: http://www.w3.org/2001/04/xmldsig-more#rsa-sha512" in lines
    assert lines[-2:] == ["--lmyAPTb9i7P4fQ7MmpnZ--", ""]


def test_what_is_signed_begins_and_ends_at_the_inner_delimiters() -> None:
    unverified = parse_directory(signed())
    assert unverified.signed.startswith(b"--CNo5S3hBEIHbDGmANPgi\r\n")
    assert unverified.signed.endswith(b"\r\n--CNo5S3hBEIHbDGmANPgi--\r\n")


# ------------------------------------------------------------------ TM-03


def test_tm03_a_directory_with_a_bad_signature_is_refused() -> None:
    data = signed()
    for old, new in ((b"Version: 6", b"Version: 5"), (b"17:10:00Z", b"18:10:00Z"), (b"='DEV'", b"='DEW'")):
        with pytest.raises(Refused) as refused:
            verify(data.replace(old, new, 1))
        assert refused.value.code == "exchange.global_conf.signature"


def test_tm03_a_directory_signed_by_somebody_else_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        verify(signed("p256"), kind="rsa")
    assert refused.value.code == "exchange.global_conf.signer"


def test_tm03_a_signer_cannot_borrow_the_hash_of_another_certificate() -> None:
    mine, theirs = (parse_directory(signed(kind)) for kind in ("p256", "p384"))
    data = signed("p256").replace(base64.b64encode(mine.certificate_hash), base64.b64encode(theirs.certificate_hash))
    with pytest.raises(Refused) as refused:
        verify(data, kind="all")
    assert refused.value.code == "exchange.global_conf.signature"


def test_tm03_a_directory_has_run_out_at_the_instant_it_says() -> None:
    verify(signed(), at=EXPIRES - timedelta(microseconds=1))
    with pytest.raises(Refused) as refused:
        verify(signed(), at=EXPIRES)
    assert refused.value.code == "exchange.global_conf_outdated"


@pytest.mark.parametrize("version", [2, 7])
def test_tm03_other_versions_are_refused(version: int) -> None:
    with pytest.raises(Refused) as refused:
        verify(signed(version=version))
    assert refused.value.code == "exchange.global_conf.version"


def test_tm03_weak_algorithms_are_refused() -> None:
    for uri in (b"http://www.w3.org/2000/09/xmldsig#rsa-sha1", b"http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha512"):
        data = signed().replace(b"http://www.w3.org/2001/04/xmldsig-more#rsa-sha512", uri)
        with pytest.raises(Refused) as refused:
            verify(data)
        assert refused.value.code == "exchange.global_conf.algorithm"
    with pytest.raises(Malformed):
        parse_directory(signed().replace(b"xmlenc#sha512\r\n", b"xmldsig#sha1\r\n", 1))


# ------------------------------------------------------------------ tolerance


def test_line_feeds_alone_are_read_and_signed_over_as_they_stand() -> None:
    data = signed().replace(b"\r\n", b"\n")
    assert parse_directory(data).parts == PARTS
    with pytest.raises(Refused):  # other bytes than those that were signed
        verify(data)


def test_case_of_header_names_and_kinds_of_quotes_do_not_matter() -> None:
    data = signed().replace(b"Content-identifier: ", b"CONTENT-Identifier:").replace(b"'DEV'", b'"DEV"')
    data = data.replace(b"Signature-Algorithm-Id", b"signature-algorithm-id").replace(b'id="http', b"id='http")
    data = data.replace(b'#sha512"', b"#sha512'")
    assert parse_directory(data).parts == PARTS


def test_the_last_inner_delimiter_may_be_missing() -> None:
    assert verify(resigned((b"Version: 6", b"Version: 6"), drop_last=True)).parts == PARTS


def test_part_headers_may_end_with_the_next_delimiter() -> None:
    assert verify(resigned((b"Version: 6\r\n\r\n", b"Version: 6\r\n"))).parts == PARTS


# ------------------------------------------------------------------ TM-08


@pytest.mark.parametrize(
    "location",
    [
        "/../secret.xml",
        "/V6/../../etc/passwd",
        "//evil.test/shared-params.xml",
        "http://evil.test/shared-params.xml",
        "shared-params.xml",
        "/V6/%2e%2e/x",
        "/V6/.hidden",
        "/V6\\x",
        "/V6/a b",
        "/V6/x?y=1",
        "/V6/x#y",
        "/V6//x",
        "/@evil.test/x",
        "/V6/" + "a" * 200,
        "/a" * 9,
        "",
    ],
)
def test_tm08_a_location_is_a_plain_path_on_the_same_host(location: str) -> None:
    data = resigned((b"/V6/20251110170000548026000/shared-params.xml", location.encode()))
    with pytest.raises(Malformed):
        parse_directory(data)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Version: 6\r\n", b"Version: 6\r\nversion: 5\r\n"),
        (b"Version: 6\r\n", b"Version: six\r\n"),
        (b"Version: 6\r\n", b"Version 6\r\n"),
        (b"Version: 6\r\n", b"Version: 6\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(20))),
        (b"Expire-date: ", b"Expired: "),
        (b"17:10:00Z", b"17:10:00"),
        (b"-11-10T", b"-11-31T"),
        (b"Content-transfer-encoding: base64", b"Content-transfer-encoding: 8bit"),
        (b"SHARED-PARAMETERS; instance='DEV'", b"SHARED-PARAMETERS; instance='DEV"),
        (b"SHARED-PARAMETERS; instance='DEV'", b"SHARED-PARAMETERS; instance=''"),
        (b"SHARED-PARAMETERS; instance='DEV'", b"SHARED-PARAMETERS; instance='../x'"),
        (b"SHARED-PARAMETERS; instance='DEV'", b"../SHARED"),
        (b"PRIVATE-PARAMETERS; ", b"SHARED-PARAMETERS; "),
        (b"==\r\n", b"=\r\n"),
        (b"==\r\n", b"==AA\r\n"),
        (b"xmlenc#sha512", b"xmlenc#sha256"),
        (b"--inner--\r\n", b"--inner--\r\nafter\r\n"),
        (b"--inner--\r\n", b"--innerx\r\n"),
    ],
)
def test_tm08_odd_parts_are_malformed_even_when_signed(old: bytes, new: bytes) -> None:
    with pytest.raises(Malformed):
        parse_directory(resigned((old, new)))


def test_tm08_the_structure_is_exactly_two_parts() -> None:
    data = signed()
    end = b"--lmyAPTb9i7P4fQ7MmpnZ--\r\n"
    third = b"--lmyAPTb9i7P4fQ7MmpnZ\r\nX: y\r\n\r\nz\r\n" + end
    for changed in (data.replace(end, third), data + b"x", data.replace(end, b""), data[:40], b"", b"\r\n" * 2000):
        with pytest.raises(Malformed):
            parse_directory(changed)


def test_tm08_huge_directories_are_malformed() -> None:
    for data in (b"x" * (MAX_DIRECTORY_BYTES + 1), b"X: " + b"y" * 9000 + b"\r\n\r\n", b"--a\r\n" * 5000):
        with pytest.raises(Malformed):
            parse_directory(data)
    many = [part_of(f"P{i}", "DEV", f"/V6/{i}", b"") for i in range(33)]
    to_sign = build_directory(version=6, expires_at=EXPIRES, parts=many, boundary="inner")
    with pytest.raises(Malformed):
        parse_directory(
            sign_directory(to_sign, key=KEYS["p256"].key, certificate=KEYS["p256"].certificate, boundary="outer")
        )


def test_mixed_line_endings_are_malformed() -> None:
    with pytest.raises(Malformed):
        parse_directory(signed().replace(b"Version: 6\r\n", b"Version: 6\n"))


def test_only_parts_that_a_reader_takes_are_written() -> None:
    for part in (part_of("../x", None, "/V6/x", b""), part_of("X", None, "/../x", b""), part_of("X", "a/b", "/x", b"")):
        with pytest.raises(Malformed):
            build_directory(version=6, expires_at=EXPIRES, parts=[part], boundary="inner")
    with pytest.raises(Malformed):
        sign_directory(
            build_directory(version=6, expires_at=EXPIRES, parts=PARTS, boundary="same"),
            key=KEYS["rsa"].key,
            certificate=KEYS["rsa"].certificate,
            boundary="same",
        )


def test_the_time_in_a_location_is_read_when_there_is_one() -> None:
    assert parse_generated_at("/V6/20251110170000548026000/x") == AT
    for location in ("/V6/x", "/V6/20251310170000548026000/x", "/V6/2025111017000054802600/x"):
        assert parse_generated_at(location) is None


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_directory_is_refused_or_says_the_same(data: st.DataObject) -> None:
    changed = data.draw(damaged(SIGNED))
    try:
        verified = verify(changed, kind="p256")
    except (Malformed, Refused):
        return
    assert (verified.version, verified.expires_at, verified.parts) == (6, EXPIRES, PARTS)


@given(st.binary(max_size=300))
def test_only_malformed_escapes(data: bytes) -> None:
    only_raises(DigiidError, lambda: parse_directory(data))
