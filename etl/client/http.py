"""Pages of a range over HTTP, as Arrow tables."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import pyarrow as pa

from etl.client.errors import ClientError, Refused

TIMEOUT_S = 120.0
TRIES_MAX = 4
"""Of a request that got no answer, or that comes too often."""
WAIT_S = 0.5
"""Before the second try; doubled with each."""
WAIT_MAX_S = 60.0
PAGE_ROWS = 250_000
_AGAIN = (429, 503)
T = TypeVar("T")


class Http:
    """One connection, made when it is needed. Not for several threads."""

    def __init__(self, url: str, token: str, context: ssl.SSLContext | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ClientError("url: http[s]://host[:port]")
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port or (443 if self._secure else 80)
        self._context = context
        self._headers = {"Authorization": f"Bearer {token}"}
        self._connection: http.client.HTTPConnection | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def estimate(self, table: str, params: Mapping[str, str]) -> int:
        """Rows of a range. Raises ``ClientError``."""
        return int(self._get(table, {**params, "estimate": "true"}, json.load)[0]["rows"])

    def pages(self, table: str, params: Mapping[str, str]) -> Iterator[pa.Table]:
        """Raises ``ClientError``."""
        cursor: dict[str, str] = {}
        limit = {"limit": str(PAGE_ROWS), "format": "arrow"}
        while True:
            page, following = self._get(table, {**params, **limit, **cursor}, _arrow)
            yield page
            if not following:
                return
            cursor = {"cursor": following}

    def whole(self, table: str, params: Mapping[str, str]) -> pa.Table:
        """An answer that has no pages. Raises ``ClientError``."""
        return self._get(table, {**params, "format": "arrow"}, _arrow)[0]

    def _get(self, table: str, params: Mapping[str, str], read: Callable[[Any], T]) -> tuple[T, str]:
        """What ``read`` makes of the body, and where the next page begins. Raises ``ClientError``."""
        path = f"/v1/{table}?{urlencode(params)}"
        wait_s = WAIT_S
        for left in reversed(range(TRIES_MAX)):
            try:
                answer = self._ask(path)
                if answer.status == 200:
                    found = read(answer)
                    answer.read()  # the end of a body whose end ``read`` knew before
                    return found, answer.headers.get("X-Next-Cursor") or ""
                body = answer.read()
            except (OSError, http.client.HTTPException, pa.ArrowInvalid) as error:
                self.close()
                if not left:
                    raise ClientError(f"{self._host}:{self._port}: {error or type(error).__name__}") from None
            else:
                if answer.status not in _AGAIN or not left:
                    raise _refused(answer.status, body)
                wait_s = max(wait_s, float(answer.headers.get("Retry-After") or 0))
            time.sleep(min(wait_s, WAIT_MAX_S))
            wait_s *= 2
        raise AssertionError

    def _ask(self, path: str) -> http.client.HTTPResponse:
        if self._connection is None:
            self._connection = self._connect()
        self._connection.request("GET", path, headers=self._headers)
        return self._connection.getresponse()

    def _connect(self) -> http.client.HTTPConnection:
        if self._secure:
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=TIMEOUT_S, context=self._context
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)


def _arrow(body: http.client.HTTPResponse) -> pa.Table:
    """Batch by batch, as they come."""
    with pa.ipc.open_stream(body) as stream:
        return stream.read_all()


def _refused(status: int, body: bytes) -> Refused:
    try:
        told = json.loads(body)
        return Refused(str(told["code"]), str(told["message"]), status)
    except (ValueError, KeyError, TypeError):
        return Refused("failed", f"HTTP {status}", status)
