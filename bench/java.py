"""digidoc4j beside our judge, in a Java machine that is warm. Its jars are those that its interop tests fetched."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

ROOT = Path(__file__).resolve().parents[1]
JARS = ROOT / ".cache" / "digidoc4j" / "jars"
WARM_UP = 150  # judgements; after that the times hardly fall any more


class _Judge:
    """The running Java machine. Raises RuntimeError with what it said when it ends."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def seconds(self, count: int) -> float:
        """The time on the wall of one judgement of `count`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().strip()
        if not answer.isdecimal():
            raise RuntimeError(f"digidoc4j: {answer or 'ended'}")
        return int(answer) / 1e9


def why_not() -> str | None:
    """Why digidoc4j cannot run here, or None."""
    if shutil.which("java") is None or shutil.which("javac") is None:
        return "java and javac are not installed"
    if not list(JARS.glob("digidoc4j-*.jar")):
        return "the interop tests have not fetched digidoc4j"
    return None


@contextlib.contextmanager
def judging(container: bytes, anchors: Sequence[x509.Certificate]) -> Iterator[Callable[[int], float]]:
    """A warm digidoc4j: a function that judges the container so many times and tells the seconds of one."""
    with tempfile.TemporaryDirectory(prefix="digiid-bench-") as name:
        folder = Path(name)
        (folder / "x.asice").write_bytes(container)
        files = []
        for number, anchor in enumerate(anchors):
            files.append(folder / f"{number}.pem")
            files[-1].write_bytes(anchor.public_bytes(Encoding.PEM))
        source = Path(__file__).parent / "digidoc4j" / "Bench.java"
        subprocess.run(["javac", "-nowarn", "-cp", f"{JARS}/*", "-d", name, str(source)], check=True, timeout=120)
        command = ["java", "-cp", f"{folder}{os.pathsep}{JARS}/*", "Bench", str(folder / "x.asice"), *map(str, files)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            judge = _Judge(process)
            judge.seconds(WARM_UP)
            yield judge.seconds
        finally:
            process.kill()
            process.wait(timeout=30)


if __name__ == "__main__":
    print(why_not() or "digidoc4j can be measured here")
    sys.exit(0)
