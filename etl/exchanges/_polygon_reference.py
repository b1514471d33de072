"""What Polygon tells of stocks beside their market data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from etl.adapter.reference import TellsReference
from etl.exchanges import _polygon_actions as actions
from etl.exchanges import _polygon_names as names
from etl.exchanges import _polygon_tickers as tickers
from etl.model.reference import CorporateAction, InstrumentState, SymbolName


class TellsOfStocks(TellsReference):
    name: ClassVar[str]
    actions_paths: ClassVar[tuple[str, ...]] = actions.PATHS
    actions_by_effective_day: ClassVar[bool] = True
    names_path: ClassVar[str] = names.PATH
    listed_paths: ClassVar[tuple[str, ...]] = tickers.PATHS
    ticker_market: ClassVar[str] = "US"

    @classmethod
    def read_actions(cls, payload: bytes) -> Iterable[CorporateAction]:
        return actions.read_actions(cls.name, payload)

    @classmethod
    def read_names(cls, payload: bytes) -> Iterable[SymbolName]:
        return names.read_names(cls.name, payload)

    @classmethod
    def read_listed(cls, payload: bytes) -> Iterable[InstrumentState]:
        return tickers.read_listed(cls.name, payload)
