"""Ports that are given out are free, and are given once."""

import pytest

from digiid.platform import ports


@pytest.fixture(autouse=True)
def own_range():
    before = tuple(ports._range)
    yield
    ports.choose_from(*before)


def test_no_port_is_given_twice_even_while_nobody_listens_on_it() -> None:
    ports.choose_from(31_000, 31_040)
    given = [ports.free_ports(1)[0] for _ in range(10)]
    assert len(set(given)) == 10
    assert all(31_000 <= port < 31_040 for port in given)
    with pytest.raises(OSError, match="no free port"):
        ports.free_ports(31)


def test_what_is_beside_a_port_is_given_with_it() -> None:
    ports.choose_from(31_100, 31_160)
    (port,) = ports.free_ports(1, beside=(50,))
    assert port + 50 < 31_160
    others = ports.free_ports(20)
    assert not {port, port + 50} & set(others)
