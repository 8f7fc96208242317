"""The signing service over HTTP: JSON with SiGa's field names, each request signed, errors as problems (RFC 9457).

Whole files under `/signing/containers`, digests under `/signing/hashcodecontainers`, PDF files under `/signing/pdfs`;
otherwise they are alike.
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

import structlog
from litestar import Litestar, Request, Response, delete, get, post, put
from litestar.datastructures import State
from litestar.exceptions import HTTPException, ValidationException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.params import FromPath, JSONBody
from pydantic import BaseModel, ConfigDict, Field

from digiid.formats.asic import DataFile
from digiid.formats.asic.hashcode import FileHash
from digiid.formats.xades import ProductionPlace
from digiid.institutions.information_authority.signing_service import use_cases
from digiid.institutions.information_authority.signing_service.domain import Form
from digiid.institutions.information_authority.signing_service.use_cases import Address, Deps, SigningRequest
from digiid.kernel.errors import Broken, Conflict, DigiidError, Malformed, NotFound, Refused, Unavailable
from digiid.platform.asgi import BodyReader
from digiid.platform.documents import Level
from digiid.platform.documents.files import guess_media_type
from digiid.platform.documents.pades import PdfWish, VisibleSignature
from digiid.platform.pools import Pools

PREFIX: Final = "/signing"
_STATUS: Final[Mapping[type[DigiidError], int]] = {
    Malformed: 400,
    Refused: 422,
    NotFound: 404,
    Conflict: 409,
    Unavailable: 503,
    Broken: 500,
}
_BODIES_HELD: Final = 12  # of the largest size, at once
_BODY_SECONDS: Final = 120.0
_OPEN_PATHS: Final = (f"{PREFIX}/openapi.json",)
_SUFFIXES: Final = {Form.ASICE: "Container", Form.HASHCODE: "HashcodeContainer", Form.PDF: "Pdf"}
_HASH_NAMES: Final = {"sha256": "SHA256", "sha384": "SHA384", "sha512": "SHA512"}
log = structlog.get_logger("signing_service")

Base64 = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]+={0,2}$", min_length=4)]
FileName = Annotated[str, Field(min_length=1, max_length=255)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class WholeFile(_Model):
    fileName: FileName  # noqa: N815 - SiGa's names are the contract
    fileContent: Base64  # noqa: N815
    mimeType: Annotated[str, Field(max_length=255)] | None = None  # noqa: N815


class CreateContainer(_Model):
    containerName: FileName = "container.asice"  # noqa: N815
    dataFiles: Annotated[list[WholeFile], Field(min_length=1)]  # noqa: N815


class FileDigests(_Model):
    fileName: FileName  # noqa: N815
    fileHashSha256: Base64  # noqa: N815
    fileHashSha512: Base64  # noqa: N815
    fileSize: Annotated[int, Field(ge=1, le=2**63 - 1)]  # noqa: N815
    mimeType: Annotated[str, Field(max_length=255)] | None = None  # noqa: N815


class CreateHashcodeContainer(_Model):
    dataFiles: Annotated[list[FileDigests], Field(min_length=1)]  # noqa: N815


class UploadContainer(_Model):
    containerName: FileName = "container.asice"  # noqa: N815
    container: Base64


class Created(_Model):
    containerId: str  # noqa: N815


class Place(_Model):
    city: str | None = None
    stateOrProvince: str | None = None  # noqa: N815
    postalCode: str | None = None  # noqa: N815
    countryName: str | None = None  # noqa: N815


class Prepare(_Model):
    signingCertificate: Base64  # noqa: N815
    signatureProfile: Literal["LT", "LTA"] = "LT"  # noqa: N815
    paddingScheme: Literal["PKCS1.5", "PSS"] = "PKCS1.5"  # noqa: N815 - Web eID's word; for RSA keys
    roles: Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(max_length=5)] = []
    signatureProductionPlace: Place | None = None  # noqa: N815


class Seen(_Model):
    """Where a signature is seen: the page from 1 on, the rest in points from the lower left corner."""

    page: Annotated[int, Field(ge=1, le=100_000)] = 1
    left: Annotated[int, Field(ge=0, le=100_000)]
    bottom: Annotated[int, Field(ge=0, le=100_000)]
    right: Annotated[int, Field(ge=0, le=100_000)]
    top: Annotated[int, Field(ge=0, le=100_000)]


class PreparePdf(Prepare):
    signingReason: Annotated[str, Field(min_length=1, max_length=256)] | None = None  # noqa: N815
    signatureField: Annotated[str, Field(min_length=1, max_length=256)] | None = None  # noqa: N815
    visible: Seen | None = None


class Prepared(_Model):
    dataToSign: str  # noqa: N815 - octets to be hashed and signed
    digest: str  # their hash, for devices that sign a hash
    digestAlgorithm: str  # noqa: N815
    generatedSignatureId: str  # noqa: N815


class Value(_Model):
    signatureValue: Base64  # noqa: N815


class Done(_Model):
    result: Literal["OK"] = "OK"


class Fetched(_Model):
    containerName: str  # noqa: N815
    container: str


class ListedFile(_Model):
    fileName: str  # noqa: N815
    mimeType: str  # noqa: N815
    fileSize: int  # noqa: N815


class ListedFiles(_Model):
    dataFiles: list[ListedFile]  # noqa: N815


class ListedSignature(_Model):
    id: str
    signerInfo: str  # noqa: N815
    signatureProfile: str  # noqa: N815
    indication: str


class ListedSignatures(_Model):
    signatures: list[ListedSignature]


class ValidationReport(_Model):
    validationConclusion: dict[str, Any]  # noqa: N815


class Problem(_Model):
    """RFC 9457; `errorCode` and `errorMessage` are what SiGa's clients read."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errorCode: str  # noqa: N815
    errorMessage: str  # noqa: N815


