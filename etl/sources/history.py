"""Frames by request: snapshots, and a venue's history. One answer is one Frame's payload."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from urllib.parse import quote

import aiohttp
from msgspec import Struct

from etl.adapter.back_off import asked_wait_s, back_off_s
from etl.adapter.contract import Exchange, Fault, FaultKind, Request
from etl.adapter.faults import fault_of_status, retry_after_s
from etl.adapter.paging import refusal_of
from etl.errors import VenueError
from etl.model.records import Frame
from etl.sources.limiter import NO_ANSWER, SHUTTING, TOO_MANY, Limiter

TIMEOUT = aiohttp.ClientTimeout(total=20.0)
ATTEMPTS_MAX = 5
BACK_OFF_FIRST_S = 0.5
BACK_OFF_MAX_S = 15.0
RETRY_AFTER_MAX_S = 120.0
ANSWER_BYTES_MAX = 32 << 20
NOWHERE_ELSE: Mapping[str, str] = MappingProxyType({})
REFUSAL_BYTES_MAX = 4 << 10
"""Of a refusal's body: what is searched for the venue's words."""
PASSING = frozenset(
    (FaultKind.TRANSIENT, FaultKind.SHUTDOWN, FaultKind.SLOW_CLIENT, FaultKind.RATE_LIMIT, FaultKind.BANNED)
)
"""What a body may say that is worth asking again; how long a ban is waited for is the limiter's to say."""


class Refused(VenueError):
    """Asking again would change nothing; ``fault`` is what the venue says."""

    def __init__(self, text: str, fault: Fault) -> None:
        super().__init__(text)
        self.fault = fault


class Answer(Struct, frozen=True):
    """``endpoint`` is the URL asked for, with the body of a POST behind ``#body=`` (percent-encoded), so that the raw
    topic tells the whole question; credentials travel in headers or beside it and are not in it."""

    endpoint: str
    payload: bytes
    receive_time_ns: int


