"""The processes that take PDF files apart, or append to them: pyHanko with limits around it.

One process waits with the library loaded and forks another for each question, so that no file ever meets what is left
of the one before. In: a line of JSON, then the files that it counts. Out: a line of JSON, then files again. A process
limits itself before the first byte of a file is looked at. What it appends is an incremental update (ISO 32000-2
§7.5.6): only the new bytes come back, so that nothing of the file as it was can change.
"""

import contextlib
import io
import json
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NoReturn

_MEMORY_BYTES: Final = 2 * 1024**3
_CPU_SECONDS: Final = 40
MAX_SECONDS: Final = 60
_IDLE_SECONDS: Final = 60
MAX_REVISIONS: Final = 256
MAX_FIELDS: Final = 256
MAX_STORED_VALUES: Final = 512
MAX_STORED_BYTES: Final = 8 * 1024 * 1024  # each, and all together four times that

Part = bytes
Answer = tuple[dict[str, Any], list[Part]]


class Problem(Exception):
    """Why it cannot be done: a stable code and a text."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


def serve(channel: socket.socket) -> None:
    """Wait with the library loaded, and answer every connection that comes through `channel` in a process of its own.
    Ends when the channel does, or when nobody has asked for a while."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those processes: their answers say enough
    logging.disable(logging.CRITICAL)
    _load()
    channel.settimeout(_IDLE_SECONDS)
    while True:
        try:
            _, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
        except TimeoutError:
            return
        if not descriptors:
            return
        with socket.socket(fileno=descriptors[0]) as connection:
            if os.fork() == 0:
                channel.close()
                _answer(connection)


def _answer(connection: socket.socket) -> NoReturn:
    """One question, inside limits, and the end of the process."""
    try:
        limit()
        connection.setblocking(True)
        with connection.makefile("rwb") as stream:
            asked = json.loads(stream.readline())
            parts = [stream.read(size) for size in asked["sizes"]]
            answer, made = work(asked, parts)
            answer["sizes"] = [len(part) for part in made]
            stream.write(json.dumps(answer).encode() + b"\n")
            stream.writelines(made)
    finally:
        os._exit(0)


def limit() -> None:
    """From now on this process has little of everything, and a minute to live."""
    for kind, most in (
        (resource.RLIMIT_AS, _MEMORY_BYTES),
        (resource.RLIMIT_CPU, _CPU_SECONDS),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        resource.setrlimit(kind, (most, most))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, MAX_SECONDS)


def work(asked: Mapping[str, Any], parts: Sequence[Part]) -> Answer:
    """Do what is asked. What is wrong with the file is an answer too; nothing escapes."""
    try:
        return _TASKS[asked["task"]](asked, parts)
    except Problem as problem:
        return {"problem": problem.code, "text": problem.text[:500]}, []
    except MemoryError:
        return {"problem": "pdf.limits", "text": "it needs more memory than it may have"}, []
    except RecursionError:
        return {"problem": "pdf.limits", "text": "it is nested too deeply"}, []
    except Exception as error:  # a stranger's file can raise anything in a parser
        return {"problem": "pdf.unreadable", "text": f"{type(error).__name__}: {error}"[:500]}, []


def _load() -> None:
    """Import once what every answer needs."""
    import pyhanko.pdf_utils.content
    import pyhanko.pdf_utils.incremental_writer
    import pyhanko.sign.diff_analysis
    import pyhanko.sign.signers.cms_embedder
    import pyhanko.sign.validation.pdf_embedded
    import pyhanko.stamp  # noqa: F401


# ------------------------------------------------------------------ reading