_PROBLEMS: Final = {
    400: "Not understood: a field is missing or not what its format says.",
    401: "The request is not signed, not signed rightly, too old, or came before.",
    404: "There is no such container, signature or prepared signature of this client.",
    405: "The method is not known here.",
    409: "The thing is not in the state that this step needs.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "Understood and refused, with the reason.",
    500: "Our own fault.",
    503: "A trust service does not answer or too much is asked at once; try again.",
}
RESPONSES: Final = {
    status: ResponseSpec(Problem, generate_examples=False, description=text, media_type="application/problem+json")
    for status, text in _PROBLEMS.items()
}


def build_signing_service_app(deps: Deps, pools: Pools) -> Any:
    """The ASGI application; it answers paths that begin with `/signing`. Use cases run on the pool for pages."""
    handlers = [
        _describe,
        *_creating(deps, pools),
        *_handlers(deps, pools, Form.ASICE),
        *_handlers(deps, pools, Form.HASHCODE),
        *_handlers(deps, pools, Form.PDF),
    ]
    app = Litestar(
        handlers,
        openapi_config=OpenAPIConfig(
            title="digiid signing service",
            version="1.0.0",
            description="Two-step signing for providers of e-services. See docs/reference/signing-api.md.",
            path=f"{PREFIX}/description",  # the library answers every path below it
            render_plugins=[JsonRenderPlugin()],
            components=Components(
                security_schemes={
                    "hmac": SecurityScheme(
                        type="apiKey",
                        security_scheme_in="header",
                        name="X-Authorization-Signature",
                        description="HMAC over UUID:TIMESTAMP:METHOD:PATH:body, beside X-Authorization-ServiceUUID, "
                        "X-Authorization-Timestamp and X-Authorization-Hmac-Algorithm.",
                    )
                }
            ),
            security=[{"hmac": []}],
        ),
        exception_handlers={Exception: _answer_exception},
        request_max_body_size=deps.settings.max_body_bytes,
        state=State({}),
        debug=False,
        logging_config=None,
    )
    return _Authenticated(app, deps, pools)


# ---------------------------------------------------------------------------------------------- handlers


@get(f"{PREFIX}/openapi.json", include_in_schema=False)
async def _describe(request: Request[Any, Any, Any]) -> dict[str, Any]:
    return request.app.openapi_schema.to_schema()


