"""A pcscd of this test run's own, in its own mount and network namespaces.

vpcd listens on every address and pcscd has one socket path compiled in: so both live where nobody
else can reach them, and a pcscd that already runs on this machine is never touched.

Run as a program inside `unshare -mn` it prepares the namespace and becomes pcscd.
"""

import contextlib
import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DRIVER = Path("/usr/lib/pcsc/drivers/serial/libifdvpcd.so")
PORT = 35963
_CARD_PROGRAM = Path(__file__).with_name("card_in_reader.py")
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1
_MS_PRIVATE_REC = 0x4000 | 0x40000
_NO_CARD_YET = (b"Failed to connect to card", b"Card not present")


def missing() -> str:
    """Why a room cannot be made here, or nothing."""
    for program in ("pcscd", "unshare", "nsenter"):
        if _find(program) is None:
            return f"{program} is not installed"
    if not DRIVER.exists():
        return "vsmartcard-vpcd is not installed"
    tried = subprocess.run([*_unshare(), "true"], capture_output=True, check=False)
    return f"no namespaces here: {tried.stderr.decode().strip()}" if tried.returncode else ""


def _find(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _unshare() -> list[str]:
    return ["unshare", "-mn"] if os.geteuid() == 0 else ["unshare", "-Urmn"]


@dataclass(frozen=True)
class Room:
    """A running pcscd and how to run programs beside it."""

    process: subprocess.Popen[bytes]
    folder: Path

    def _enter(self) -> list[str]:
        user = [] if os.geteuid() == 0 else ["-U", "--preserve-credentials"]
        return ["nsenter", "-t", str(self.process.pid), "-m", "-n", *user]

    def run(
        self,
        *command: str,
        stdin: bytes = b"",
        environment: dict[str, str] | None = None,
        check: bool = True,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program inside; its output is in the error when it fails.

        On a busy machine the daemon may still be resetting the card that the program before has left; who cannot even
        connect, or is told that no card is there, comes again.
        """
        for pause in (0.5, 1.0, 2.0, 0.0):
            done = subprocess.run(
                [*self._enter(), *command],
                input=stdin,
                capture_output=True,
                env={**os.environ, **(environment or {})},
                timeout=timeout,
                check=False,
            )
            said = done.stdout + done.stderr
            if not (done.returncode and any(words in said for words in _NO_CARD_YET)):
                break
            time.sleep(pause)
        if check and done.returncode:
            raise AssertionError(
                f"{command[0]} ended with {done.returncode}:\n{_text(done.stdout)}\n{_text(done.stderr)}"
            )
        return done

    def start(self, *command: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
        """Start a program inside."""
        return subprocess.Popen(
            [*self._enter(), *command], stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.STDOUT
        )

    @contextlib.contextmanager
    def inserted(self, shelf_folder: Path, document_number: str) -> Iterator[None]:
        """A card of a shelf folder in the reader, served by a process of its own."""
        card = self.start(sys.executable, str(_CARD_PROGRAM), str(shelf_folder), document_number)
        try:
            assert card.stdout is not None
            lines = []
            for line in card.stdout:
                lines.append(_text(line))
                if line == b"inserted\n":
                    break
            else:
                raise AssertionError(f"the card was not taken: {''.join(lines)}")
            self._wait_for_card()
            yield
        finally:
            card.terminate()
            card.wait(timeout=10)
            if card.stdout:
                card.stdout.close()

    def _wait_for_card(self) -> None:
        for _ in range(100):
            seen = self.run("opensc-tool", "-l", check=False).stdout
            if b"Yes" in seen:
                return
            time.sleep(0.1)
        raise AssertionError("pcscd does not see the card")


@contextlib.contextmanager
def open_room(folder: Path) -> Iterator[Room]:
    """Start pcscd with one virtual reader; it ends with the block."""
    readers = folder / "readers"
    readers.mkdir()
    (readers / "vpcd").write_text(
        f'FRIENDLYNAME "Virtual PCD"\nDEVICENAME /dev/null:0x{PORT:04X}\nLIBPATH {DRIVER}\nCHANNELID 0x{PORT:04X}\n'
    )
    with (folder / "pcscd.log").open("wb") as log:
        process = subprocess.Popen(
            [*_unshare(), sys.executable, __file__, str(readers)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        room = Room(process, folder)
        try:
            for _ in range(100):
                if process.poll() is not None:
                    raise AssertionError((folder / "pcscd.log").read_text(errors="replace"))
                if (
                    Path(f"/proc/{process.pid}/comm").read_text() == "pcscd\n"
                    and not room.run("test", "-S", "/run/pcscd/pcscd.comm", check=False).returncode
                ):
                    break
                time.sleep(0.05)
            yield room
        finally:
            process.terminate()
            process.wait(timeout=10)


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")


def _become_pcscd(readers: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(source: bytes, target: bytes, kind: bytes | None, flags: int) -> None:
        if libc.mount(source, target, kind, flags, None):
            raise OSError(ctypes.get_errno(), f"mount {target.decode()}")

    mount(b"none", b"/", None, _MS_PRIVATE_REC)
    target = Path("/run/pcscd")
    if not target.is_dir():
        mount(b"tmpfs", b"/run", b"tmpfs", 0)
        target.mkdir()
    mount(b"tmpfs", bytes(target), b"tmpfs", 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh", b"lo", _IFF_UP) + bytes(14))
    program = _find("pcscd")
    assert program is not None
    os.execv(program, ["pcscd", "--foreground", "--error", "-c", readers])


if __name__ == "__main__":
    _become_pcscd(sys.argv[1])
