"""A provider's side of the signing service: signs each request, speaks SiGa's JSON."""

import base64
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx

from digiid.institutions.information_authority.signing_service.clients import ClientCredentials, sign_request
from digiid.platform.clock import Clock


@dataclass
class SigningClient:
    base_url: str
    credentials: ClientCredentials
    clock: Clock
    sent: int = 0

    def call(self, method: str, path: str, body: Any = None, **changes: Any) -> httpx.Response:
        """`changes`: `headers` replaces some, `at` signs as of another time."""
        content = b"" if body is None else json.dumps(body).encode()
        self.sent += 1  # requests of one second differ
        at: datetime = changes.pop("at", self.clock.now() + timedelta(microseconds=self.sent))
        headers = sign_request(self.credentials, method=method, path=path, body=content, at=at)
        headers |= {"Content-Type": "application/json"} | changes.pop("headers", {})
        return httpx.request(method, self.base_url + path, content=content, headers=headers, timeout=30)

    def headers_for(self, method: str, path: str, content: bytes) -> dict[str, str]:
        """For a request that somebody else sends."""
        self.sent += 1
        at = self.clock.now() + timedelta(microseconds=self.sent)
        return sign_request(self.credentials, method=method, path=path, body=content, at=at)

    def ok(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.call(method, path, body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def refused(self, status: int, method: str, path: str, body: Any = None, **changes: Any) -> str:
        """The code of a problem."""
        answer = self.call(method, path, body, **changes)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"].startswith("application/problem+json")
        problem = answer.json()
        assert problem["status"] == status and problem["errorCode"] == problem["code"] and problem["errorMessage"]
        return str(problem["code"])

    def create(self, files: Any) -> str:
        data_files = [
            {"fileName": file.name, "fileContent": b64(file.content), "mimeType": file.media_type} for file in files
        ]
        body = {"containerName": "agreement.asice", "dataFiles": data_files}
        return str(self.ok("POST", "/signing/containers", body)["containerId"])

    def fetch(self, container_id: str, form: str = "containers") -> bytes:
        return base64.b64decode(self.ok("GET", f"/signing/{form}/{container_id}")["container"])


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
