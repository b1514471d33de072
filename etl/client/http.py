"""Pages of a range over HTTP, as Arrow tables."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar
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
    """Of pages the next one is asked for, on a second connection, as soon as its cursor is known: the store makes it
    while this one is read. Connections are made when they are needed. Not for several threads."""

    def __init__(self, url: str, token: str, context: ssl.SSLContext | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ClientError("url: http[s]://host[:port]")
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port or (443 if self._secure else 80)
        self._context = context
        self._headers = {"Authorization": f"Bearer {token}"}
        self._idle: list[http.client.HTTPConnection] = []
        self._ahead: tuple[str, http.client.HTTPConnection] | None = None
        """A path that was asked for, and where it is answered."""

    def close(self) -> None:
        self._forget_ahead()
        while self._idle:
            self._idle.pop().close()

    def estimate(self, table: str, params: Mapping[str, str]) -> int:
        """Rows of a range. Raises ``ClientError``."""
        return int(self._get(_path(table, params, estimate="true"), json.load)["rows"])

    def pages(self, table: str, params: Mapping[str, str]) -> Iterator[pa.Table]:
        """Raises ``ClientError``."""
        first = _path(table, params, format="arrow", limit=str(PAGE_ROWS))

        def read(answer: http.client.HTTPResponse) -> tuple[pa.Table, str]:
            cursor = answer.headers.get("X-Next-Cursor")
            following = f"{first}&{urlencode({'cursor': cursor})}" if cursor else ""
            if following:
                self._ask_ahead(following)
            return _arrow(answer), following

        path = first
        try:
            while path:
                page, path = self._get(path, read)
                yield page
        finally:
            self._forget_ahead()

    def whole(self, table: str, params: Mapping[str, str]) -> pa.Table:
        """An answer that has no pages. Raises ``ClientError``."""
        return self._get(_path(table, params, format="arrow"), _arrow)

    def _get(self, path: str, read: Callable[[http.client.HTTPResponse], T]) -> T:
        """What ``read`` makes of the answer. Raises ``ClientError``."""
        wait_s = WAIT_S
        for left in reversed(range(TRIES_MAX)):
            try:
                with self._answer(path) as answer:
                    if answer.status == 200:
                        return read(answer)
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

    @contextmanager
    def _answer(self, path: str) -> Iterator[http.client.HTTPResponse]:
        """Its connection is kept once the answer was read, and closed where that fails."""
        if self._ahead and self._ahead[0] == path:
            (_, connection), self._ahead = self._ahead, None
        else:
            connection = self._send(path)
        try:
            answer = connection.getresponse()
            yield answer
            answer.read()  # the end of a body whose end the reader knew before
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)

    def _send(self, path: str) -> http.client.HTTPConnection:
        connection = self._idle.pop() if self._idle else self._connect()
        try:
            connection.request("GET", path, headers=self._headers)
        except BaseException:
            connection.close()
            raise
        return connection

    def _ask_ahead(self, path: str) -> None:
        self._forget_ahead()
        self._ahead = (path, self._send(path))

    def _forget_ahead(self) -> None:
        if self._ahead:
            self._ahead[1].close()
            self._ahead = None

    def _connect(self) -> http.client.HTTPConnection:
        if self._secure:
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=TIMEOUT_S, context=self._context
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)


def _path(table: str, params: Mapping[str, str], **more: str) -> str:
    return f"/v1/{table}?{urlencode({**params, **more})}"


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