def _open(content: bytes) -> Any:
    from pyhanko.pdf_utils.reader import PdfFileReader

    if not content.startswith(b"%PDF-"):
        raise Problem("pdf.header", "the file does not begin as a PDF file does")
    reader = PdfFileReader(io.BytesIO(content), strict=True)
    if reader.encrypted:
        raise Problem("pdf.encrypted", "the file is encrypted")
    if reader.xrefs.total_revisions > MAX_REVISIONS:
        raise Problem("pdf.limits", f"more than {MAX_REVISIONS} revisions")
    if reader.xrefs.hybrid_xrefs_present:
        raise Problem("pdf.hybrid", "two kinds of cross-references that can contradict each other")
    return reader


def _signed_fields(reader: Any, *, filled: bool | None) -> list[tuple[str, Any, Any]]:
    from pyhanko.sign.fields import enumerate_sig_fields

    found: list[tuple[str, Any, Any]] = []
    for name, value, reference in enumerate_sig_fields(reader, filled_status=filled):
        if len(found) == MAX_FIELDS:
            raise Problem("pdf.limits", f"more than {MAX_FIELDS} signature fields")
        found.append((str(name), value, reference))
    return found


def _read(asked: Mapping[str, Any], parts: Sequence[Part]) -> Answer:
    """Every signature field that holds something, what became of the file after each, and the security stores."""
    reader = _open(parts[0])
    fields = _signed_fields(reader, filled=True)
    if fields:
        _check_end(reader, parts[0])
    names = {name for name, _, _ in fields}
    values = _Values()
    found = [_read_field(reader, name, reference, names, values) for name, _, reference in fields]
    answer = {
        "revisions": reader.xrefs.total_revisions,
        "signatures": found,
        "store": _read_store(reader.root, values),
    }
    return answer, values.parts


def _check_end(reader: Any, content: bytes) -> None:
    """Nothing stands behind the end of the last revision, where some readers look for objects and others do not."""
    last = reader.xrefs.get_xref_container_info(reader.xrefs.total_revisions - 1)
    end = content[last.end_location :]
    is_end = end.count(b"startxref") == end.count(b"%%EOF") == 1 and end.rstrip(b"\r\n").endswith(b"%%EOF")
    if not is_end:
        raise Problem("pdf.trailing", "something stands behind the end of the document")


