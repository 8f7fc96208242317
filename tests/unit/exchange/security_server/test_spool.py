"""Bodies wait in memory while they are small, then in files that nobody else reads and nothing leaves behind."""

import hashlib
import stat

import pytest

from digiid.exchange.security_server.spool import SpoolFolder
from digiid.kernel.errors import Malformed, Unavailable


@pytest.fixture
def folder(tmp_path):
    return SpoolFolder(tmp_path / "spool", memory_bytes=10, max_spooled_bytes=200)


def test_a_small_body_stays_in_memory(folder):
    spool = folder.open(max_bytes=50, of="bank")
    spool.write(b"12345")
    spool.write(b"67890")
    assert not spool.is_large
    assert (spool.content(), spool.size) == (b"1234567890", 10)
    assert spool.digest() == hashlib.sha512(b"1234567890").digest()
    assert list(folder.folder.iterdir()) == []


def test_a_large_body_is_a_private_file_until_it_is_closed(folder):
    spool = folder.open(max_bytes=50, of="bank")
    spool.write(b"12345")
    spool.write(b"678901")
    assert spool.is_large
    assert spool.path.read_bytes() == b"12345678901" == b"".join(spool.pieces())
    assert stat.S_IMODE(spool.path.stat().st_mode) == 0o600
    assert spool.find_digest("sha256") == hashlib.sha256(b"12345678901").digest()
    spool.close()
    assert list(folder.folder.iterdir()) == []


def test_a_body_that_is_too_large_is_refused(folder):
    spool = folder.open(max_bytes=5, of="bank")
    with pytest.raises(Malformed, match="body_too_large"):
        spool.write(b"123456")
    with pytest.raises(Malformed, match="body_too_large"):
        folder.open(max_bytes=5, of="bank").pass_by(b"123456")


def test_all_bodies_together_have_a_limit_and_room_comes_back(folder):
    first, second, third = (folder.open(max_bytes=100, of=of) for of in ("bank", "board", "post"))
    first.write(b"x" * 90)
    second.write(b"x" * 90)
    with pytest.raises(Unavailable, match="spool_full"):
        third.write(b"x" * 60)
    third.close()
    first.close()
    again = folder.open(max_bytes=100, of="post")
    again.write(b"x" * 60)
    again.close()
    second.close()


def test_one_member_has_half_of_the_room_at_most(folder):
    slow = [folder.open(max_bytes=100, of="bank") for _ in range(3)]
    slow[0].write(b"x" * 50)
    slow[1].write(b"x" * 50)
    with pytest.raises(Unavailable, match="spool_full"):
        slow[2].write(b"x" * 11)
    other = folder.open(max_bytes=100, of="board")
    other.write(b"x" * 100)
    other.close()
    # what it had is its own again
    for spool in slow:
        spool.close()
    last = folder.open(max_bytes=100, of="bank")
    last.write(b"x" * 100)
    last.close()


def test_a_full_disk_fails_the_message_only(folder):
    spool = folder.open(max_bytes=100, of="bank")
    spool.write(b"x" * 20)
    import os

    os.close(spool._descriptor)  # as the system fails a write
    with pytest.raises(Unavailable, match=r"exchange\.spool"):
        spool.write(b"x")
    spool._descriptor = None
    spool.close()


def test_what_a_killed_process_left_is_removed(tmp_path):
    folder = SpoolFolder(tmp_path, memory_bytes=1, max_spooled_bytes=100)
    folder.open(max_bytes=50, of="bank").write(b"left behind")
    assert len(list(tmp_path.iterdir())) == 1
    SpoolFolder(tmp_path, memory_bytes=1, max_spooled_bytes=100)
    assert list(tmp_path.iterdir()) == []
