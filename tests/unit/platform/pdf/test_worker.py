"""The process that waits is replaced when it has ended; no file meets what is left of the one before."""

import os
import signal

import pytest

from digiid.kernel.errors import Broken, Malformed, Unavailable
from digiid.platform import pdf
from digiid.platform.pdf import MAX_PDF_BYTES, Placeholder, add_store, fill_placeholder, read_pdf
from tests.support.pdf import good_pdf, plain_pdf


def test_it_is_started_again_when_it_was_killed() -> None:
    read_pdf(plain_pdf())
    process = pdf._workers._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(read_pdf(good_pdf()).signatures) == 1


def test_only_so_many_are_read_at_once() -> None:
    workers = pdf._Workers(at_once=1, wait_seconds=0.05)
    with workers.connection():
        with pytest.raises(Unavailable) as busy, workers.connection():
            pass
        assert busy.value.code == "pdf.busy"
    with workers.connection():  # there is room again
        pass
    workers._end()


def test_what_is_larger_than_is_read_is_refused() -> None:
    with pytest.raises(Malformed) as malformed:
        read_pdf(b"%PDF-1.7" + bytes(MAX_PDF_BYTES))
    assert malformed.value.code == "pdf.limits"


def test_what_is_in_the_store_already_is_not_added_again() -> None:
    stored = read_pdf(good_pdf()).store
    again = add_store(good_pdf(), certificates_der=stored.certificates_der, ocsp_der=stored.ocsp_der)
    assert again == good_pdf()


def test_a_value_that_does_not_fit_is_our_own_fault() -> None:
    with pytest.raises(Broken) as broken:
        fill_placeholder(Placeholder(b"<0000>", "Signature1", 0, 6), b"\x01\x02\x03")
    assert broken.value.code == "pdf.reserved"