class _Values:
    """Files to hand back, each once."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self._places: dict[Part, int] = {}
        self._total = 0

    def place(self, part: Part) -> int:
        if part not in self._places:
            self._total += len(part)
            if len(self.parts) == MAX_STORED_VALUES or self._total > 4 * MAX_STORED_BYTES:
                raise Problem("pdf.limits", "more validation data than is read")
            self._places[part] = len(self.parts)
            self.parts.append(part)
        return self._places[part]


def _read_field(reader: Any, name: str, reference: Any, names: set[str], values: _Values) -> dict[str, Any]:
    from pyhanko.sign.validation.pdf_embedded import EmbeddedPdfSignature
    from pyhanko.sign.validation.status import SignatureCoverageLevel

    field = reference.get_object()
    told: dict[str, Any] = {"field": name, "problem": "", "changes": "", "revision": -1}
    with contextlib.suppress(Exception):  # told for the report only; what follows is what is judged
        told |= _describe(field.raw_get("/V").get_object())
    try:
        signature: Any = EmbeddedPdfSignature(reader, field, name)
        told["revision"] = int(signature.signed_revision)
        told["byte_range"] = [int(number) for number in signature.byte_range]
        told["contents"] = values.place(bytes(signature.pkcs7_content))
        coverage = signature.coverage = signature.evaluate_signature_coverage()
    except Exception as error:
        told["problem"] = f"it cannot be read as a signature ({type(error).__name__})"
        return told
    if coverage is SignatureCoverageLevel.ENTIRE_FILE:
        told["changes"] = "none"
    elif coverage is SignatureCoverageLevel.ENTIRE_REVISION and signature.signed_revision + 1 < _revisions(reader):
        try:
            told["changes"], told["changed"] = _changes_after(signature, names)
        except Exception as error:
            told["changes"], told["changed"] = "unclear", type(error).__name__
    else:
        told["problem"] = "it does not cover the whole document as it was when it was signed"
    if told.get("type") == "DocTimeStamp":
        told["store"] = _read_store(reader.get_historical_resolver(signature.signed_revision).root, values)
    return told


def _revisions(reader: Any) -> int:
    return int(reader.xrefs.total_revisions)


def _describe(dictionary: Any) -> dict[str, Any]:
    from pyhanko.pdf_utils import generic

    told: dict[str, Any] = {}
    for key, entry in (("type", "/Type"), ("filter", "/Filter"), ("sub_filter", "/SubFilter")):
        if entry in dictionary and isinstance(value := dictionary[entry], generic.NameObject):
            told[key] = str(value)[1:]
    for key, entry in (("name", "/Name"), ("reason", "/Reason"), ("location", "/Location")):
        if entry in dictionary and isinstance(value := dictionary[entry], generic.TextStringObject):
            told[key] = str(value)[:1000]
    if "/M" in dictionary:
        with contextlib.suppress(Exception):
            told["claimed_at"] = generic.parse_pdf_date(dictionary["/M"], strict=False).isoformat()
    return told


def _changes_after(signature: Any, names: set[str]) -> tuple[str, str]:
    """What was appended after the signed revision: `validation_data` (security stores, time-stamps, file properties),
    `signatures` besides, or `filled` and `other`, which are more than a signature allows."""
    from pyhanko.sign.diff_analysis import DEFAULT_DIFF_POLICY, DiffResult, ModificationLevel

    result = signature.evaluate_modifications(_strict_policy())
    if isinstance(result, DiffResult):
        permitted = signature.docmdp_level
        level = result.modification_level
        if permitted is not None and level.value > permitted.value:
            return "other", "the signature that certifies the document does not permit it"
        if level.value <= ModificationLevel.LTA_UPDATES.value:
            return "validation_data", ""
        strangers = sorted(result.changed_form_fields - names)
        if level is ModificationLevel.FORM_FILLING and not strangers:
            return "signatures", ""
        return "filled", f"fields: {', '.join(strangers)[:200]}"
    wider = signature.evaluate_modifications(DEFAULT_DIFF_POLICY)
    if isinstance(wider, DiffResult) and wider.modification_level is ModificationLevel.FORM_FILLING:
        return "filled", f"fields: {', '.join(sorted(wider.changed_form_fields - names))[:200]}"
    return "other", ""


def _strict_policy() -> Any:
    """pyHanko's rules without the one for filling in forms: what nobody signed is not part of what was signed."""
    from pyhanko.sign.diff_analysis import ModificationLevel, StandardDiffPolicy
    from pyhanko.sign.diff_analysis.form_rules_api import FormUpdatingRule
    from pyhanko.sign.diff_analysis.rules.file_structure_rules import (
        CatalogModificationRule,
        ObjectStreamRule,
        XrefStreamRule,
    )
    from pyhanko.sign.diff_analysis.rules.form_field_rules import (
        DSSCompareRule,
        SigFieldCreationRule,
        SigFieldModificationRule,
    )
    from pyhanko.sign.diff_analysis.rules.metadata_rules import DocInfoRule, MetadataUpdateRule

    rules = (DocInfoRule(), XrefStreamRule(), ObjectStreamRule(), DSSCompareRule(), MetadataUpdateRule())
    return StandardDiffPolicy(
        global_rules=[
            CatalogModificationRule(),
            *(rule.as_qualified(ModificationLevel.LTA_UPDATES) for rule in rules),
        ],
        form_rule=FormUpdatingRule(field_rules=[SigFieldCreationRule(), SigFieldModificationRule()]),
    )


