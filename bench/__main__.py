"""Runs every measurement once, prints the ratios and writes docs/performance.md.

python -m bench                       everything, some minutes on a quiet machine
python -m bench documents sign_ins    only these, printed and not written
"""

import argparse
import importlib.util
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import batch, card, estate, exchange, ocsp, sign_ins, signing
from bench.measure import Ratio

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
HEAD = """# Performance

Written by `make bench`: ratios measured in one run, each against the bare operation or program beside it, both sides in
turns, so that they can be compared between machines. A ratio is that of the quickest batches; where a median stands
beside them, it tells how noisy the machine was. Processor: {processor}, {cores} cores, Python {python}.
"""
TABLE = """
## {title}

| what | measured | wanted | | detail |
|---|---|---|---|---|
"""


def _documents() -> list[Ratio]:
    return signing.measure()


def _batch() -> list[Ratio]:
    figures = batch.measure()
    if not figures:
        return _skipped("batch", "SoftHSM is not installed")
    ratios = []
    for kind in batch.KINDS:
        ours, raw = figures[f"batch_{kind}_ms"], figures[f"batch_{kind}_raw_ms"]
        detail = f"{batch.FILES} files of 10 KB: {ours:.2f} ms each, raw {raw:.2f} ms"
        name = f"batch signed with one PKCS#11 key ({kind}), of raw"
        ratios.append(Ratio(name, figures[f"batch_{kind}_ratio"], 1.5, False, detail))
    return ratios


def _service() -> list[Ratio]:
    if importlib.util.find_spec("bench.validation_service") is None:
        return _skipped("service", "bench/validation_service.py is not there")
    from bench import validation_service

    found: list[Ratio] = validation_service.measure()
    return found


def _card() -> list[Ratio]:
    figures = card.measure()
    bare, name = figures["card_bare_signature_ms"], "PIN1 signature through PC/SC (median ms)"
    if "card_signature_through_pcsc_ms" not in figures:
        return _skipped("card", "pcscd, vpcd or OpenSC is not installed")
    detail = f"on an open session; bare P-384 signature {bare:.2f} ms"
    return [Ratio(name, figures["card_signature_through_pcsc_ms"], 2.0, False, detail)]


def _sign_ins() -> list[Ratio]:
    with tempfile.TemporaryDirectory() as folder, sign_ins.running_state(folder) as (portal, holder, pid):
        return [sign_ins.measure(portal, holder, pid)]


# name: (title, measurement, in the page); what is not in the page is part of another one there
PARTS: dict[str, tuple[str, Callable[[], list[Ratio]], bool]] = {
    "ocsp": ("OCSP and time-stamping", ocsp.measure, True),
    "documents": ("Signing and judging documents", _documents, True),
    "batch": ("Batch signing", _batch, True),
    "service": ("Validation service", _service, True),
    "card": ("The card", _card, True),
    "exchange": ("The exchange", exchange.measure, True),
    "estate": ("The whole e-state", estate.measure, True),
    "sign_ins": ("Signing in", _sign_ins, False),
}


NOTES: dict[str, str] = {"exchange": exchange.NOTE}  # below the table


def _skipped(part: str, reason: str) -> list[Ratio]:
    print(f"skipped: {part}: {reason}", file=sys.stderr)
    return []


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="nothing: all of them, written to the page")
    chosen = parser.parse_args(arguments).parts
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    page = HEAD.format(processor=_processor(), cores=_cores(), python=platform.python_version())
    for name in chosen or [name for name, (_, _, is_written) in PARTS.items() if is_written]:
        title, measure, _ = PARTS[name]
        ratios = measure()
        page += (
            TABLE.format(title=title) if ratios else f"\n## {title}\n\nSkipped: its programs are not installed here.\n"
        )
        for ratio in ratios:
            met = "" if ratio.wanted is None else "met" if ratio.met else "**missed**"
            page += f"| {ratio.name} | {ratio.value:.2f} | {ratio.target} | {met} | {ratio.detail} |\n"
            print(f"{ratio.name}: {ratio.value:.2f} {ratio.target} {met.strip('*')} — {ratio.detail}", flush=True)
        page += NOTES.get(name, "")
    if not chosen:
        PAGE.write_text(page, encoding="utf-8")
    return 0


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _cores() -> int:
    return len(os.sched_getaffinity(0))


if __name__ == "__main__":
    sys.exit(main())
