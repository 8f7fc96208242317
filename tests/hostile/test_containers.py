"""Every class of hostile container ends in a refusal or in a verdict that is not valid, says why, and costs little.

The names of the cases are the coverage: `pytest tests/hostile --collect-only -q` lists them.
"""

import io
import time

import pytest

from digiid.formats.validation import POLV3, Report, Severity, list_findings, validate_container
from digiid.kernel.errors import Malformed
from tests.hostile import archives, cades, proofs, signatures
from tests.hostile.case import GOOD, TRUST, Case
from tests.support.pki import AT

CASES = [*archives.all_cases(), *signatures.all_cases(), *cades.all_cases(), *proofs.all_cases()]
assert len({str(case) for case in CASES}) == len(CASES)


def _judge(case: Case, container: bytes) -> Report | Malformed:
    try:
        return validate_container(
            io.BytesIO(container), trust=case.trust, at=case.at, policy=POLV3, file_name="hostile.asice"
        )
    except Malformed as error:
        return error


def _messages(report: Report) -> list[tuple[str, str]]:
    found = [(message.code, message.text) for message in report.messages]
    for signature in report.signatures:
        found += [(message.code, message.text) for message in signature.messages]
        found += [("time_stamp", stamp.text) for stamp in signature.time_stamps if stamp.text]
    return found


def test_the_container_that_the_cases_spoil_is_valid() -> None:
    report = validate_container(io.BytesIO(GOOD), trust=TRUST, at=AT)
    assert report.is_valid
    assert not _messages(report)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_hostile(case: Case) -> None:
    container = case.make()
    begin = time.process_time()
    outcome = _judge(case, container)
    spent = time.process_time() - begin
    if isinstance(outcome, Malformed):
        assert case.indication is None, outcome
        assert outcome.code.startswith(case.code)
        assert case.says in outcome.detail
    else:
        outcome.to_simple_report()
        list_findings(outcome)
        messages = _messages(outcome)
        assert outcome.is_valid == case.is_odd, messages
        assert case.indication is not None, messages
        if case.indication:
            assert case.indication in [str(signature.indication) for signature in outcome.signatures], messages
        if case.sub_indication:
            assert case.sub_indication in [str(signature.sub_indication) for signature in outcome.signatures], messages
        assert any(code.startswith(case.code) and case.says in text for code, text in messages), messages
        if case.is_odd:
            told = [*outcome.messages, *(message for signature in outcome.signatures for message in signature.messages)]
            assert any(message.severity is Severity.WARNING for message in told)
    assert spent < case.seconds
