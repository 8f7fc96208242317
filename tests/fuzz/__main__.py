"""Coverage-guided fuzzing of the parsers with atheris (libFuzzer).

    python -m tests.fuzz --seconds 600            every target in turn, ten minutes together
    python -m tests.fuzz --target der --seconds 60
    python -m tests.fuzz --target der FILE        run one input, to see what escapes

What escapes is written to --found (default var/fuzz/found/<target>/); move it to tests/vectors/fuzz/<target>/, where
the ordinary tests run it for ever, and fix the parser.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import atheris

_SECONDS_AN_INPUT = 10
_MEGABYTES = 2048


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600, help="for all targets together")
    parser.add_argument("--target", action="append", help="only this one; may be given again")
    parser.add_argument("--found", type=Path, default=Path("var/fuzz/found"), help="where escaping inputs go")
    parser.add_argument("--corpus", type=Path, help="keep what was learnt here, to go on from it the next time")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("input", nargs="*", type=Path)
    options = parser.parse_args()
    if options.inside:
        _fuzz(options.target[0], options.seconds, options.found, options.corpus)
    if options.input:
        return _run_inputs(options.target, options.input)
    return _fuzz_all(options)


def _fuzz_all(options: argparse.Namespace) -> int:
    """Each target in a process of its own: libFuzzer owns the process that it runs in."""
    from tests.fuzz.targets import TARGETS

    names = options.target or list(TARGETS)
    unknown = set(names) - set(TARGETS)
    if unknown:
        print(f"no such target: {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}", file=sys.stderr)
        return 2
    seconds = max(1, options.seconds // len(names))
    failed = []
    with tempfile.TemporaryDirectory(prefix="digiid-fuzz-") as folder:
        for name in names:
            corpus = (options.corpus or Path(folder)) / name
            corpus.mkdir(parents=True, exist_ok=True)
            found = options.found / name
            found.mkdir(parents=True, exist_ok=True)
            command = [sys.executable, "-m", "tests.fuzz", "--inside", "--target", name, "--seconds", str(seconds)]
            command += ["--found", str(found), "--corpus", str(corpus)]
            begin = time.monotonic()
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
            tail = [line for line in done.stderr.splitlines() if line.startswith(("#", "Done"))][-1:]
            state = "found something" if done.returncode else "nothing escapes"
            print(f"{name:24} {state:16} {time.monotonic() - begin:5.0f} s  {' '.join(tail)[:100]}", flush=True)
            if done.returncode:
                failed.append(name)
                print(done.stderr[-4000:], file=sys.stderr)
    return 1 if failed else 0


def _fuzz(name: str, seconds: int, found: Path, corpus: Path) -> None:
    with atheris.instrument_imports(include=["digiid.formats", "digiid.kernel"]):
        from tests.fuzz.targets import TARGETS
    target = TARGETS[name]
    for index, seed in enumerate([*target.seeds(), *target.crashes()]):
        (corpus / f"seed-{index}").write_bytes(seed)
    arguments = [
        sys.argv[0],
        f"-max_total_time={seconds}",
        f"-max_len={target.max_bytes}",
        f"-artifact_prefix={found}/",
    ]
    arguments += [f"-timeout={_SECONDS_AN_INPUT}", f"-rss_limit_mb={_MEGABYTES}", "-print_final_stats=0", str(corpus)]
    atheris.Setup(arguments, target.check)
    atheris.Fuzz()  # never returns


def _run_inputs(names: list[str] | None, inputs: list[Path]) -> int:
    from tests.fuzz.targets import TARGETS

    for name in names or list(TARGETS):
        for path in inputs:
            TARGETS[name].check(path.read_bytes())
            print(f"{name}: {path}: nothing escapes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
