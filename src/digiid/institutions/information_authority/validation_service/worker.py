"""A worker process: judges one document after another. Started by `workers`, ends when its socket does.

It is told whom to trust over a socket that only its parent has; what it answers is bytes, which the parent passes on
and does not read.
"""

import json
import os
import pickle
import resource
import socket
import struct
import sys
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding

from digiid.formats.trusted_list import VerifiedTrust, VerifiedTrustedList
from digiid.formats.x509.parts import load_certificate
from digiid.institutions.information_authority.validation_service.answers import answer, failure

HEAD: Final = struct.Struct(">I")
ANSWER: Final = struct.Struct(">HI")
MAX_MEMORY_BYTES: Final = 4 * 1024**3


def main(descriptor: int) -> None:
    """Answer until the parent closes its end."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # documents are not left behind in memory images
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    trust: VerifiedTrust | None = None
    with socket.socket(fileno=descriptor) as channel:
        while True:
            # 1 a request: its head, and the document as an open file
            first, descriptors, _, _ = socket.recv_fds(channel, HEAD.size, 1)
            if not first:
                return
            head = json.loads(receive(channel, *HEAD.unpack(first + receive(channel, HEAD.size - len(first)))))
            at = datetime.fromisoformat(head["at"])
            # 2 whom to trust, when it has changed
            if head["trust_bytes"]:
                trust = _read_trust(receive(channel, head["trust_bytes"]), at)
            # 3 the answer
            with os.fdopen(descriptors[0], "rb") as file:
                file.seek(0)
                try:
                    if trust is None:
                        raise ValueError("nobody said whom to trust")
                    found = answer(head["kind"], file, trust=trust, at=at, parameters=head["parameters"])
                except Exception:  # the edge of this process: whatever a document did, the next one is judged
                    found = failure(head["kind"])
            channel.sendall(ANSWER.pack(found.status, len(found.body)) + found.body)


def receive(channel: socket.socket, count: int) -> bytes:
    """Exactly `count` bytes. Raises: EOFError."""
    data = bytearray()
    while len(data) < count:
        part = channel.recv(min(count - len(data), 1 << 20))
        if not part:
            raise EOFError("the other end closed")
        data += part
    return bytes(data)


def write_trust(trust: VerifiedTrust) -> bytes:
    """The verified lists, for a worker of the same program: from parent to child only, never from outside."""
    return pickle.dumps([(one.content, one.signer.public_bytes(Encoding.DER)) for one in trust.lists])


def _read_trust(data: bytes, at: datetime) -> VerifiedTrust:
    lists = pickle.loads(data)  # noqa: S301 - the parent wrote it, on a socket that only it has
    return VerifiedTrust([VerifiedTrustedList(content, load_certificate(der)) for content, der in lists], at=at)


if __name__ == "__main__":
    main(int(sys.argv[1]))
