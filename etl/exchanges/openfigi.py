"""OpenFIGI: the FIGI of a ticker of today, or of an ISIN. No market data, and no stream. https://www.openfigi.com/api/documentation

A request has up to a hundred jobs, and its answer, with status 200, as many results in their order: rows, a warning
that nobody is known, or an error of that job alone. One name has rows of several venues; what is kept is the composite
FIGI, that of the country, which does not change with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec
from msgspec import Raw, Struct

from etl.adapter.contract import Budget, Exchange, Ignored, Outcome, Request
from etl.adapter.fields import UNREADABLE, rejected
from etl.adapter.reference import Question
from etl.model.identifiers import is_figi
from etl.model.records import Frame
from etl.model.reference import InstrumentState

EQUITY = "Equity"


class _Row(Struct):
    """``{"figi":"BBG000B9XRY4","name":"APPLE INC","ticker":"AAPL","exchCode":"US","compositeFIGI":"BBG000B9XRY4",
    "shareClassFIGI":"BBG001S5N8V8","securityType":"Common Stock","marketSector":"Equity", …}``"""

    figi: str
    name: str | None = ""
    compositeFIGI: str | None = ""
    marketSector: str | None = ""


class _Result(Struct):
    data: list[_Row] = []
    warning: str = ""
    error: str = ""


_results = msgspec.json.Decoder(list[Raw]).decode
_decode = msgspec.json.Decoder(_Result).decode


class OpenFigi(Exchange):
    name = "openfigi"
    websocket_url = ""
    rest_url = "https://api.openfigi.com"
    channels = ()
    default_symbols: ClassVar[tuple[str, ...]] = ()
    ignored_names: ClassVar[Mapping[str, str]] = {
        "figis": "what is known of a name: reference data, which has a reader of its own",
        "empty_answer": "an answer to no question",
    }
    key_variables = (("OPENFIGI_API_KEY",),)
    budgets = (Budget(25, 6.0),)
    """With a key. Without one it would be 25 a minute, of ten jobs each."""
    event_time_min_ns = 1
    """It tells no events."""
    figis_path: ClassVar[str] = "/v3/mapping"
    figis_max: ClassVar[int] = 100
    changes: ClassVar[Mapping[str, str]] = {
        "2025-06-30": "v1 is not answered any more",
        "2026-06-30": "nor is v2, which said `error` where v3 says `warning`",
    }

    def headers(self, request: Request, now_ns: int) -> Mapping[str, str]:
        return {"X-OPENFIGI-APIKEY": self.credentials.key} if self.credentials.key else {}

    def parse(self, frame: Frame) -> Sequence[Outcome]:
        try:
            results = _results(frame.payload)
        except UNREADABLE as error:
            return [rejected(error, 0, "")]
        return [_outcome(index, one) for index, one in enumerate(results)] or [Ignored("empty_answer", 0)]

    @classmethod
    def figis_body(cls, asked: Sequence[Question]) -> bytes:
        return msgspec.json.encode([_job(one) for one in asked])

    @classmethod
    def read_figis(cls, payload: bytes, asked: Sequence[Question]) -> Sequence[InstrumentState | str | None]:
        results = _results(payload)
        if len(results) != len(asked):
            raise ValueError(f"{len(results)} results of {len(asked)} jobs")
        return [cls._told(one, result) for one, result in zip(asked, results, strict=True)]

    @classmethod
    def _told(cls, asked: Question, told: Raw) -> InstrumentState | str | None:
        try:
            result = _decode(told)
        except UNREADABLE as error:
            return f"no result: {error}"
        if result.error:
            return result.error
        shares = [row for row in result.data if row.marketSector == EQUITY and row.compositeFIGI]
        figis = sorted({row.compositeFIGI or "" for row in shares})
        if wrong := [figi for figi in figis if not is_figi(figi)]:
            return f"{wrong[0]!r:.40} is no FIGI"
        if len(figis) > 1:
            return f"{len(figis)} composite FIGIs: {figis[0]}, {figis[1]}"
        if not figis:
            return None
        return InstrumentState(
            cls.name,
            asked.key,
            asked.symbol,
            figi=figis[0],
            market=asked.market if asked.isin else "",
            title=shares[0].name or "",
            isin=asked.isin,
        )


def _outcome(index: int, told: Raw) -> Outcome:
    try:
        _decode(told)
    except UNREADABLE as error:
        return rejected(error, index, "")
    return Ignored("figis", index)


def _job(asked: Question) -> dict[str, str]:
    if asked.isin:
        return {"idType": "ID_ISIN", "idValue": asked.isin, "micCode": asked.market}
    return {"idType": "TICKER", "idValue": _spelled(asked.ticker), "exchCode": asked.market}


def _spelled(ticker: str) -> str:
    """A share of a class, ``BRK.B``, is ``BRK/B`` there."""
    root, dot, share_class = ticker.rpartition(".")
    return f"{root}/{share_class}" if dot and len(share_class) == 1 else ticker