def _creating(deps: Deps, pools: Pools) -> list[HTTPRouteHandler]:
    @post(f"{PREFIX}/containers", status_code=200, responses=RESPONSES, operation_id="createContainer")
    async def create_container(request: Request[Any, Any, Any], data: JSONBody[CreateContainer]) -> Created:
        def work() -> str:
            files = [
                DataFile(file.fileName, file.mimeType or guess_media_type(file.fileName), _decode(file.fileContent))
                for file in data.dataFiles
            ]
            return use_cases.create_container(deps, _client(request), name=data.containerName, files=files)

        return Created(containerId=await pools.pages.run(work))

    @post(f"{PREFIX}/hashcodecontainers", status_code=200, responses=RESPONSES, operation_id="createHashcodeContainer")
    async def create_hashcode_container(
        request: Request[Any, Any, Any], data: JSONBody[CreateHashcodeContainer]
    ) -> Created:
        def work() -> str:
            files = [
                FileHash(
                    file.fileName,
                    file.fileSize,
                    _decode(file.fileHashSha256),
                    _decode(file.fileHashSha512),
                    file.mimeType or "application/octet-stream",
                )
                for file in data.dataFiles
            ]
            return use_cases.create_hashcode_container(deps, _client(request), files=files)

        return Created(containerId=await pools.pages.run(work))

    return [create_container, create_hashcode_container]


def _handlers(deps: Deps, pools: Pools, form: Form) -> list[HTTPRouteHandler]:
    return [*_containers(deps, pools, form), *_signing(deps, pools, form), *_signatures(deps, pools, form)]


def _containers(deps: Deps, pools: Pools, form: Form) -> list[HTTPRouteHandler]:
    """A container comes, is fetched, tells of its files, and goes."""
    one, suffix = _one(form), _SUFFIXES[form]

    @post(f"{PREFIX}/upload/{form.value}", status_code=200, responses=RESPONSES, operation_id=f"upload{suffix}")
    async def upload(request: Request[Any, Any, Any], data: JSONBody[UploadContainer]) -> Created:
        def work() -> str:
            content = _decode(data.container)
            return use_cases.upload_container(deps, _client(request), form, name=data.containerName, content=content)

        return Created(containerId=await pools.pages.run(work))

    @get(one, responses=RESPONSES, operation_id=f"get{suffix}")
    async def fetch(request: Request[Any, Any, Any], container_id: FromPath[str]) -> Fetched:
        def work() -> Fetched:
            found = use_cases.get_container(deps, _address(request, form, container_id))
            return Fetched(containerName=found.name, container=base64.b64encode(found.content).decode())

        return await pools.pages.run(work)

    @delete(one, status_code=200, responses=RESPONSES, operation_id=f"delete{suffix}")
    async def forget(request: Request[Any, Any, Any], container_id: FromPath[str]) -> Done:
        await pools.pages.run(use_cases.delete_container, deps, _address(request, form, container_id))
        return Done()

    @get(f"{one}/datafiles", responses=RESPONSES, operation_id=f"list{suffix}Files")
    async def files(request: Request[Any, Any, Any], container_id: FromPath[str]) -> ListedFiles:
        found = await pools.pages.run(use_cases.list_files, deps, _address(request, form, container_id))
        return ListedFiles(
            dataFiles=[
                ListedFile(fileName=file.name, mimeType=file.media_type, fileSize=file.size_bytes) for file in found
            ]
        )

    return [upload, fetch, forget] if form is Form.PDF else [upload, fetch, forget, files]


def _signing(deps: Deps, pools: Pools, form: Form) -> list[HTTPRouteHandler]:
    """The two steps: what is to be signed goes out, the value comes in."""
    one, suffix = _one(form), _SUFFIXES[form]

    async def prepare_with(request: Request[Any, Any, Any], container_id: str, asked: SigningRequest) -> Prepared:
        def work() -> Prepared:
            to_sign = use_cases.prepare(deps, _address(request, form, container_id), asked)
            return Prepared(
                dataToSign=base64.b64encode(to_sign.data_to_sign).decode(),
                digest=base64.b64encode(to_sign.digest).decode(),
                digestAlgorithm=_HASH_NAMES[to_sign.hash_name],
                generatedSignatureId=to_sign.signature_id,
            )

        return await pools.pages.run(work)

    preparing = post(
        f"{one}/remotesigning", status_code=200, responses=RESPONSES, operation_id=f"prepare{suffix}Signature"
    )

    @preparing
    async def prepare(
        request: Request[Any, Any, Any], container_id: FromPath[str], data: JSONBody[Prepare]
    ) -> Prepared:
        return await prepare_with(request, container_id, _signing_request(data))

    @preparing
    async def prepare_pdf(
        request: Request[Any, Any, Any], container_id: FromPath[str], data: JSONBody[PreparePdf]
    ) -> Prepared:
        return await prepare_with(request, container_id, replace(_signing_request(data), pdf=_pdf_wish(data)))

    @put(
        f"{one}/remotesigning/{{generated_signature_id:str}}",
        responses=RESPONSES,
        operation_id=f"complete{suffix}Signature",
    )
    async def complete(
        request: Request[Any, Any, Any],
        container_id: FromPath[str],
        generated_signature_id: FromPath[str],
        data: JSONBody[Value],
    ) -> Done:
        def work() -> None:
            value = _decode(data.signatureValue)
            use_cases.complete(deps, _address(request, form, container_id), generated_signature_id, value)

        await pools.pages.run(work)
        return Done()

    return [prepare_pdf if form is Form.PDF else prepare, complete]


