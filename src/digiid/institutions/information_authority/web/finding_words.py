"""What each finding of a validation means to a person who does not read the validator's English words.

One sentence without parameters for every code of docs/reference/report-codes.md, and for what decides a verdict among
the codes of docs/error-codes.md. The validator's own words tell the particulars, and stand beside the sentence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from digiid.formats.validation import Finding
from digiid.platform.web import N_

_WEAK: Final = N_("An algorithm or key was used that does not count as strong enough.")
_CHANGED: Final = N_("A file was changed after it was signed.")
_MISSING: Final = N_("A file that was signed is not in the container.")
_KEY: Final = N_("It was not made with its certificate's key, or was changed.")
_WHOSE: Final = N_("It is not certain which certificate it was made with.")

SENTENCES: Final[Mapping[str, str]] = {
    # the container (EN 319 162-1, and what the names of its files look like)
    "asic.asic_manifest.no_signature": N_(
        "A list of signed files belongs to a signature that is not in the container."
    ),
    "asic.empty_file": N_("A file in the container is empty."),
    "asic.evidence_record": N_("The container holds one more proof, of a kind that is not judged here."),
    "asic.manifest.mismatch": N_("The container's list of its files does not match the files in it."),
    "asic.manifest.missing": N_("The container has no list of its files."),
    "asic.mimetype.absent": N_(
        'The file "mimetype", which says what kind of container this is, should be the first one.'
    ),
    "asic.mimetype.byte_order_mark": N_('The file "mimetype" begins with a mark that does not belong there.'),
    "asic.mimetype.compressed": N_('The file "mimetype" is compressed and should not be.'),
    "asic.mimetype.extra": N_('The container says more about the file "mimetype" than it should.'),
    "asic.mimetype.not_first": N_(
        'The file "mimetype", which says what kind of container this is, is not the first one.'
    ),
    "asic.mimetype.other": N_('The file "mimetype" names something else than a signed container.'),
    "asic.mimetype.white_space": N_('The file "mimetype" has spaces or line breaks that do not belong there.'),
    "asic.name.alike": N_("The name of a file is easily taken for that of another."),
    "asic.name.hidden": N_(
        "The name of a file has characters that cannot be seen or that change the order of the others."
    ),
    "asic.name.mixed_scripts": N_("The name of a file mixes letters of different scripts in one word."),
    "asic.simple.signature_file": N_("The signature stands in the container under a name that it must not have."),
    "asic.simple.token_file": N_("The time stamp does not stand in the container under the name that it must have."),
    "asic.unknown_meta_file": N_("Among the container's own files is one that no signature covers."),
    # what was signed, and with which key
    "cms.algorithm": _WEAK,
    "cms.attributes": N_("It does not say everything that it must."),
    "cms.digest": _CHANGED,
    "cms.signature": _KEY,
    "cms.signer_certificate": _WHOSE,
    "validation.cades.manifest": N_("It is not certain which files the signature covers."),
    "validation.cades.object": _CHANGED,
    "validation.cades.object_missing": _MISSING,
    "validation.container": N_("The container and the signature do not fit together."),
    "validation.file_not_signed": N_("A file in the container is not signed."),
    "validation.hashcode": N_("The container holds only digests in the place of the files."),
    "validation.media_type": N_("The container calls a file another kind of file than the signer did."),
    "validation.media_type_missing": N_("The signature does not say what kind of file one of the files is."),
    "validation.nested.depth": N_("A container inside the container was not judged: too many lie in one another."),
    "validation.nested.pdf": N_(
        "The signatures of a PDF file in the container were not judged. Take the file out and validate it by itself."
    ),
    "validation.no_signature": N_("The document has no signature."),
    "validation.property_ignored": N_("Something that the signature says was not taken into account."),
    "validation.repeated_signature": N_("This signature stands in the document more than once."),
    "validation.signature_policy": N_("The signature follows rules that are not known here."),
    "validation.signing_time": N_("The signature does not say when it was made."),
    "validation.weak_hash": N_("A weak algorithm was used."),
    "validation.weak_issuer_key": N_(
        "The key of whoever issued the signer's certificate was too weak at the time of signing."
    ),
    "validation.weak_key": N_("The signer's key was too weak at the time of signing."),
    "xades.certificate.mismatch": _WHOSE,
    "xades.certificate.missing": N_("The signer's certificate is not in the signature."),
    "xades.certificate.unsigned": N_("The signature does not name the certificate that it was made with."),
    "xades.key_mismatch": _KEY,
    "xades.reference.digest": _CHANGED,
    "xades.reference.missing": _MISSING,
    "xades.signature_value": _KEY,
    # the signer's certificate, and whether it was in force
    "validation.crl_after_expiry": N_(
        "The list of annulled certificates was made after the certificate had expired, and may not name it any more."
    ),
    "validation.crl_before_time_stamp": N_(
        "The list of annulled certificates is older than the signature: it says nothing about the moment of signing."
    ),
    "validation.crl_from_future": N_(
        "The list of annulled certificates bears a time that is still to come, so it cannot be relied on."
    ),
    "validation.crl_issuer": N_(
        "The issuer's own certificate was not valid when it made the list of annulled certificates."
    ),
    "validation.crl_weak_key": N_(
        "The key of the list of annulled certificates is too weak now, and nothing proves that it was made earlier."
    ),
    "validation.expired": N_("The signer's certificate had expired at the time that is proven for the signature."),
    "validation.key_usage": N_("The signer's certificate was not made for signing documents."),
    "validation.no_chain": N_("Nobody on the trusted list vouches for the signer's certificate."),
    "validation.no_revocation_data": N_("There is no confirmation that the signer's certificate was in force."),
    "validation.not_yet_valid": N_("The signer's certificate was not valid yet when it was used."),
    "validation.ocsp_before_time_stamp": N_(
        "The confirmation of the certificate is older than the time stamp of the signature."
    ),
    "validation.ocsp_from_future": N_(
        "The confirmation of the certificate bears a time that is still to come, so it cannot be relied on."
    ),
    "validation.ocsp_late": N_("The certificate was confirmed more than 15 minutes after the time stamp."),
    "validation.ocsp_stale": N_(
        "The confirmation of the certificate says how things stood earlier, and not at the time of signing."
    ),
    "validation.ocsp_weak_key": N_(
        "The key of the confirmation is too weak now, and nothing proves that the confirmation was given earlier."
    ),
    "validation.on_hold": N_("The signer's certificate was suspended when it was used."),
    "validation.out_of_bounds": N_(
        "The signer's certificate is not valid now, and nothing proves that it was used while it was."
    ),
    "validation.revoked": N_("The signer's certificate is annulled, and nothing proves that it was used before that."),
    "validation.service_not_granted": N_(
        "Whoever issued the signer's certificate was not recognised as a qualified service at the time of signing."
    ),
    "validation.status_unknown": N_("The service that confirms certificates does not know the signer's certificate."),
    "x509.algorithm": _WEAK,
    "x509.public_key": _WEAK,
    # when it was signed, and what proves that
    "tsp.imprint": _WEAK,
    "tsp.time": N_("The certificate of the time stamp was not valid when the time stamp was made."),
    "tsp.usage": N_("The certificate of the time stamp was not made for time stamps."),
    "validation.archive_time_stamp": N_("A time stamp that was added so that the document lasts was not counted."),
    "validation.archive_time_stamp_broken": N_(
        "A time stamp that was added so that the document lasts is damaged, or belongs to something else."
    ),
    "validation.archive_time_stamp_not_qualified": N_(
        "A time stamp that was added so that the document lasts does not come from a qualified service."
    ),
    "validation.no_time_stamp": N_("The signature has no time stamp: nothing proves when it was made."),
    "validation.no_valid_time_stamp": N_("No time stamp of the signature is valid: nothing proves when it was made."),
    "validation.time_mark": N_("The confirmation of the certificate does not prove when this signature was made."),
    "validation.time_mark_archived": N_("The signature has time stamps that do not go with its old format."),
    "validation.time_mark_policy": N_("The signature does not say properly which rules it follows."),
    "validation.time_stamp": N_("A time stamp is not valid."),
    "validation.time_stamp_order": N_("A time stamp is older than another one that it covers."),
    "validation.token.aged": N_(
        "The time stamp proves nothing any more: its key is too weak, or its certificate has expired."
    ),
    "validation.token.future": N_("The time stamp bears a time that is still to come, so it cannot be relied on."),
    "validation.token.imprint": N_(
        "The file was changed after it was time-stamped, or the time stamp belongs to another file."
    ),
    "validation.token.manifest": N_("Nothing says which files the time stamp covers."),
    "validation.token.missing": N_(
        "A list of time-stamped files belongs to a time stamp that is not in the container."
    ),
    "validation.token.none_covers": N_("No valid time stamp covers the file."),
    "validation.token.not_covering": N_("The time stamp does not cover every file in the container."),
    "validation.token.not_covering_all": N_(
        "The time stamp leaves out something that stood in the container before it."
    ),
    "validation.token.not_granted": N_(
        "The time-stamping service was not recognised as a qualified one when it made the time stamp."
    ),
    "validation.token.not_granted_now": N_("The time-stamping service is not recognised as a qualified one any more."),
    "validation.token.not_listed": N_("Nobody on the trusted list vouches for the time stamp."),
    "validation.token.not_qualified": N_("The time stamp does not come from a qualified service."),
    "validation.token.not_valid": N_("A time stamp in the container is not valid."),
    "validation.token.object": N_("A file was changed after it was time-stamped."),
    "validation.token.object_missing": N_("A file that was time-stamped is not in the container."),
    "validation.token.order": N_("A time stamp is older than another one that it covers."),
    # PDF files
    "validation.pades.changed": N_(
        "The document was changed after it was signed, or it cannot be told what was added to it."
    ),
    "validation.pades.filled": N_("Forms in the document were filled in after it was signed."),
    "validation.pades.signers": N_("A signature in the PDF file has no signer, or more than one."),
    "validation.pades.signing_time": N_(
        "The time that the signer claims stands once more in a place where it should not."
    ),
    "validation.pades.structure": N_("The signature does not stand in the PDF file as it must."),
    "validation.pades.sub_filter": N_("The signature in the PDF file is of a kind that is not accepted."),
    # DDOC
    "validation.ddoc.alternate_digest": N_("The digest of a file was made in another way than the format asks for."),
    "validation.ddoc.detached": N_("One of the files is not in the document, only its digest is."),
    "validation.ddoc.file_id": N_("A file in the document is numbered in a way that the format does not know."),
    "validation.ddoc.name_unsigned": N_(
        "In a document of this age the signature covers what stands in the files, and not their names."
    ),
    "validation.ddoc.nonce": N_("The confirmation of the certificate was given for another signature."),
    "validation.ddoc.old_format": N_("The signature is in an old format that no program writes any more."),
    "validation.ddoc.path": N_("The name of a file leads into a folder. Save the file under a name of your own."),
    "validation.ddoc.sha1": N_(
        "The document was signed with an old algorithm (SHA-1) that does not count as reliable any more."
    ),
    "validation.ddoc.size": N_("A file has another size than the document says."),
    # the legal level
    "validation.policy.level": N_("The signature is not of the legal level that is asked for here."),
    "validation.policy.level_not_asked": N_("No legal level is asked of signatures in this old format."),
    "validation.policy.level_tolerated": N_("The signature is not a qualified electronic signature."),
}
# Of the others only what could not be used: the first part of the code tells.
FAMILIES: Final[Mapping[str, str]] = {
    "ocsp.": N_("The confirmation of the certificate cannot be used."),
    "x509.": N_("A certificate, or the list of those that were annulled, cannot be relied on."),
    "tsp.": N_("A time stamp cannot be used."),
}
GENERAL: Final = N_("A part of the document cannot be read as it should be.")
# What the validator says of warnings that may be set aside, word for word (`HARMLESS` in its findings.py).
MEANINGS: Final = (
    N_("An empty file can be signed; it just says nothing."),
    N_("Look twice at what kind of file it is before you open it."),
    N_("Letters of other scripts can look the same. Look twice at which file it is."),
    N_("They look the same and are two files. Look twice at which one you open."),
    N_("Count it once."),
    N_("Some programs will not recognise the file; the signatures are not affected."),
    N_("There is none, so some programs will not open the file; the signatures are not affected."),
    N_("Some programs will not open the file; the signatures are not affected."),
    N_("Nobody signed that file. Do not rely on it."),
    N_("Nothing rests on that list in a container of this kind."),
    N_("It would prove more than what is told here; it takes nothing away."),
    N_("Let the document be time-stamped, before SHA-1 does not hold at all any more."),
    N_("Compare the file that you have with that digest before you rely on it."),
    N_("The content is what was signed; only its stated size is wrong."),
    N_("No program writes it any more; what was signed in it is judged all the same."),
    N_("An old program digested the file in its own way; the content is the same."),
    N_("The format is older than the levels; the level is told for information."),
    N_("The time-stamp says since when the file exists, and nothing about signatures in it."),
    N_("The time-stamp says since when the files exist, and not who wrote them."),
    N_("Another time-stamp covers the file."),
    N_("Another time-stamp covers it."),
    N_("It was right when it was made; let the container be stamped again."),
    N_("The certificate was confirmed later than is usual; it was in force all the same."),
    N_("Old programs signed with it. In a new signature it must not be used."),
    N_("It does not change the verdict."),
    N_("The verdict stands without it; have the document stamped anew if it is to last."),
    N_("Compare your files with those digests before you rely on it."),
    N_(
        "It is an advanced signature on a qualified certificate: "
        "legally weaker than one by hand, unless you have agreed otherwise."
    ),
)


@dataclass(frozen=True, slots=True)
class PlainFinding:
    """What was found once or several times: a sentence and its meaning, to be translated, and all exact words."""

    code: str
    matters: bool
    sentence: str
    meaning: str
    exact: Sequence[str]


def in_plain_words(findings: Sequence[Finding]) -> list[PlainFinding]:
    """The findings in their order; those of one kind are told together, where the first stood."""
    kinds: dict[tuple[str, bool, str], list[str]] = {}
    for finding in findings:
        kinds.setdefault((finding.code, finding.matters, finding.meaning), []).append(finding.text)
    return [
        PlainFinding(code, matters, sentence_of(code), meaning, exact)
        for (code, matters, meaning), exact in kinds.items()
    ]


def sentence_of(code: str) -> str:
    """In English, to be translated."""
    family = next((sentence for start, sentence in FAMILIES.items() if code.startswith(start)), GENERAL)
    return SENTENCES.get(code, family)