def _read_store(root: Any, values: _Values) -> dict[str, list[int]]:
    """The document security store (EN 319 142-1 §5.4.2) of one revision; VRI says nothing that this does not."""
    from pyhanko.pdf_utils.decode_limits import DecodePurpose

    found: dict[str, list[int]] = {"certificates": [], "ocsp": [], "crls": []}
    if "/DSS" not in root:
        return found
    store = root["/DSS"]  # `get` would hand out the reference
    for key, entry, purpose in (
        ("certificates", "/Certs", DecodePurpose.CERTIFICATE),
        ("ocsp", "/OCSPs", DecodePurpose.OCSP_RESPONSE),
        ("crls", "/CRLs", DecodePurpose.CRL),
    ):
        for index in range(len(store[entry]) if entry in store else 0):
            if index == MAX_STORED_VALUES:
                raise Problem("pdf.limits", "more validation data than is read")
            data = bytes(store[entry][index].read_data(purpose))
            if len(data) > MAX_STORED_BYTES:
                raise Problem("pdf.limits", "validation data that is larger than is read")
            found[key].append(values.place(data))
    return found


# ------------------------------------------------------------------ appending


def _append_to(content: bytes) -> Any:
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter

    return IncrementalPdfFileWriter.from_reader(_open(content))


def _suffix(content: bytes, written: bytes) -> Part:
    if not written.startswith(content):
        raise Problem("pdf.append", "appending would have changed what was there")
    return written[len(content) :]


def _next_name(reader: Any, stem: str) -> str:
    taken = {name for name, _, _ in _signed_fields(reader, filled=None)}
    return next(name for name in (f"{stem}{number}" for number in range(1, MAX_FIELDS + 2)) if name not in taken)


def _placeholder(asked: Mapping[str, Any], parts: Sequence[Part]) -> Answer:
    """A signature or document time-stamp whose contents are zeros, and where they lie in the file as it becomes."""
    from pyhanko.sign.fields import MDPPerm, SigFieldSpec, SigSeedSubFilter
    from pyhanko.sign.signers.cms_embedder import PdfCMSEmbedder, SigIOSetup, SigObjSetup
    from pyhanko.sign.signers.constants import ESIC_EXTENSION_1
    from pyhanko.sign.signers.pdf_byterange import DocumentTimestamp, SignatureObject
    from pyhanko.sign.validation.pdf_embedded import read_certification_data

    content = parts[0]
    writer = _append_to(content)
    reader = writer.prev
    reserved = 2 * int(asked["reserved_bytes"])
    # 1 nobody signs what may not be signed any more (ISO 32000-2 §12.8.2.2)
    certified = read_certification_data(reader)
    is_stamp = asked["type"] == "DocTimeStamp"
    if certified is not None and certified.permission is MDPPerm.NO_CHANGES and not is_stamp:
        raise Problem("pdf.certified", "its author's signature permits no signature after it")
    # 2 where: a field that waits for a signature, or a new one
    empty = {name for name, _, _ in _signed_fields(reader, filled=False)}
    field = asked.get("field")
    if field is not None and field not in empty:
        raise Problem("pdf.field", "there is no empty signature field of that name")
    if field is not None and "appearance" in asked:
        raise Problem("pdf.field", "a field that is there has its own place on the page")
    visible = asked.get("appearance")
    if visible is not None and not 0 <= visible["page"] < _page_count(reader):
        raise Problem("pdf.page", "there is no such page")
    name = field or _next_name(reader, "TimeStamp" if is_stamp else "Signature")
    place = SigFieldSpec(
        name,
        on_page=visible["page"] if visible else 0,
        box=tuple(visible["box"]) if visible else None,
    )
    # 3 what; before PDF 2.0 the catalogue names the extension that it follows (EN 319 142-1 §5.6)
    if writer.output_version < (2, 0):
        writer.register_extension(ESIC_EXTENSION_1)
    steps = PdfCMSEmbedder(None if field else place).write_cms(name, writer, existing_fields_only=bool(field))
    next(steps)
    if is_stamp:
        value: Any = DocumentTimestamp(bytes_reserved=reserved)
    else:
        value = SignatureObject(
            timestamp=datetime.fromisoformat(asked["claimed_at"]),
            name=asked.get("name"),
            location=asked.get("location"),
            reason=asked.get("reason"),
            bytes_reserved=reserved,
            subfilter=SigSeedSubFilter.PADES,
        )
    appearance = _appearance(parts[1], asked) if visible else None
    steps.send(SigObjSetup(sig_placeholder=value, appearance_setup=appearance))
    digest, output = steps.send(SigIOSetup(md_algorithm="sha256"))
    written = output.getvalue()
    made = {"field": name, "start": digest.reserved_region_start, "end": digest.reserved_region_end}
    return made, [_suffix(content, written)]