def _signatures(deps: Deps, pools: Pools, form: Form) -> list[HTTPRouteHandler]:
    """The signatures that a container has: listed, judged, made to last, taken out."""
    one, suffix = _one(form), _SUFFIXES[form]

    @get(f"{one}/signatures", responses=RESPONSES, operation_id=f"list{suffix}Signatures")
    async def signatures(request: Request[Any, Any, Any], container_id: FromPath[str]) -> ListedSignatures:
        found = await pools.pages.run(use_cases.list_signatures, deps, _address(request, form, container_id))
        return ListedSignatures(
            signatures=[
                ListedSignature(
                    id=one.signature_id,
                    signerInfo=one.signed_by,
                    signatureProfile=one.signature_format,
                    indication=one.indication,
                )
                for one in found
            ]
        )

    @delete(
        f"{one}/signatures/{{signature_id:str}}",
        status_code=200,
        responses=RESPONSES,
        operation_id=f"remove{suffix}Signature",
    )
    async def remove(request: Request[Any, Any, Any], container_id: FromPath[str], signature_id: FromPath[str]) -> Done:
        await pools.pages.run(use_cases.remove_signature, deps, _address(request, form, container_id), signature_id)
        return Done()

    @get(f"{one}/validationreport", responses=RESPONSES, operation_id=f"validate{suffix}")
    async def report(request: Request[Any, Any, Any], container_id: FromPath[str]) -> ValidationReport:
        found = await pools.pages.run(use_cases.validate, deps, _address(request, form, container_id))
        return ValidationReport(validationConclusion=found.to_simple_report())

    @put(f"{one}/augmentation", responses=RESPONSES, operation_id=f"extend{suffix}")
    async def extend(request: Request[Any, Any, Any], container_id: FromPath[str]) -> Done:
        await pools.pages.run(use_cases.extend, deps, _address(request, form, container_id))
        return Done()

    handlers: dict[Form, list[HTTPRouteHandler]] = {
        Form.ASICE: [signatures, report, remove, extend],
        Form.HASHCODE: [signatures, report, remove],
        Form.PDF: [signatures, report, extend],
    }
    return handlers[form]


def _one(form: Form) -> str:
    return f"{PREFIX}/{form.value}/{{container_id:str}}"


def _address(request: Request[Any, Any, Any], form: Form, container_id: str) -> Address:
    return Address(_client(request), form, container_id)


def _pdf_wish(data: PreparePdf) -> PdfWish:
    seen = data.visible
    visible = None if seen is None else VisibleSignature(seen.page, (seen.left, seen.bottom, seen.right, seen.top))
    return PdfWish(reason=data.signingReason, visible=visible, field_name=data.signatureField)


def _signing_request(data: Prepare) -> SigningRequest:
    place = data.signatureProductionPlace
    return SigningRequest(
        certificate_der=_decode(data.signingCertificate),
        level=Level(data.signatureProfile),
        pss=data.paddingScheme == "PSS",
        roles=tuple(data.roles),
        place=ProductionPlace(
            city=place.city,
            state_or_province=place.stateOrProvince,
            postal_code=place.postalCode,
            country_name=place.countryName,
        )
        if place
        else None,
    )


def _client(request: Request[Any, Any, Any]) -> str:
    return str(request.scope["digiid_client"])  # type: ignore[typeddict-item]  # _Authenticated put it there


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed("signing.base64", "A value is not base64.") from error


# ---------------------------------------------------------------------------------------------- edge


