"""Puts one card of a shelf folder into the virtual reader and keeps it there until it is terminated."""

import signal
import sys
from pathlib import Path

from digiid.devices.card_shelf import CardShelf
from digiid.devices.virtual_reader import VirtualReader
from digiid.platform.entropy import SystemEntropy


def main() -> None:
    shelf = CardShelf(Path(sys.argv[1]), SystemEntropy(), patience_seconds=5)
    reader = VirtualReader(shelf.open(sys.argv[2]), retry_seconds=0.1)
    reader.insert()
    print("inserted" if reader.wait_until_inserted(10) else "no reader", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    reader.remove()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
