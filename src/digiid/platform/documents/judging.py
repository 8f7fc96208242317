"""One judge for every signed form: what a file is, is read from its first bytes and never from its name."""

from datetime import datetime
from typing import BinaryIO

from digiid.formats.asic import Limits
from digiid.formats.trusted_list import VerifiedTrust
from digiid.formats.validation import POLV4, Policy, Report, validate_container
from digiid.formats.validation.ddoc import validate_ddoc
from digiid.formats.validation.pades import validate_pdf
from digiid.formats.validation.time_stamped import SNIFFED_BYTES, sniff
from digiid.kernel.errors import Malformed
from digiid.platform.pdf import MAX_PDF_BYTES, read_pdf


def validate_document(
    file: BinaryIO,
    *,
    trust: VerifiedTrust,
    at: datetime,
    policy: Policy = POLV4,
    file_name: str = "",
    limits: Limits | None = None,
) -> Report:
    """Judge a container, a DigiDoc document or a PDF file at `at`, and what a time-stamped container holds.

    Raises: Malformed `validation.unknown_form`, it is no form that is judged here; whatever its parser refuses.
    """

    def judge_pdf(file: BinaryIO, name: str, at: datetime) -> Report:
        pdf = read_pdf(file.read(MAX_PDF_BYTES + 1))
        return validate_pdf(pdf, trust=trust, at=at, policy=policy, file_name=name)

    kind = sniff(file.read(SNIFFED_BYTES))
    file.seek(0)
    if kind == "DDOC":
        return validate_ddoc(file, trust=trust, at=at, policy=policy, file_name=file_name)
    if kind == "ZIP":
        return validate_container(
            file, trust=trust, at=at, policy=policy, file_name=file_name, limits=limits, judge_pdf=judge_pdf
        )
    if kind == "PDF":
        return judge_pdf(file, file_name, at)
    raise Malformed("validation.unknown_form", "the file is no signed document that is known here")
