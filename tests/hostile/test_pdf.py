"""Every class of hostile PDF file ends in a refusal or in a verdict that is not valid, says why, and costs little.

The names of the cases are the coverage: `pytest tests/hostile/test_pdf.py --collect-only -q` lists them.
"""

import io
import time

import pytest

from digiid.formats.validation import POLV3, Report, Severity, list_findings
from digiid.kernel.errors import Malformed
from digiid.platform.documents.judging import validate_document
from tests.hostile import pdf
from tests.hostile.case import TRUST, Case
from tests.support.pdf import good_pdf, with_time_stamp
from tests.support.pki import AT

CASES = list(pdf.all_cases())
assert len({str(case) for case in CASES}) == len(CASES)


def _judge(case: Case, content: bytes) -> Report | Malformed:
    try:
        return validate_document(io.BytesIO(content), trust=case.trust, at=case.at, policy=POLV3, file_name="a.pdf")
    except Malformed as error:
        return error


def _messages(report: Report) -> list[tuple[str, str]]:
    found = [(message.code, message.text) for message in report.messages]
    for signature in (*report.signatures, *report.time_stamp_tokens):
        found += [(message.code, message.text) for message in signature.messages]
    return found


@pytest.mark.parametrize("stamped", [False, True])
def test_the_document_that_the_cases_spoil_is_valid(stamped: bool) -> None:
    content = with_time_stamp(good_pdf()) if stamped else good_pdf()
    report = validate_document(io.BytesIO(content), trust=TRUST, at=AT)
    assert report.is_valid
    assert not _messages(report)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_hostile(case: Case) -> None:
    content = case.make()
    begin = time.monotonic()
    outcome = _judge(case, content)
    assert time.monotonic() - begin < 5 * case.seconds  # a process of its own, on a machine that does other things too
    if isinstance(outcome, Malformed):
        assert case.indication is None, outcome
        assert outcome.code.startswith(case.code)
        assert case.says in outcome.detail
        return
    outcome.to_simple_report()
    list_findings(outcome)
    messages = _messages(outcome)
    assert outcome.is_valid == case.is_odd, messages
    assert case.indication is not None, messages
    assert any(code.startswith(case.code) and case.says in text for code, text in messages), messages
    if case.indication:
        verdicts = {(str(one.indication), str(one.sub_indication or "")) for one in outcome.signatures}
        expected = (case.indication, case.sub_indication or "")
        assert expected in verdicts or (case.sub_indication == "" and expected[0] in {one for one, _ in verdicts})
    assert case.is_odd or any(message for message in messages if Severity.ERROR)
