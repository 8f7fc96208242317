"""What goes into CDOC2 containers in tests: names and sizes where archives go wrong."""

FILES = {"plain.txt": b"hello " * 1000, "õ" * 60 + ".txt": bytes(range(256)) * 20, "empty": b"", "even": b"x" * 1024}
