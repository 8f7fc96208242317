"""One person's browser against an ASGI application in this process: cookies, forms, no sockets.

Its loop runs in a thread of its own: in the tests' thread Playwright may keep one running.
"""

import asyncio
import re
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import httpx

T = TypeVar("T")
PAGE_TOKEN = re.compile(r'<meta name="csrf-token" content="([0-9a-f]{64})">')


class PageClient:
    """Close it, or use it as a context manager; it owns an event loop."""

    def __init__(self, app: Any, origin: str, *, address: str = "192.0.2.7", language: str = "en") -> None:
        self.origin = origin
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="page-client")
        self._runner = self._thread.submit(asyncio.Runner).result()
        self._client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app, client=(address, 50000), raise_app_exceptions=True),
            base_url=origin,
            headers={"Accept": "text/html", "Accept-Language": language},
        )
        self._token = ""

    def __enter__(self) -> "PageClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._run(self._client.aclose())
        self._thread.submit(self._runner.close).result()
        self._thread.shutdown()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._thread.submit(self._runner.run, coroutine).result()

    @property
    def cookies(self) -> httpx.Cookies:
        return self._client.cookies

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request as it is, without any help."""
        answer = self._run(self._client.request(method, path, **options))
        if found := PAGE_TOKEN.search(answer.text if "html" in answer.headers.get("content-type", "") else ""):
            self._token = found[1]
        return answer

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post_form(self, path: str, fields: Mapping[str, Any], *, files: Any = None) -> httpx.Response:
        """Post as the last page's form would: with its token and this site's Origin."""
        data = {"csrf_token": self._token, **fields}
        return self.request("POST", path, data=data, files=files, headers={"Origin": self.origin})

    def post_json(self, path: str, content: object) -> httpx.Response:
        """Post as the last page's script would."""
        headers = {"Origin": self.origin, "Accept": "application/json", "X-CSRF-Token": self._token}
        return self.request("POST", path, json=content, headers=headers)
