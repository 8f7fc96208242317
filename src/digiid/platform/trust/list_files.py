"""One's own trusted list from a short TOML file, and what is wrong with any list (TS 119 612)."""

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, Literal

from cryptography import x509
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from digiid.formats.trusted_list import (
    TYPE_GENERIC,
    TYPE_LIST_OF_LISTS,
    ListContent,
    ListedPeriod,
    ListedPointer,
    ListedProvider,
    ListedService,
    PostalAddress,
    TrustedList,
    check_period,
    parse_trusted_list,
    verify_trusted_list,
)
from digiid.formats.x509.parts import load_certificate
from digiid.kernel.errors import DigiidError, Malformed, NotFound
from digiid.platform.certificate_files import read_certificate

MAX_TOML_BYTES: Final = 1024 * 1024
_TYPE: Final = "http://uri.etsi.org/TrstSvc/Svctype/"
_STATUS: Final = "http://uri.etsi.org/TrstSvc/TrustedList/Svcstatus/"
_LIST_TYPES: Final = {"generic": TYPE_GENERIC, "list of lists": TYPE_LIST_OF_LISTS}

Text = Annotated[str, Field(min_length=1, max_length=1000)]
Territory = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
Status = Literal["granted", "withdrawn", "recognisedatnationallevel", "deprecatedatnationallevel"]
ServiceType = Literal["CA/QC", "TSA/QTST", "Certstatus/OCSP/QC", "Certstatus/OCSP", "CA/PKC", "TSA"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Address(_Model):
    street: Text
    locality: Text
    postal_code: Text
    country: Territory


class Scheme(_Model):
    """`valid_days`: until NextUpdate, counted from `issued_at`, or from now when that is left out."""

    name: Text
    territory: Territory
    operator: Text
    information_uri: Text
    legal_notice: Text
    distribution_point: Text
    electronic_address: Text
    address: Address
    sequence_number: Annotated[int, Field(ge=1)] = 1
    issued_at: AwareDatetime | None = None
    valid_days: Annotated[int, Field(ge=1, le=183)] = 180  # TS 119 612 §5.3.15: at most six months
    version: Literal[5, 6] = 6
    type: Literal["generic", "list of lists"] = "generic"
    pivots: Annotated[tuple[Text, ...], Field(max_length=16)] = ()  # of a list of lists, newest first


class Period(_Model):
    status: Status
    starting_at: AwareDatetime


class Service(_Model):
    """`certificate` is a PEM or DER file beside the TOML file; `history` are earlier periods."""

    type: ServiceType
    name: Text
    certificate: Path
    status: Status = "granted"
    starting_at: AwareDatetime
    history: tuple[Period, ...] = ()
    additional: tuple[Literal["ForeSignatures", "ForeSeals", "ForWebSiteAuthentication"], ...] = ()


class Provider(_Model):
    name: Text
    trade_name: Text
    address: Address
    electronic_address: Text
    information_uri: Text
    service: Annotated[tuple[Service, ...], Field(min_length=1)]


class PointerTo(_Model):
    location: Text
    territory: Territory
    operator: Text
    signers: Annotated[tuple[Path, ...], Field(min_length=1)]
    type: Literal["generic", "list of lists"] = "generic"


class ListFile(_Model):
    """The whole file: one scheme, its providers, and pointers to other lists."""

    scheme: Scheme
    provider: tuple[Provider, ...] = ()
    pointer: tuple[PointerTo, ...] = ()


def read_list_file(path: Path, *, now: datetime) -> ListContent:
    """The content of a list from its TOML file.

    Raises: NotFound `trusted_list.file`; Malformed `trusted_list.toml`, with the place; `x509.certificate`.
    """
    try:
        data = path.read_bytes()
        if len(data) > MAX_TOML_BYTES:
            raise Malformed("trusted_list.toml", f"{path} is larger than {MAX_TOML_BYTES} bytes")
        file = ListFile.model_validate(tomllib.loads(data.decode("utf-8")))
    except OSError as error:
        raise NotFound("trusted_list.file", f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise Malformed("trusted_list.toml", f"{path}: {error}") from error
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:5])
        raise Malformed("trusted_list.toml", f"{path}: {told}") from error
    return _content(file, path.parent, now)


def _content(file: ListFile, folder: Path, now: datetime) -> ListContent:
    scheme = file.scheme
    issued_at = (scheme.issued_at or now).astimezone(UTC).replace(microsecond=0)
    return ListContent(
        sequence_number=scheme.sequence_number,
        territory=scheme.territory,
        operator_name=scheme.operator,
        address=_address(scheme.address),
        electronic_address=scheme.electronic_address,
        scheme_name=scheme.name,
        information_uri=scheme.information_uri,
        pivots=scheme.pivots,
        legal_notice=scheme.legal_notice,
        issued_at=issued_at,
        next_update_at=issued_at + timedelta(days=scheme.valid_days),
        distribution_point=scheme.distribution_point,
        providers=tuple(_provider(provider, folder) for provider in file.provider),
        pointers=tuple(
            ListedPointer(
                location=pointer.location,
                territory=pointer.territory,
                operator_name=pointer.operator,
                signers=tuple(read_certificate(folder / name) for name in pointer.signers),
                list_type=_LIST_TYPES[pointer.type],
            )
            for pointer in file.pointer
        ),
        list_type=_LIST_TYPES[scheme.type],
        version=scheme.version,
    )


