"""``/v1/…`` apart from the stream: ranges out of a store, a page a request, and reference data."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from aiohttp import web

from etl.errors import EtlError, StoreUnavailable, UsageError
from etl.gateway.access import GRANT
from etl.gateway.api import ENDPOINTS, Endpoint, read_parameters
from etl.gateway.metrics import GatewayMetrics
from etl.gateway.ranges import (
    ANSWER_BYTES_MAX,
    FORMATS,
    LAKE,
    MADE,
    SUMMED,
    TABLES,
    PageCursor,
    Question,
    TooLarge,
    count_statement,
    coverage_statement,
    end_statement,
    instruments_statement,
    last_parameters,
    parse_page_cursor,
    rows_statement,
    summed_parameters,
)
from etl.gateway.reference import REFERENCE, reference_parameters, reference_statement
from etl.gateway.tokens import Grant
from etl.settings import Settings
from etl.stores.clickhouse_http import connect

if TYPE_CHECKING:
    from etl.gateway.lake_ranges import LakeRanges

NEXT_CURSOR = "X-Next-Cursor"
WAITING_MAX = 64
"""Requests that wait for their turn at the store; beyond, 503."""
_TOO_LARGE = re.compile(r"Code: (?:158|159|307|396|241)\b")
"""Too many rows, seconds or bytes to read, to answer, or to hold."""
T = TypeVar("T")


class Refused(EtlError):
    """``status`` and ``code`` are HTTP's and ours."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class History:
    def __init__(self, settings: Settings, metrics: GatewayMetrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(settings.gateway.queries_max, "history")
        self._turns = asyncio.Semaphore(settings.gateway.queries_max)
        self._waiting = 0

    @cached_property
    def _lake(self) -> LakeRanges:
        """Loaded by the first who asks: Polars takes a gateway's memory once more."""
        from etl.gateway.lake_ranges import LakeRanges

        return LakeRanges(self._settings)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        endpoint = ENDPOINTS[request.match_info["table"]]
        began_s = time.perf_counter()
        response: web.StreamResponse
        try:
            response = await self._answer(endpoint, request)
        except EtlError as error:
            response = _error(error)
        self._metrics.request_s.labels(endpoint.name, str(response.status)).observe(
            time.perf_counter() - began_s
        )
        return response

    async def _answer(self, endpoint: Endpoint, request: web.Request) -> web.StreamResponse:
        values = read_parameters(endpoint, request.query)
        if endpoint.name in REFERENCE:
            return await self._reference(endpoint.name, values, request[GRANT])
        if values["start"] >= values["end"]:
            raise UsageError("end: not after start")
        if not 1 <= values["limit"] <= self._settings.gateway.rows_max:
            raise UsageError(f"limit: 1 to {self._settings.gateway.rows_max}")
        if endpoint.name in TABLES or endpoint.name in MADE:
            question = _question(endpoint.name, values, request[GRANT])
            if endpoint.name in MADE or values["store"] == LAKE:
                return await self._lake_page(request, question, values)
            return await self._page(question, values)
        return await self._summed(endpoint.name, values, request[GRANT])

    async def _lake_page(
        self, request: web.Request, question: Question, values: dict[str, Any]
    ) -> web.StreamResponse:
        lake = await asyncio.to_thread(lambda: self._lake)

        def has_gone() -> bool:
            return request.transport is None

        if values["estimate"]:
            return self._estimate(await self._in_turn(lake.count, question, has_gone))
        pieces, last = await self._in_turn(lake.page, question, values["format"], has_gone)
        response = web.StreamResponse(headers=_headers(values["format"], last))
        await response.prepare(request)
        while piece := await asyncio.to_thread(next, pieces, b""):
            await response.write(piece)
        await response.write_eof()
        return response

    def _estimate(self, rows: int) -> web.Response:
        return web.json_response({"rows": rows, "rows_max": self._settings.gateway.rows_max})

    async def _page(self, question: Question, values: dict[str, Any]) -> web.Response:
        if values["estimate"]:
            count = await self._ask(count_statement(question), question.parameters())
            return self._estimate(int(count))
        last = await self._last_of_page(question)
        parameters = question.parameters()
        if last:
            parameters = question.up_to(last.time_ns + 1).parameters() | last_parameters(last)
        body = await self._ask(rows_statement(question, values["format"], last is not None), parameters)
        return _in_format(values["format"], body, last)

    async def _last_of_page(self, question: Question) -> PageCursor | None:
        """``None`` where all that is left fits on the page. Raises ``EtlError``."""
        for within in question.reaches():
            if end := (await self._ask(end_statement(within), within.parameters())).strip():
                return question.cursor_at(*msgspec.json.decode(end, type=tuple[int, int, str]))
        return None

    async def _summed(self, name: str, values: dict[str, Any], grant: Grant) -> web.Response:
        exchanges = _granted(values["exchange"], grant)
        kinds = [kind for kind in SUMMED if not grant.kinds or kind in grant.kinds] or ["none"]
        parameters = summed_parameters(
            exchanges, values["symbol"], kinds, values["start"], values["end"], values["limit"]
        )
        statement = instruments_statement if name == "instruments" else coverage_statement
        return _in_format(values["format"], await self._ask(statement(values["format"]), parameters))

    async def _reference(self, name: str, values: dict[str, Any], grant: Grant) -> web.Response:
        form = values["format"]
        statement = reference_statement(name, values, form)
        parameters = reference_parameters(name, values, _granted(values["exchange"], grant))
        return _in_format(form, await self._ask(statement, parameters, self._settings.gateway.rows_max))

    async def _ask(self, statement: str, parameters: dict[str, str], rows_max: int = 0) -> bytes:
        """``rows_max``: an answer with more is refused; 0 = the statement has its own limit. Raises ``EtlError``."""
        return await self._in_turn(self._execute, statement, parameters, rows_max)

    async def _in_turn(self, work: Callable[..., T], *values: Any) -> T:
        """Raises ``EtlError``."""
        if self._waiting >= WAITING_MAX:
            raise Refused(503, "busy", "too many questions wait already")
        self._waiting += 1
        try:
            async with self._turns:
                return await asyncio.get_running_loop().run_in_executor(self._threads, work, *values)
        finally:
            self._waiting -= 1

    def _execute(self, statement: str, parameters: dict[str, str], rows_max: int) -> bytes:
        gateway = self._settings.gateway
        limits = {
            "readonly": "2",
            "max_execution_time": f"{gateway.query_within_s:g}",
            "max_rows_to_read": str(gateway.scan_rows_max),
            "max_result_bytes": str(ANSWER_BYTES_MAX),
            "max_result_rows": str(rows_max),
            "output_format_json_quote_64bit_integers": "0",
            "output_format_arrow_string_as_string": "1",
            "output_format_arrow_low_cardinality_as_dictionary": "0",
            "output_format_parquet_string_as_string": "1",
            "date_time_output_format": "iso",
            "prefer_column_name_to_alias": "1",  # a filter is on the column as it lies, by which it is found
        }
        with connect(self._settings, gateway.query_within_s + 5) as client:
            return client.execute(statement, limits, parameters)


def _granted(exchange: str, grant: Grant) -> list[str]:
    """The one that is asked for, or all that the token is good for; none = all. Raises ``Refused``."""
    if exchange and grant.exchanges and exchange not in grant.exchanges:
        raise Refused(403, "not_granted", f"this token is not good for {exchange}")
    return [exchange] if exchange else list(grant.exchanges)


def _question(name: str, values: dict[str, Any], grant: Grant) -> Question:
    """Raises ``EtlError``."""
    table = TABLES.get(name) or MADE[name]
    if not grant.allows(values["exchange"], table.kind) and table.kind != "gap":
        raise Refused(403, "not_granted", f"this token is not good for {table.kind} of {values['exchange']}")
    _granted(values["exchange"], grant)
    return Question(
        table=table,
        exchange=values["exchange"],
        symbol=values["symbol"],
        start_ns=values["start"],
        end_ns=values["end"],
        limit=values["limit"],
        after=parse_page_cursor(values["cursor"]) if values["cursor"] else None,
        interval=values.get("interval", ""),
        decimals=values["decimals"],
        every_ns=values.get("every", 0),
        depth=values.get("depth", 0),
        channel=values.get("channel", ""),
    )


def _in_format(form: str, body: bytes, last: PageCursor | None = None) -> web.Response:
    return web.Response(body=body, headers=_headers(form, last))


def _headers(form: str, last: PageCursor | None) -> dict[str, str]:
    return {"Content-Type": FORMATS[form][1]} | ({NEXT_CURSOR: last.text()} if last else {})


def _error(error: EtlError) -> web.Response:
    if isinstance(error, Refused):
        status, code = error.status, error.code
    elif isinstance(error, UsageError):
        status, code = 400, "bad_request"
    elif isinstance(error, TooLarge) or _TOO_LARGE.search(str(error)):
        status, code = 413, "too_large"
    elif isinstance(error, StoreUnavailable):
        status, code = 503, "store_down"
    else:
        status, code = 500, "failed"
    return web.json_response({"code": code, "message": str(error)}, status=status)
