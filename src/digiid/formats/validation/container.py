"""Validation of a whole container: EN 319 162-1 §A.5 around EN 319 102-1."""

from datetime import datetime
from typing import BinaryIO

from digiid.formats.asic import Container, Limits, parse_container
from digiid.formats.trusted_list import VerifiedTrust
from digiid.formats.validation.policy import POLV4, Policy, apply_policy
from digiid.formats.validation.report import (
    Indication,
    Message,
    Report,
    Severity,
    SignatureReport,
    SubIndication,
)
from digiid.formats.validation.signature import validate_signature
from digiid.formats.xades import parse_signatures
from digiid.kernel.errors import Malformed


def validate_container(
    file: BinaryIO,
    *,
    trust: VerifiedTrust,
    at: datetime,
    policy: Policy = POLV4,
    file_name: str = "",
    limits: Limits | None = None,
) -> Report:
    """Judge every signature of a container at `at`.

    Judged: ASiC-E with XAdES. ASiC-S is refused by name, and so is every container that can be read in two ways.

    Raises: Malformed `asic.…` it cannot be read as a container; `validation.not_judged` a form that is not judged.
    """
    # 1 the container
    container = parse_container(file, limits)
    if container.form != "ASiC-E":
        raise Malformed("validation.not_judged", f"{container.form} containers are not judged by this program")
    messages = [
        Message(Severity.ERROR if problem.is_error else Severity.WARNING, problem.code, problem.message)
        for problem in container.problems
    ]

    # 2 every signature by itself
    signatures: list[SignatureReport] = []
    for entry in container.signature_files:
        signatures += _validate_file(container, entry.name, trust, at)
    signatures = [apply_policy(signature, policy) for signature in signatures]

    # 3 a container without signatures proves nothing
    if not signatures:
        messages.append(Message(Severity.ERROR, "validation.no_signature", "The container has no signature"))
    return Report(
        form=container.form,
        policy_name=policy.name,
        policy_description=policy.description,
        validated_at=at,
        file_name=file_name,
        data_files=tuple(entry.name for entry in container.data_files),
        messages=tuple(messages),
        signatures=tuple(signatures),
    )


def _validate_file(container: Container, name: str, trust: VerifiedTrust, at: datetime) -> list[SignatureReport]:
    entry = container.archive.find(name)
    assert entry is not None
    try:
        unverified = parse_signatures(container.read_signature_file(entry))
    except Malformed as error:
        # Counted as a signature that failed: what cannot be read must not disappear from the count.
        return [
            SignatureReport(
                id=name,
                file_name=name,
                signature_format="XAdES",
                method_uri="",
                indication=Indication.TOTAL_FAILED,
                sub_indication=SubIndication.FORMAT_FAILURE,
                level="NA",
                certificate=None,
                messages=(
                    Message(Severity.ERROR, error.code, f"The signature file cannot be processed: {error.detail}"),
                ),
            )
        ]
    return [
        validate_signature(signature, container=container, file_name=name, trust=trust, at=at)
        for signature in unverified
    ]