class History:
    """One venue's request interface. Use as ``async with``. ``limiter`` paces it with everybody else who uses the
    same key on this machine. ``others``: further hosts by name; one that is not among them is the main one."""

    def __init__(
        self,
        base_url: str,
        parser: Exchange,
        limiter: Limiter | None = None,
        others: Mapping[str, str] = NOWHERE_ELSE,
    ) -> None:
        self._base_url = base_url
        self._others = others
        self._parser = parser
        self._limiter = limiter
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> History:
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.session.close()
        self._session = None

    @property
    def session(self) -> aiohttp.ClientSession:
        assert self._session is not None, "use it within async with"
        return self._session

    async def fetch(self, request: Request) -> Answer:
        """The venue's answer. Tries again what may pass (time-outs, 5xx, limits with their ``Retry-After``, a 200 whose
        body is no answer to ``request``) up to ``ATTEMPTS_MAX`` times. Raises ``VenueError``."""
        self._require_key(request)
        refusal = ""
        for attempt in range(ATTEMPTS_MAX):
            if attempt:
                await asyncio.sleep(back_off_s(attempt, BACK_OFF_FIRST_S, BACK_OFF_MAX_S, random.random()))  # noqa: S311
            if self._limiter is not None:
                await self._limiter.admit(request.weight)
            try:
                answer, refusal, least_s = await self._ask(request)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                refusal = f"{type(error).__name__}: {error}"
                continue
            if answer is not None:
                return answer
            if least_s:
                await asyncio.sleep(least_s)
        raise VenueError(f"{request.path}: {refusal}")

    def _require_key(self, request: Request) -> None:
        """Before anything is asked: the venue would refuse it in words of its own."""
        parser = self._parser
        if request.kind in parser.keyed_history and not parser.credentials.key:
            names = " and ".join(" or ".join(group) for group in parser.key_variables)
            kind = request.kind.name.lower()
            raise VenueError(f"{parser.name} gives its history of {kind} only to a key: set {names}")

    async def pages(self, first: Request, pages_max: int) -> AsyncIterator[Answer]:
        """The answer to ``first`` and to the requests for the pages after it, until the venue has no more. Raises
        ``VenueError``, also where there are more than ``pages_max``."""
        request: Request | None = first
        for number in range(1, pages_max + 1):
            if request is None:
                return
            answer = await self.fetch(request)
            yield answer
            place = (answer.endpoint, answer.receive_time_ns, answer.payload)
            request = self._parser.next_request(request, Frame(self._parser.name, "", number, *place))
        if request is not None:
            raise VenueError(f"{first.path}: more than {pages_max} pages")

    async def _ask(self, request: Request) -> tuple[Answer | None, str, float]:
        if not request.path.startswith("/"):
            raise VenueError(f"{request.path}: no path on the venue's host")
        url = self._others.get(request.host, self._base_url) + request.path
        began, status = time.monotonic(), NO_ANSWER
        try:
            headers = dict(self._parser.headers(request, time.time_ns()))
            if request.body:
                headers["Content-Type"] = request.content_type
            async with self.session.request(
                "POST" if request.body else "GET",
                url,
                headers=headers,
                params=self._parser.key_query(request) or None,
                data=request.body or None,
                timeout=TIMEOUT,
                allow_redirects=False,  # the keys in the headers are for this host alone
            ) as response:
                payload = await _whole(response, request)
                status = response.status
        finally:
            if self._limiter is not None:
                self._limiter.answered(status, time.monotonic() - began)
        if status == 200:
            endpoint = f"{url}#body={quote(request.body)}" if request.body else url
            return self._read(request, Answer(endpoint, payload, time.time_ns()))
        refusal = f"status {status}: {payload[:200].decode(errors='replace')}"
        if status < 400:  # a redirect, which is not followed
            raise VenueError(f"{request.path}: {refusal}")
        least_s = retry_after_s(_wait_text(response), time.time())
        said = payload[:REFUSAL_BYTES_MAX].decode(errors="replace")
        return self._refused(
            request, fault_of_status(status, said, least_s, self._parser.fault_codes), refusal
        )

    def _read(self, request: Request, answer: Answer) -> tuple[Answer | None, str, float]:
        """``answer`` has status 200, which says nothing: it may be a refusal all the same, or no page at all."""
        place = (answer.endpoint, answer.receive_time_ns, answer.payload)
        fault = refusal_of(self._parser, request, Frame(self._parser.name, "", 1, *place))
        if fault is None:
            return answer, "", 0.0
        refusal = f"status 200: {fault.kind.value} {fault.code}: {fault.reason[:200]}"
        return self._refused(request, fault, refusal)

    def _refused(self, request: Request, fault: Fault, refusal: str) -> tuple[None, str, float]:
        """What is worth asking again, and after how long. Raises ``Refused`` for what is not."""
        if fault.kind not in PASSING:
            raise Refused(f"{request.path}: {refusal}", fault)
        if self._limiter is not None and fault.kind in SHUTTING:
            self._limiter.refused(SHUTTING[fault.kind], fault.retry_after_s)
            return None, refusal, 0.0
        return None, refusal, min(RETRY_AFTER_MAX_S, asked_wait_s(fault.retry_after_s))


def _wait_text(response: aiohttp.ClientResponse) -> str:
    """What a refusal says of the wait: ``Retry-After``, or, of a limit, the seconds until it is as before."""
    of_limit = response.headers.get("RateLimit-Reset", "") if response.status == TOO_MANY else ""
    return response.headers.get("Retry-After", of_limit)


async def _whole(response: aiohttp.ClientResponse, request: Request) -> bytes:
    """All of the body; ``read(n)`` gives what has arrived so far."""
    payload = bytearray()
    async for part in response.content.iter_any():
        payload += part
        if len(payload) > ANSWER_BYTES_MAX:
            raise VenueError(f"{request.path}: the answer is larger than {ANSWER_BYTES_MAX} bytes")
    return bytes(payload)
