"""The validation report on paper: the same words as the page, in the visitor's language."""

from collections.abc import Callable, Sequence
from datetime import datetime

from digiid.formats.validation import Finding
from digiid.institutions.information_authority.web.finding_words import in_plain_words
from digiid.institutions.information_authority.web.words import Explained, ExplainedSignature, ExplainedToken
from digiid.platform.printing import PrintedPage
from digiid.platform.web import N_
from digiid.platform.web.dates import format_instant

Instant = Callable[[datetime | None], str]
Translate = Callable[[str], str]
Say = Callable[[Sequence[Finding]], list[str]]
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

    def say(findings: Sequence[Finding]) -> list[str]:
        return _exact_sentences(findings, translate) if language == "en" else _plain_sentences(findings, translate)

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
        _signature(page, number, signature, instant=instant, say=say, translate=translate)
    for number, token in enumerate(explained.tokens, 1):
        _token(page, number, token, instant=instant, say=say, translate=translate)
    # 3 what is odd about the container, and what lies in it
    if explained.findings:
        page.heading(translate(N_("About the document")))
        page.bullets(say(explained.findings))
    if report.form is not None:  # a PDF file holds no files
        page.heading(translate(N_("Files in the container")))
        page.bullets(report.data_files or [translate(N_("none"))])
    return page.to_bytes()


def _signature(
    page: PrintedPage, number: int, signature: ExplainedSignature, *, instant: Instant, say: Say, translate: Translate
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
    _judged(page, signature, rows, say, translate)


def _token(
    page: PrintedPage, number: int, token: ExplainedToken, *, instant: Instant, say: Say, translate: Translate
) -> None:
    page.heading(f"{translate(N_('Time stamp'))} {number}")
    _judged(page, token, [(translate(N_("Time")), instant(token.report.gen_at))], say, translate)


def _judged(
    page: PrintedPage,
    judged: ExplainedSignature | ExplainedToken,
    rows: Sequence[tuple[str, str]],
    say: Say,
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
            (translate(N_("Files")), ", ".join(scope.name for scope in report.scopes if scope.kind != "ARCHIVED")),
        ]
    )
    page.bullets(say(judged.findings))


def _exact_sentences(findings: Sequence[Finding], translate: Translate) -> list[str]:
    sentences = []
    for finding in findings:
        said = finding.text if finding.text.endswith((".", "!", "?")) else f"{finding.text}."
        words = " ".join(filter(None, (said, finding.meaning, f"({finding.code})")))
        sentences.append(f"{_weight(finding.matters, translate)}: {words}")
    return sentences


def _plain_sentences(findings: Sequence[Finding], translate: Translate) -> list[str]:
    """The translated sentence and meaning, and after them the validator's exact words."""
    label, sentences = translate(N_("Exact words")), []
    for finding in in_plain_words(findings):
        words = " ".join(translate(text) for text in (finding.sentence, finding.meaning) if text)
        exact = "; ".join(finding.exact)
        sentences.append(f"{_weight(finding.matters, translate)}: {words} {label}: {exact} ({finding.code})")
    return sentences


def _weight(matters: bool, translate: Translate) -> str:
    return translate(N_("This matters") if matters else N_("For your information"))
