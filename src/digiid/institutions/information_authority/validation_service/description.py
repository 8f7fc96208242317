"""The OpenAPI description of both calls, served at `/V3/openapi.json`."""

from typing import Any, Final

_TEXT: Final = {"type": "string"}
_ERRORS: Final = {
    "type": "object",
    "required": ["requestErrors"],
    "properties": {
        "requestErrors": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "object", "required": ["key", "message"], "properties": {"key": _TEXT, "message": _TEXT}},
        }
    },
}
_PROBLEM: Final = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {"type": _TEXT, "title": _TEXT, "status": {"type": "integer"}, "code": _TEXT, "detail": _TEXT},
}
_CONCLUSION: Final = {
    "type": "object",
    "required": ["policy", "validationTime", "validationLevel", "signaturesCount", "validSignaturesCount"],
    "properties": {
        "signaturesCount": {"type": "integer"},
        "validSignaturesCount": {"type": "integer"},
        "signatures": {
            "type": "array",
            "items": {"type": "object", "required": ["id", "signatureFormat", "signedBy", "indication"]},
        },
    },
}
_REPORT: Final = {
    "type": "object",
    "required": ["validationReport"],
    "properties": {
        "validationReport": {
            "type": "object",
            "required": ["validationConclusion"],
            "properties": {
                "validationConclusion": _CONCLUSION,
                "validationProcess": {"type": "object"},
                "diagnosticData": {"type": "object"},
            },
        },
        "validationReportSignature": _TEXT,
    },
}
_BASE64: Final = {"type": "string", "minLength": 1, "format": "byte"}
_NAME: Final = {"type": "string", "minLength": 1, "maxLength": 260}
_POLICY: Final = {"enum": ["POLv3", "POLv4"]}
_REPORT_TYPE: Final = {"enum": ["Simple", "Detailed", "Diagnostic"]}
_REASONS: Final = {
    400: "The request is not understood; every field that is wrong is named.",
    404: "There is no such call.",
    405: "The call takes another method.",
    408: "The body did not come in time.",
    413: "The body is too large.",
    415: "The body is of another type.",
    429: "This client asks too much at once.",
    500: "Judging failed.",
    503: "Too much is asked, or the trusted lists cannot be relied upon; try again.",
}


def _call(summary: str, body: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    return {
        "post": {
            "summary": summary,
            "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
            "responses": {
                "200": {"description": "Answered.", "content": {"application/json": {"schema": answer}}},
                **{
                    str(status): {"description": text, "content": {"application/json": {"schema": _ERRORS}}}
                    for status, text in _REASONS.items()
                },
            },
        }
    }


def _hashcode_body() -> dict[str, Any]:
    data_file = {
        "type": "object",
        "required": ["filename", "hashAlgo", "hash"],
        "properties": {"filename": _NAME, "hashAlgo": _TEXT, "hash": {**_BASE64, "maxLength": 1000}},
    }
    signature_file = {
        "type": "object",
        "required": ["signature"],
        "properties": {"signature": _BASE64, "datafiles": {"type": "array", "minItems": 1, "items": data_file}},
    }
    return {
        "type": "object",
        "required": ["signatureFiles"],
        "properties": {
            "signatureFiles": {"type": "array", "minItems": 1, "items": signature_file},
            "signaturePolicy": _POLICY,
            "reportType": _REPORT_TYPE,
        },
    }


def _raw_call() -> dict[str, Any]:
    def parameter(name: str, schema: dict[str, Any], *, required: bool) -> dict[str, Any]:
        return {"name": name, "in": "query", "required": required, "schema": schema}

    return {
        "post": {
            "summary": "Judge the body, of any size that is accepted, as it streams in",
            "parameters": [
                parameter("filename", _NAME, required=True),
                parameter("policy", _POLICY, required=False),
                parameter("report", _REPORT_TYPE, required=False),
            ],
            "requestBody": {
                "required": True,
                "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
            },
            "responses": {
                "200": {"description": "Judged.", "content": {"application/json": {"schema": _REPORT}}},
                **{
                    str(status): {"description": text, "content": {"application/problem+json": {"schema": _PROBLEM}}}
                    for status, text in _REASONS.items()
                },
            },
        }
    }


def describe() -> dict[str, Any]:
    """OpenAPI 3.1."""
    validate = {
        "type": "object",
        "required": ["document", "filename"],
        "properties": {
            "document": _BASE64,
            "filename": _NAME,
            "signaturePolicy": _POLICY,
            "reportType": _REPORT_TYPE,
        },
    }
    data_files = {
        "type": "object",
        "required": ["document", "filename"],
        "properties": {"document": _BASE64, "filename": _NAME},
    }
    found_files = {
        "type": "object",
        "required": ["dataFiles"],
        "properties": {"dataFiles": {"type": "array", "items": {"type": "object", "required": ["filename"]}}},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "digiid validation service", "version": "3.10.0"},
        "paths": {
            "/V3/validate": _call("Judge a document", validate, _REPORT),
            "/V3/validateHashcode": _call("Judge signature files without the data files", _hashcode_body(), _REPORT),
            "/V3/getDataFiles": _call("Read the files of a DDOC", data_files, found_files),
            "/validation/report": _raw_call(),
        },
    }