def _address(address: Address) -> PostalAddress:
    return PostalAddress(address.street, address.locality, address.postal_code, address.country)


def _provider(provider: Provider, folder: Path) -> ListedProvider:
    return ListedProvider(
        name=provider.name,
        trade_name=provider.trade_name,
        address=_address(provider.address),
        electronic_address=provider.electronic_address,
        information_uri=provider.information_uri,
        services=tuple(_service(service, folder) for service in provider.service),
    )


def _service(service: Service, folder: Path) -> ListedService:
    periods = sorted(service.history, key=lambda period: period.starting_at, reverse=True)
    if any(period.starting_at >= service.starting_at for period in periods):
        raise Malformed("trusted_list.toml", f"service {service.name}: its history begins after its present status")
    return ListedService(
        service_type=_TYPE + service.type,
        name=service.name,
        certificate=read_certificate(folder / service.certificate),
        status=_STATUS + service.status,
        starting_at=service.starting_at.astimezone(UTC),
        history=tuple(ListedPeriod(_STATUS + one.status, one.starting_at.astimezone(UTC)) for one in periods),
        additional=service.additional,
    )


# ------------------------------------------------------------------ check


@dataclass(frozen=True, slots=True)
class ListProblem:
    """`is_error`: programs must not believe the list; else something that its operator should look at."""

    code: str
    text: str
    is_error: bool = True


def check_list(
    xml: bytes, *, signers: Sequence[x509.Certificate], at: datetime, former: bytes | None = None
) -> list[ListProblem]:
    """Everything that is wrong with a list at `at`. Without `signers` its signature cannot be checked, and that is an
    error: nobody may believe a list on its own word.

    Raises: Malformed, what cannot be read as a list at all.
    """
    content = parse_trusted_list(xml)
    problems = list(_check_signature(xml, signers, at))
    problems += _check_period(content, at)
    problems += _check_sequence(content, former)
    problems += _check_services(content, at)
    problems += _check_pointers(content, at)
    return problems


def _check_signature(xml: bytes, signers: Sequence[x509.Certificate], at: datetime) -> Iterator[ListProblem]:
    if not signers:
        yield ListProblem(
            "trusted_list.not_checked", "The signature was not checked: name its signer's certificate, --tl-cert"
        )
        return
    try:
        verified = verify_trusted_list(xml, signers=signers)
    except DigiidError as error:
        yield ListProblem(error.code, error.detail)
        return
    if not verified.signer.not_valid_before_utc <= at <= verified.signer.not_valid_after_utc:
        yield ListProblem("trusted_list.signer_expired", "The signer's certificate is not valid now")


def _check_period(content: TrustedList, at: datetime) -> Iterator[ListProblem]:
    try:
        check_period(content, at=at)
    except DigiidError as error:
        yield ListProblem(error.code, error.detail)


def _check_sequence(content: TrustedList, former: bytes | None) -> Iterator[ListProblem]:
    if former is None:
        return
    before = parse_trusted_list(former)
    if content.sequence_number <= before.sequence_number:
        text = f"Sequence number {content.sequence_number} does not follow {before.sequence_number}"
        yield ListProblem("trusted_list.rollback", text)
    gone = {der for service in before.services for der in service.certificates_der} - {
        der for service in content.services for der in service.certificates_der
    }
    if gone:
        text = f"{len(gone)} service certificates of the former list are missing: withdraw services, never drop them"
        yield ListProblem("trusted_list.dropped", text)


def _check_services(content: TrustedList, at: datetime) -> Iterator[ListProblem]:
    seen: set[tuple[bytes, str]] = set()
    for service in content.services:
        present = service.periods[0]
        if present.starting_at > at:
            yield ListProblem("trusted_list.status_in_future", f"{service.name}: its status begins in the future")
        for der in service.certificates_der:
            key = (der, present.service_type)
            if key in seen:
                yield ListProblem("trusted_list.duplicate", f"{service.name}: listed twice with one certificate", False)
            seen.add(key)
            try:
                certificate = load_certificate(der)
            except Malformed as error:
                yield ListProblem(error.code, f"{service.name}: {error.detail}")
                continue
            if present.is_granted and certificate.not_valid_after_utc < at:
                yield ListProblem(
                    "trusted_list.expired", f"{service.name}: granted, its certificate has run out", False
                )


def _check_pointers(content: TrustedList, at: datetime) -> Iterator[ListProblem]:
    for pointer in content.pointers:
        valid = 0
        for der in pointer.signers_der:
            try:
                certificate = load_certificate(der)
            except Malformed:
                continue
            valid += certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc
        if not valid:
            yield ListProblem(
                "trusted_list.pointer", f"{pointer.location}: no signer's certificate is valid now", False
            )
