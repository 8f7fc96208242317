"""The validation report on paper: the same words as the page, in the visitor's language."""

from collections.abc import Callable, Sequence
from datetime import datetime

from digiid.formats.validation import Finding
from digiid.institutions.information_authority.web.words import Explained, ExplainedSignature, ExplainedToken
from digiid.platform.printing import PrintedPage
from digiid.platform.web import N_
from digiid.platform.web.dates import format_instant

Instant = Callable[[datetime | None], str]
Translate = Callable[[str], str]
TITLE = N_("Validation report")
FOOT = N_("Judged by the state portal; the report itself is not signed")


def build_report_pdf(explained: Explained, *, sha256: str, language: str, translate: Translate) -> bytes:
    """The report as PDF. `sha256` (hexadecimal) is of the file that was judged, so that both can be kept together."""
    report = explained.report
    page = PrintedPage(
        title=f"{translate(TITLE)}: {report.file_name}",
        language=language,
        foot=translate(FOOT),
        created_at=report.validated_at,
    )

    def instant(at: datetime | None) -> str:
        return format_instant(at, language) or "–"

    # 1 what was judged, and the answer
    page.heading(translate(TITLE), size=20)
    page.verdict(
        translate(N_("Valid") if report.is_valid else N_("Not valid")), tone="green" if report.is_valid else "red"
    )
    page.paragraph(translate(explained.meaning))
    page.pairs(
        [
            (translate(N_("File")), report.file_name),
            ("SHA-256", sha256),
            (translate(N_("Judged")), instant(report.validated_at)),
            (translate(N_("Policy")), report.policy_name),
            (translate(N_("Valid signatures")), f"{report.valid_count} / {len(report.signatures)}"),
        ]
    )
    # 2 each signature
    for number, signature in enumerate(explained.signatures, 1):
        _signature(page, number, signature, instant, translate)
    for number, token in enumerate(explained.tokens, 1):
        _token(page, number, token, instant, translate)
    # 3 what is odd about the container, and what lies in it
    if explained.findings:
        page.heading(translate(N_("About the document")))
        page.bullets(_sentences(explained.findings, translate))
    if report.form is not None:  # a PDF file holds no files
        page.heading(translate(N_("Files in the container")))
        page.bullets(report.data_files or [translate(N_("none"))])
    return page.to_bytes()


def _signature(
    page: PrintedPage, number: int, signature: ExplainedSignature, instant: Instant, translate: Translate
) -> None:
    report = signature.report
    page.heading(f"{translate(N_('Signature'))} {number}: {report.signed_by or translate(N_('unknown signer'))}")
    rows = [
        *([(translate(N_("Kind")), translate(signature.kind))] if signature.kind else []),
        (translate(N_("Signed at the latest")), instant(report.best_signature_at)),
        (translate(N_("Claimed time")), instant(report.claimed_signing_at)),
        (translate(N_("Status of the certificate confirmed")), instant(report.ocsp_produced_at)),
        (translate(N_("Format")), report.signature_format),
    ]
    _judged(page, signature, rows, translate)


def _token(page: PrintedPage, number: int, token: ExplainedToken, instant: Instant, translate: Translate) -> None:
    page.heading(f"{translate(N_('Time stamp'))} {number}")
    _judged(page, token, [(translate(N_("Time")), instant(token.report.gen_at))], translate)


def _judged(
    page: PrintedPage,
    judged: ExplainedSignature | ExplainedToken,
    rows: Sequence[tuple[str, str]],
    translate: Translate,
) -> None:
    """The verdict, what it means, `rows` and the facts that signatures and time stamps share, what was found."""
    report = judged.report
    page.paragraph(translate(judged.verdict), tone="green" if report.is_valid else "red")
    if judged.meaning:
        page.paragraph(translate(judged.meaning))
    sub = f" / {report.sub_indication}" if report.sub_indication else ""
    page.pairs(
        [
            *rows,
            (translate(N_("Indication")), f"{report.indication}{sub}"),
            (translate(N_("Level")), report.level),
            (translate(N_("Files")), ", ".join(scope.name for scope in report.scopes)),
        ]
    )
    page.bullets(_sentences(judged.findings, translate))


def _sentences(findings: Sequence[Finding], translate: Translate) -> list[str]:
    matters, informs = translate(N_("This matters")), translate(N_("For your information"))
    sentences = []
    for finding in findings:
        said = finding.text if finding.text.endswith((".", "!", "?")) else f"{finding.text}."
        words = " ".join(filter(None, (said, finding.meaning, f"({finding.code})")))
        sentences.append(f"{matters if finding.matters else informs}: {words}")
    return sentences
