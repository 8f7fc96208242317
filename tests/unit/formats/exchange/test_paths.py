import pytest

from digiid.formats.exchange.paths import check_unambiguous_path
from digiid.kernel.errors import Refused


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/a",
        "/a/",
        "/a/b.json",
        "/a/%C3%B5",
        "/a/%E0%A4%85",
        "/a/%F0%9F%98%80",
        "/a/..b",
        "/a/...",
        "/a;v=1",
        "/%20",
    ],
)
def test_the_string_matched_is_the_string_sent(path):
    assert check_unambiguous_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "a",
        "/a/%2Fb",
        "/a/%2fb",
        "/a/%252fb",
        "/a/%25252Fb",
        "/a/%5Cb",
        "/a/%5cb",
        "/a/%255cb",
        "/a/\\b",
        "/a/.",
        "/a/./b",
        "/a/../b",
        "/a/..",
        "/a/%2e/b",
        "/a/%2E%2e/b",
        "/a/.%2E/b",
        "/a/%252e%252e/b",
        "/a/..;x=1/b",
        "/a/%2e%2e;/b",
        "/a/%c0%ae%c0%ae/b",
        "/a/%C0%AFb",
        "/a/%e0%80%ae/b",
        "/a/%f0%80%80%ae/b",
        "/a/%25c0%25ae/b",
        "//a",
        "/a//b",
        "/a%00",
        "/a%",
        "/a%2",
        "/a%zz",
        "/a b",
        "/a?b",
        "/a#b",
        "/õ",
        "/a\r\n",
        "/a\n",
        "/" + "a" * 9000,
    ],
)
def test_a_path_that_two_programs_could_read_differently_is_refused(path):
    with pytest.raises(Refused) as refused:
        check_unambiguous_path(path)
    assert refused.value.code == "exchange.path"
