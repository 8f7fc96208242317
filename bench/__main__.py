"""Runs every measurement once and writes docs/performance.md."""

import os
import platform
import sys
from pathlib import Path

from bench import card, estate, ocsp, signing
from bench.ocsp import Ratio

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
HEAD = """# Performance

Written by `make bench`: ratios measured in one run, each against the bare operation or program beside it,
so that they can be compared between machines. Processor: {processor}, {cores} cores, Python {python}.

| what | measured | wanted | | detail |
|---|---|---|---|---|
"""


def _signing() -> list[Ratio]:
    figures = signing.measure()
    raw = f"raw signature {figures['raw_sign_ms']:.3f} ms, raw verification {figures['raw_verify_ms']:.3f} ms"
    lt = f"{figures['lt_validation_ms']:.2f} ms against {figures['raw_checks_ms']:.2f} ms for its raw checks"
    return [
        Ratio("XAdES-B signed, × raw P-384", figures["xades_b_sign_ratio"], 1.3, False, raw),
        Ratio("XAdES-B verified, × raw P-384", figures["xades_b_verify_ratio"], 1.4, False, raw),
        Ratio("LT container validated, × its raw checks", figures["lt_validation_ratio"], 1.6, False, lt),
    ]


def _card() -> list[Ratio]:
    figures = card.measure()
    bare, name = figures["card_bare_signature_ms"], "PIN1 signature through PC/SC (median ms)"
    if "card_signature_through_pcsc_ms" not in figures:
        return []
    detail = f"on an open session; bare P-384 signature {bare:.2f} ms"
    return [Ratio(name, figures["card_signature_through_pcsc_ms"], 2.0, False, detail)]


def main() -> int:
    ratios = [*ocsp.measure(), *_signing(), *_card(), *estate.measure()]
    rows = []
    for ratio in ratios:
        wanted = "" if ratio.wanted is None else f"{'≥' if ratio.at_least else '≤'} {ratio.wanted:g}"
        met = "" if ratio.wanted is None else "met" if ratio.met else "**not met**"
        rows.append(f"| {ratio.name} | {ratio.value:.2f} | {wanted} | {met} | {ratio.detail} |")
        print(f"{ratio.name}: {ratio.value:.2f} {wanted} {met.strip('*')} — {ratio.detail}")
    head = HEAD.format(processor=_processor(), cores=_cores(), python=platform.python_version())
    PAGE.write_text(head + "\n".join(rows) + "\n", encoding="utf-8")
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
