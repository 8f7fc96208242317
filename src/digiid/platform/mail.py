"""Letters to people: over SMTP in production, into a folder of .eml files in the embedded default.

A letter leaves through its institution's outbox, so it may be sent twice and never lost; the message
id is the outbox's, so that a mail system or a folder recognises the second copy.
"""

import re
import smtplib
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import Protocol

from digiid.kernel.errors import Malformed, Refused, Unavailable

_ADDRESS = re.compile(r"[^\s<>,;:\"\\()\[\]@]{1,64}@[A-Za-z0-9.-]{1,253}")
_MAX_TEXT_LENGTH = 20_000
_MAX_EML_BYTES = 200_000
_TIMEOUT_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Letter:
    """One plain-text letter to one person."""

    message_id: str
    to: str
    subject: str
    text: str
    at: datetime


class MailTransport(Protocol):
    """Hands a letter to the mail system."""

    def send(self, letter: Letter) -> None:
        """Raises: Unavailable `mail.unreachable`, try again; Refused `mail.refused`, this letter never goes."""


class SmtpTransport:
    """An SMTP submission server (RFC 6409), always under STARTTLS with the server's certificate verified."""

    def __init__(
        self,
        *,
        host: str,
        port: int = 587,
        sender: str,
        username: str | None = None,
        password_path: Path | None = None,
        ca_file: Path | None = None,
    ) -> None:
        self._host, self._port, self._sender = host, port, sender
        self._username, self._password_path = username, password_path
        self._tls = ssl.create_default_context(cafile=ca_file)

    def send(self, letter: Letter) -> None:
        message = build_message(letter, sender=self._sender)
        try:
            with smtplib.SMTP(self._host, self._port, timeout=_TIMEOUT_SECONDS) as server:
                server.starttls(context=self._tls)
                if self._username and self._password_path:
                    server.login(self._username, self._password_path.read_text(encoding="utf-8").strip())
                server.send_message(message)
        except (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError) as error:
            codes = [e[0] for e in error.recipients.values()] if hasattr(error, "recipients") else [error.smtp_code]
            if all(500 <= code < 600 for code in codes):  # RFC 5321 §4.2.1: permanent
                raise Refused("mail.refused", f"the server answered {codes}") from error
            raise Unavailable("mail.unreachable", f"the server answered {codes}") from error
        except (OSError, smtplib.SMTPException) as error:
            raise Unavailable("mail.unreachable", f"{self._host}: {type(error).__name__}") from error


class FolderTransport:
    """Writes each letter as one .eml file: the mailbox of a state that runs on one machine."""

    def __init__(self, folder: Path, *, sender: str) -> None:
        self._folder, self._sender = folder, sender

    def send(self, letter: Letter) -> None:
        stamp = letter.at.astimezone(UTC).strftime("%Y%m%dT%H%M%S%fZ")
        name = f"{stamp}-{re.sub(r'[^A-Za-z0-9-]', '_', letter.message_id)[:80]}.eml"
        file, draft = self._folder / name, self._folder / f".{name}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if any(self._folder.glob(f"*-{name.partition('-')[2]}")):
                return  # the same letter again
            draft.touch(mode=0o600)
            draft.write_bytes(build_message(letter, sender=self._sender).as_bytes(policy=policy.SMTP))
            draft.rename(file)
        except OSError as error:
            raise Unavailable("mail.unreachable", f"{type(error).__name__} in the mailbox folder") from error


def build_message(letter: Letter, *, sender: str) -> EmailMessage:
    """The letter as RFC 5322. Raises: Refused `mail.refused` when the address or subject cannot be one."""
    if not _ADDRESS.fullmatch(letter.to) or "\n" in letter.subject or "\r" in letter.subject:
        raise Refused("mail.refused", "not an address or not a subject")
    message = EmailMessage(policy=policy.SMTP)
    message["From"], message["To"], message["Subject"] = sender, letter.to, letter.subject
    message["Date"] = format_datetime(letter.at)
    message["Message-ID"] = f"<{letter.message_id}@digiid>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers to a robot
    message.set_content(letter.text[:_MAX_TEXT_LENGTH])
    return message


@dataclass(frozen=True, slots=True)
class ReceivedLetter:
    """A letter as the mailbox page shows it. `name` is its file's name."""

    name: str
    to: str
    sender: str
    subject: str
    text: str
    at: datetime | None


def list_letters(folder: Path, *, limit: int = 200) -> list[ReceivedLetter]:
    """The newest letters of a mailbox folder; a file that is no letter is left out."""
    letters = []
    files = sorted((f for f in folder.glob("*.eml") if not f.name.startswith(".")), reverse=True)
    for file in files[:limit]:
        try:
            letters.append(parse_letter(file.name, file.read_bytes()))
        except (OSError, Malformed):
            continue
    return letters


def parse_letter(name: str, data: bytes) -> ReceivedLetter:
    """Read one .eml. Raises: Malformed `mail.letter`."""
    if len(data) > _MAX_EML_BYTES:
        raise Malformed("mail.letter", "too large")
    try:
        message = message_from_bytes(data, policy=policy.default)
        body = message.get_body(("plain",))
        text = body.get_content() if body is not None else ""
        at = parsedate_to_datetime(str(message["Date"])) if message["Date"] else None
        headers = [str(message[field] or "")[:500] for field in ("To", "From", "Subject")]
    except Exception as error:  # the standard library's parser answers broken mail with many kinds of exception
        raise Malformed("mail.letter", type(error).__name__) from error
    return ReceivedLetter(
        name, headers[0], headers[1], headers[2], str(text).replace("\r\n", "\n")[:_MAX_TEXT_LENGTH], at
    )
