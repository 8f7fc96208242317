"""Letters over SMTP: STARTTLS with a verified certificate, and what the server's answers mean."""

import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from digiid.kernel.errors import Refused, Unavailable
from digiid.platform.mail import Letter, SmtpTransport

LETTER = Letter("m-1", "anna@example.org", "Tere", "Käes on.\n.\nLõpp.\n", datetime(2026, 11, 23, 10, 0, tzinfo=UTC))


class _Session(socketserver.StreamRequestHandler):
    """As much of RFC 5321, 3207 and 4954 as a submission needs."""

    server: "_Server"

    def handle(self) -> None:
        self.say("220 test")
        encrypted = False
        while line := self.rfile.readline().decode().strip():
            word = line.split(" ")[0].upper()
            self.server.heard.append(line.split(" ")[0] if word == "AUTH" else line)
            if word == "EHLO":
                self.say("250-test", "250-AUTH PLAIN" if encrypted else "250-STARTTLS", "250 8BITMIME")
            elif word == "STARTTLS":
                self.say("220 go")
                self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
                self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")
                encrypted = True
            elif word == "RCPT":
                self.say(self.server.answer_to_rcpt)
            elif word == "DATA":
                self.say("354 go")
                data = b""
                while not data.endswith(b"\r\n.\r\n"):
                    data += self.rfile.readline()
                self.server.letters.append(data)
                self.say("250 taken")
            elif word == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("235 welcome" if word == "AUTH" else "250 ok")

    def say(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())
        self.wfile.flush()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    tls: ssl.SSLContext
    answer_to_rcpt = "250 ok"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.heard: list[str] = []
        self.letters: list[bytes] = []

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that turns away from our certificate is what one of the tests wants


@contextmanager
def running_server(certificate: Path) -> Iterator[_Server]:
    with _Server() as server:
        server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.tls.load_cert_chain(certificate)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test mail server")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("smtp") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + built.public_bytes(serialization.Encoding.PEM))
    return file


def transport(server: _Server, *, ca_file: Path | None, password: Path | None = None) -> SmtpTransport:
    return SmtpTransport(
        host="127.0.0.1",
        port=server.server_address[1],
        sender="board@digiid.example",
        username="board" if password else None,
        password_path=password,
        ca_file=ca_file,
    )


def test_a_letter_goes_out_encrypted_and_signed_in(certificate: Path, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("secret\n")
    with running_server(certificate) as server:
        transport(server, ca_file=certificate, password=password).send(LETTER)
        commands = [line.split(" ")[0].upper() for line in server.heard]
        assert commands.index("STARTTLS") < commands.index("AUTH") < commands.index("DATA")
        assert b"Message-ID: <m-1@digiid>" in server.letters[0]


def test_a_server_whose_certificate_is_not_trusted_gets_nothing(certificate: Path) -> None:
    with running_server(certificate) as server:
        with pytest.raises(Unavailable, match=r"mail\.unreachable"):
            transport(server, ca_file=None).send(LETTER)
        assert server.letters == []


@pytest.mark.parametrize(
    ("answer", "kind"), [("550 no such user", Refused), ("450 later", Unavailable), ("421 closing", Unavailable)]
)
def test_a_permanent_answer_is_final_and_a_temporary_one_is_not(
    certificate: Path, answer: str, kind: type[Exception]
) -> None:
    with running_server(certificate) as server:
        server.answer_to_rcpt = answer
        with pytest.raises(kind):
            transport(server, ca_file=certificate).send(LETTER)


def test_a_server_that_is_not_there_is_unavailable(certificate: Path) -> None:
    with running_server(certificate) as server:
        gone = transport(server, ca_file=certificate)
    with pytest.raises(Unavailable, match=r"mail\.unreachable"):
        gone.send(LETTER)