def _page_count(reader: Any) -> int:
    return int(reader.root["/Pages"]["/Count"])


def _appearance(picture: bytes, asked: Mapping[str, Any]) -> Any:
    """What is seen on the page: a page of a PDF file of our own, as large as the field."""
    from pyhanko.pdf_utils.content import PdfContent
    from pyhanko.pdf_utils.layout import AxisAlignment, BoxConstraints, Margins, SimpleBoxLayoutRule
    from pyhanko.pdf_utils.reader import PdfFileReader
    from pyhanko.sign.signers.cms_embedder import SigAppearanceSetup
    from pyhanko.stamp import StaticStampStyle

    class Drawn(PdfContent):  # pyHanko has one for files with names only
        def render(self) -> bytes:
            imported = self._ensure_writer.import_page_as_xobject(PdfFileReader(io.BytesIO(picture)))
            self.resources.xobject["/Drawn"] = imported
            left, bottom, right, top = imported.get_object()["/BBox"]
            self.box = BoxConstraints(width=abs(right - left), height=abs(top - bottom))
            return b"/Drawn Do"

    whole = SimpleBoxLayoutRule(AxisAlignment.ALIGN_MID, AxisAlignment.ALIGN_MID, margins=Margins.uniform(0))
    style = StaticStampStyle(background=Drawn(), background_layout=whole, border_width=0, background_opacity=1.0)
    return SigAppearanceSetup(style=style, timestamp=datetime.fromisoformat(asked["claimed_at"]), name=None)


def _add_store(asked: Mapping[str, Any], parts: Sequence[Part]) -> Answer:
    """Certificates and OCSP responses in the document security store; what is there already is not added again."""
    from pyhanko.pdf_utils import generic
    from pyhanko.pdf_utils.generic import pdf_name

    content, values = parts[0], parts[1:]
    certificates, responses = values[: asked["certificates"]], values[asked["certificates"] :]
    out = io.BytesIO()
    writer = _append_to(content)
    present = writer.root["/DSS"] if "/DSS" in writer.root else None  # noqa: SIM401 - as above
    store = generic.DictionaryObject({pdf_name("/Type"): pdf_name("/DSS")}) if present is None else present
    added = [_extend(writer, store, entry, new) for entry, new in (("/Certs", certificates), ("/OCSPs", responses))]
    if not any(added):
        return {}, [b""]
    if present is None:
        writer.root[pdf_name("/DSS")] = writer.add_object(store)
        writer.update_root()
    else:
        writer.update_container(store)
    writer.write(out)
    return {}, [_suffix(content, out.getvalue())]


def _extend(writer: Any, store: Any, entry: str, new: Sequence[bytes]) -> bool:
    from pyhanko.pdf_utils import generic
    from pyhanko.pdf_utils.generic import pdf_name

    listed = list(store.raw_get(entry).get_object()) if entry in store else []
    known = {bytes(one.get_object().data) for one in listed}
    fresh = [value for value in dict.fromkeys(new) if value not in known]
    if fresh:
        streams = [writer.add_object(generic.StreamObject(stream_data=value)) for value in fresh]
        store[pdf_name(entry)] = generic.ArrayObject([*listed, *streams])
    return bool(fresh)


_TASKS: Final = {"read": _read, "placeholder": _placeholder, "add_store": _add_store}


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
