"""How long the chip takes: a signature with PIN1 on an open session, in this process and through PC/SC.

    python bench/card.py [--json]

The PC/SC figure needs pcscd, vsmartcard-vpcd and OpenSC; it runs them in namespaces of its own.
"""

import argparse
import hashlib
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.cards import DOCUMENT, PIN1, new_ca, personalise
from tests.support.pcsc_room import missing, open_room

from digiid.devices.card_shelf import CardShelf
from digiid.platform.entropy import SystemEntropy

CALLS = 200
_MODULES = sorted(Path("/usr/lib").glob("*/opensc-pkcs11.so"))
_SIGN_OFTEN = """
import sys, time, hashlib, pkcs11
token = next(iter(pkcs11.lib(sys.argv[1]).get_slots(token_present=True))).get_token()
with token.open(user_pin=sys.argv[2]) as session:
    key = next(iter(session.get_objects({pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY})))
    digest = hashlib.sha384(b"x").digest()
    for _ in range(int(sys.argv[3])):
        began = time.perf_counter()
        key.sign(digest, mechanism=pkcs11.Mechanism.ECDSA)
        print((time.perf_counter() - began) * 1000)
"""


def _median_ms(function: Callable[[], object]) -> float:
    took = []
    for _ in range(CALLS):
        began = time.perf_counter()
        function()
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


def measure() -> dict[str, float]:
    """Medians in milliseconds. Without PC/SC its figure is left out."""
    folder = Path(tempfile.mkdtemp(prefix="digiid-bench-"))
    try:
        shelf = CardShelf(folder / "cards", SystemEntropy())
        number = DOCUMENT.document_number
        personalise(shelf.new_blank(number), new_ca())
        card = shelf.open(number)
        card.transmit(bytes.fromhex("00A4040C0DE828BD080FF2504F5420415750"))
        card.transmit(bytes.fromhex("002241A406800104840181"))
        verify = bytes.fromhex("002000010C") + PIN1.encode().ljust(12, b"\xff")
        sign = bytes.fromhex("0088000030") + hashlib.sha384(b"x").digest() + b"\x60"
        key, algorithm = ec.generate_private_key(ec.SECP384R1()), ec.ECDSA(Prehashed(hashes.SHA384()))
        figures = {
            "card_bare_signature_ms": _median_ms(lambda: key.sign(sign[5:53], algorithm)),
            "card_verify_pin_ms": _median_ms(lambda: card.transmit(verify)),
            "card_signature_in_process_ms": _median_ms(lambda: card.transmit(sign)),
        }
        shelf.close()
        if not missing() and _MODULES and shutil.which("opensc-tool"):
            with open_room(folder) as room, room.inserted(folder / "cards", number):
                ran = room.run(sys.executable, "-c", _SIGN_OFTEN, str(_MODULES[0]), PIN1, str(CALLS))
                figures["card_signature_through_pcsc_ms"] = statistics.median(map(float, ran.stdout.split()))
        return figures
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    figures = measure()
    if parser.parse_args().json:
        print(json.dumps(figures, indent=1))
        return
    for name, value in figures.items():
        print(f"{name:36} {value:8.3f}")


if __name__ == "__main__":
    main()
