"""What goes into CDOC2 containers in tests: names and sizes where archives go wrong."""

import hashlib

FILES = {
    "plain.txt": b"hello " * 1000,
    "õ" * 60 + ".txt": bytes(range(256)) * 20,
    "empty": b"",
    "packed.zip": b"".join(hashlib.sha256(bytes([number])).digest() for number in range(256)),
    "even": b"x" * 1024,
}
