"""End-of-day files of India's exchanges ("bhavcopy"), in the layouts of all years: read by the names of their columns.

``cm05JUL2024bhav.csv``, ``EQ050724.CSV``                    until 2024-07-05, each exchange its own
``BhavCopy_NSE_CM_0_0_0_20240708_F_0000.csv``             UDiFF from 2024-07-08 on, the same for both

A file is cut into blocks of lines, and the first has the headings: a block that is read alone is read by the layout's
usual order. Names may have blanks around them, values too. Rows of a day without a trade have no prices and are left
aside.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import ClassVar

from msgspec import Struct

from etl.adapter.build import Stream, bar
from etl.adapter.contract import (
    Channel,
    Credentials,
    Exchange,
    Ignored,
    Outcome,
    Rejected,
    SequenceRule,
)
from etl.adapter.fields import UNREADABLE, DecimalTexts, FieldFault, rejected, whole
from etl.model.codes import Code
from etl.model.identifiers import is_isin
from etl.model.instruments import Instruments
from etl.model.records import BarState, Frame, Kind, SizeUnit
from etl.model.reference import InstrumentState
from etl.model.times import NS_PER_DAY, NS_PER_S

CHANNEL = "eod"
INDIA_OFFSET_NS = 19_800 * NS_PER_S
UDIFF_FROM = "2024-07-08"
CASH = "CM"
ISIN_COLUMN = "ISIN"
_EPOCH = date(1970, 1, 1)
_IN_NAME = re.compile(r"_(\d{8})_F_|cm(\d{2}[A-Z]{3}\d{4})bhav|EQ(?:_ISINCODE_)?(\d{6})")
_FORMATS = ("%Y%m%d", "%d%b%Y", "%d%m%y")


class Layout(Struct, frozen=True):
    """Which column says what; ``usual`` is their order. ``day`` = "" where only the name of the file says it."""

    symbol: str
    series: str
    day: str
    prices: tuple[str, str, str, str]
    volume: str
    value: str
    trades: str
    usual: tuple[str, ...]


UDIFF = Layout(
    "TckrSymb", "SctySrs", "TradDt", ("OpnPric", "HghPric", "LwPric", "ClsPric"), "TtlTradgVol", "TtlTrfVal",
    "TtlNbOfTxsExctd",
    ("TradDt", "BizDt", "Sgmt", "Src", "FinInstrmTp", "FinInstrmId", "ISIN", "TckrSymb", "SctySrs", "XpryDt",
     "FininstrmActlXpryDt", "StrkPric", "OptnTp", "FinInstrmNm", "OpnPric", "HghPric", "LwPric", "ClsPric", "LastPric",
     "PrvsClsgPric", "UndrlygPric", "SttlmPric", "OpnIntrst", "ChngInOpnIntrst", "TtlTradgVol", "TtlTrfVal",
     "TtlNbOfTxsExctd", "SsnId", "NewBrdLotQty", "Rmks", "Rsvd1", "Rsvd2", "Rsvd3", "Rsvd4"),
)  # fmt: skip
"""By the scrip code on BSE, whose short names change: ``BhavcopyExchange.symbol_column``."""


class BhavcopyExchange(Exchange):
    """Base of both. A venue symbol is ``RELIANCE.EQ`` (with the series) or ``500325``; ``*`` asks for all of a file."""

    websocket_url = ""
    channels = (Channel(CHANNEL, Kind.BAR, SequenceRule.NONE, Kind.BAR, interval_ns=NS_PER_DAY),)
    archive_kinds = frozenset({Kind.BAR})
    archive_checksum = ""
    archive_day_ns = -INDIA_OFFSET_NS
    archive_rests = frozenset((5, 6))
    archive_is_whole = True
    default_symbols: ClassVar[tuple[str, ...]] = ("*",)
    ignored_names: ClassVar[Mapping[str, str]] = {
        "csv_header": "the first line of a file",
        "empty_file": "a block without a line",
        "untraded": "a security without a trade on that day, which has no prices",
        "other_segment": "derivatives: a file of another segment under this name",
    }
    event_time_min_ns = 757_382_400 * NS_PER_S
    """1994-01-01; NSE began in that year, and no file is older."""
    calendar = "XBOM"
    """By which a day lacks a file or does not; nothing streams, so that no silence means anything."""
    symbol_column: ClassVar[str] = ""
    former: ClassVar[Layout]
    listed_in_files = True
    market: ClassVar[str]
    """Its code (MIC)."""

    def __init__(
        self, credentials: Credentials | None = None, instruments: Instruments | None = None
    ) -> None:
        super().__init__(credentials, instruments)
        self._decimals = DecimalTexts()
        self._headings: dict[str, tuple[str, ...]] = {}
        """By the file's name."""

    @classmethod
    def named(cls, symbol: str, series: str) -> tuple[str, str]:
        """Venue symbol and unified symbol."""
        raise NotImplementedError

    @classmethod
    def read_listed(cls, payload: bytes) -> Iterable[InstrumentState]:
        """Of a file in the layout UDiFF; an ISIN whose check digit is wrong is none."""
        headings, *lines = csv.reader(payload.decode().splitlines())
        columns = [text.strip() for text in headings]
        if not {UDIFF.symbol, ISIN_COLUMN} <= set(columns):
            raise ValueError(f"no {UDIFF.symbol} or {ISIN_COLUMN} among the headings")
        for cells in lines:
            row = dict(zip(columns, (cell.strip() for cell in cells), strict=False))
            if row and row.get("Sgmt", CASH) == CASH:
                yield cls._listed(row)

    @classmethod
    def _listed(cls, row: Mapping[str, str]) -> InstrumentState:
        venue_symbol, symbol = cls.named(
            _cell(row, cls.symbol_column or UDIFF.symbol), row.get(UDIFF.series, "")
        )
        isin = row.get(ISIN_COLUMN, "")
        return InstrumentState(
            cls.name,
            venue_symbol,
            symbol,
            quote="INR",
            market=cls.market,
            title=row.get("FinInstrmNm", ""),
            isin=isin if is_isin(isin) else "",
        )

    def parse(self, frame: Frame) -> Sequence[Outcome]:
        address = frame.endpoint.partition("#")[0]
        name = address.rpartition("/")[2]
        told = _IN_NAME.search(name)
        if told is None:
            return [Rejected(Code.UNKNOWN_MESSAGE, f"no end-of-day file: {name[:80]}", 0, "")]
        try:
            lines = frame.payload.decode().splitlines()
            day = _day(
                *next((text, form) for text, form in zip(told.groups(), _FORMATS, strict=True) if text)
            )
        except (UnicodeDecodeError, ValueError) as error:
            return [Rejected(Code.UNDECODABLE, str(error)[:200], 0, "")]
        layout = UDIFF if name.startswith("BhavCopy_") else self.former
        try:
            return list(self._rows(frame, name, layout, lines, day)) or [Ignored("empty_file")]
        except csv.Error as error:
            return [Rejected(Code.UNDECODABLE, str(error)[:200], 0, "")]

    def _rows(
        self, frame: Frame, name: str, layout: Layout, lines: Sequence[str], file_day: date
    ) -> Iterator[Outcome]:
        symbol_column = self.symbol_column if layout is UDIFF and self.symbol_column else layout.symbol
        for index, cells in enumerate(csv.reader(lines)):
            stripped = tuple(cell.strip() for cell in cells)
            if symbol_column in stripped:
                self._headings[name] = stripped
                yield Ignored("csv_header", index)
                continue
            row = dict(zip(self._headings.get(name, layout.usual), stripped, strict=False))
            venue_symbol = ""
            try:
                if row.get("Sgmt", CASH) != CASH:
                    yield Ignored("other_segment", index)
                    continue
                venue_symbol, symbol = self.named(_cell(row, symbol_column), row.get(layout.series, ""))
                if whole(_cell(row, layout.volume)) == 0:
                    yield Ignored("untraded", index)
                    continue
                yield self._bar(frame, index, layout, row, (venue_symbol, symbol), file_day)
            except UNREADABLE as error:
                yield rejected(error, index, venue_symbol)

    def _bar(
        self,
        frame: Frame,
        index: int,
        layout: Layout,
        row: Mapping[str, str],
        names: tuple[str, str],
        file_day: date,
    ) -> Outcome:
        day = file_day
        if layout.day and (text := row.get(layout.day)):
            day = _row_day(text)
            if day != file_day:
                raise FieldFault(Code.TIME_OUT_OF_RANGE, f"a row of {day} in the file of {file_day}")
        start_ns = (day - _EPOCH).days * NS_PER_DAY - INDIA_OFFSET_NS
        stream = Stream(
            self.name, names[1], names[0], CHANNEL, self.parser_version, SizeUnit.SHARE, interval="1d"
        )
        trades = row.get(layout.trades, "")
        return bar(
            stream, frame, index, start_ns, BarState.CLOSED,
            [self._decimals[_cell(row, column)] for column in layout.prices],
            self._decimals[_cell(row, layout.volume)],
            quote_volume=self._decimals[row.get(layout.value, "")],
            trade_count=whole(trades) if trades else 0,
        )  # fmt: skip


def _cell(row: Mapping[str, str], column: str) -> str:
    text = row.get(column, "")
    if not text:
        raise FieldFault(Code.FIELD_MISSING, f"no {column}")
    return text


def _day(text: str, form: str) -> date:
    return datetime.strptime(text.title() if "%b" in form else text, form).date()


def _row_day(text: str) -> date:
    try:
        return date.fromisoformat(text) if text[:4].isdecimal() else _day(text, "%d-%b-%Y")
    except ValueError:
        raise FieldFault(Code.FIELD_MALFORMED, f"no date: {text!r:.40}") from None
