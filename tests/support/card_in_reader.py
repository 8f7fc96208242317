"""Puts one card of a shelf folder into the virtual reader and keeps it there until it is terminated.

Says `inserted` on its standard output, and nothing else there.
"""

import logging
import signal
import sys
from pathlib import Path

import structlog

from digiid.devices.card_shelf import CardShelf
from digiid.devices.virtual_reader import VirtualReader
from digiid.platform.entropy import SystemEntropy


def main() -> None:
    # the reader's thread logs while this one prints: on one pipe the two lines would mix
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    shelf = CardShelf(Path(sys.argv[1]), SystemEntropy(), patience_seconds=5)
    reader = VirtualReader(shelf.open(sys.argv[2]), retry_seconds=0.1)
    reader.insert()
    if not reader.wait_until_inserted(20):
        sys.exit("no reader took the card")
    print("inserted", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    reader.remove()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