class _Authenticated:
    """Reads the whole body, establishes the client, and only then lets the request through."""

    def __init__(self, app: Any, deps: Deps, pools: Pools) -> None:
        self._app, self._deps, self._pools = app, deps, pools
        largest = deps.settings.max_body_bytes
        self._bodies = BodyReader(max_bytes=largest, max_held_bytes=_BODIES_HELD * largest, seconds=_BODY_SECONDS)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] in _OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        try:
            async with self._bodies.reading(receive) as body:
                await self._let_through(scope, body, send)
        except DigiidError as error:
            await _send_problem(send, error)

    async def _let_through(self, scope: Any, body: bytes, send: Any) -> None:
        try:
            client_id = await self._pools.pages.run(
                self._deps.registry.authenticate,
                _headers(scope["headers"]),
                method=scope["method"],
                path=_target(scope),
                body=body,
            )
        except DigiidError as error:
            await _send_problem(send, error)
            return
        if body and not _is_json(scope["headers"]):
            text = "The body is JSON and comes as Content-Type: application/json."
            await _send_problem(send, Malformed("signing.content_type", text))
            return

        async def replay() -> Mapping[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app({**scope, "digiid_client": client_id}, replay, send)


def _headers(raw: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in raw}


def _is_json(raw: Sequence[tuple[bytes, bytes]]) -> bool:
    given = _headers(raw).get("content-type", "").partition(";")[0]
    return given.strip().lower() == "application/json"


def _target(scope: Mapping[str, Any]) -> str:
    query = scope.get("query_string", b"")
    path = scope.get("raw_path") or str(scope["path"]).encode()
    return (path + (b"?" + query if query else b"")).decode("latin-1")


def _answer_exception(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The one table from errors to answers."""
    headers: dict[str, str] = {}
    if isinstance(error, DigiidError):
        status, problem = _problem_of(error)
    elif isinstance(error, ValidationException):
        status, problem = 400, _problem(400, "signing.request", _fields(error))
    elif isinstance(error, HTTPException) and error.status_code == 400:
        status, problem = 400, _problem(400, "signing.request", "The body is not JSON in UTF-8.")
    elif isinstance(error, HTTPException):
        status = error.status_code
        problem = _problem(status, f"http.status_{status}", _PROBLEMS.get(status, "The request cannot be answered."))
        headers = {name: value for name, value in (error.headers or {}).items() if name.lower() == "allow"}
    else:
        log.error("signing_service.failed", path=request.scope["path"], exc_info=error)
        status, problem = 500, _problem(500, "signing.failed", _PROBLEMS[500])
    return Response(
        json.dumps(problem).encode(), status_code=status, media_type="application/problem+json", headers=headers
    )


def _fields(error: ValidationException) -> str:
    named = [str(one.get("key", "")) for one in error.extra or [] if isinstance(one, dict)]
    return f"Not understood: {', '.join(filter(None, named))[:300] or 'the body'}"


def _problem_of(error: DigiidError) -> tuple[int, Mapping[str, Any]]:
    status = next((found for kind, found in _STATUS.items() if isinstance(error, kind)), 500)
    if error.code.startswith("signing.auth."):
        status = 401
    elif error.code == "http.too_large":
        status = 413
    elif error.code == "signing.content_type":
        status = 415
    level = log.error if status == 500 else log.info
    level("signing_service.answered", code=error.code, status=status, detail=error.detail)
    # Clients are programs: they are told in English what is wrong with their own request; our own faults stay here.
    is_theirs = isinstance(error, Malformed | Refused | NotFound | Conflict)
    # Where there are words for everybody, those say it better than the log's.
    detail = (error.public or error.detail) if is_theirs else _PROBLEMS[status]
    return status, _problem(status, error.code, detail)


def _problem(status: int, code: str, detail: str) -> Mapping[str, Any]:
    return {
        "type": f"urn:digiid:error:{code}",
        "title": _PROBLEMS.get(status, "The request cannot be answered."),
        "status": status,
        "code": code,
        "detail": detail,
        "errorCode": code,
        "errorMessage": detail,
    }


async def _send_problem(send: Any, error: DigiidError) -> None:
    status, problem = _problem_of(error)
    body = json.dumps(problem).encode()
    headers = [(b"content-type", b"application/problem+json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
