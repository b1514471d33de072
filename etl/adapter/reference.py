"""What a venue tells of instruments and companies beside its market data. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from msgspec import Struct

from etl.model.reference import CorporateAction, InstrumentState, SymbolName


class Question(Struct, frozen=True):
    """Whose FIGI is wanted: of the stock that is called ``ticker`` in ``market`` (``US``) now, or of the one with this
    ``isin`` at ``market`` (a MIC); ``symbol`` is ours."""

    symbol: str
    ticker: str
    market: str
    isin: str = ""

    @property
    def key(self) -> str:
        return f"{self.isin or self.ticker}@{self.market}"


class TellsReference:
    """A venue tells nothing of it unless it says otherwise."""

    actions_paths: ClassVar[tuple[str, ...]] = ()
    """History paths of the corporate actions of ``{from_day}`` to ``{to_day}``."""
    actions_by_effective_day: ClassVar[bool] = False
    """Whether these are all that take effect on those days: one that is named no more is withdrawn then."""
    listed_paths: ClassVar[tuple[str, ...]] = ()
    """History paths of all that the venue lists and listed, where symbols need no list to be understood."""
    listed_in_files: ClassVar[bool] = False
    """Whether the daily files of its archive name what traded, with ISIN."""
    names_path: ClassVar[str] = ""
    """History path of all names of the instrument that has the name ``{symbol}`` now, "" = it tells none."""

    ticker_market: ClassVar[str] = ""
    """In which market its symbols are tickers that everybody knows, ``US``; "" = in none."""
    figis_path: ClassVar[str] = ""
    """Path to which questions for FIGIs are posted, "" = it tells none."""
    figis_max: ClassVar[int] = 0
    """How many questions one request has at most."""

    @classmethod
    def figis_body(cls, asked: Sequence[Question]) -> bytes:
        """What is posted to ``figis_path``."""
        raise NotImplementedError

    @classmethod
    def read_figis(cls, payload: bytes, asked: Sequence[Question]) -> Sequence[InstrumentState | str | None]:
        """For each question a row, ``None`` where nobody is known, or what is wrong with its answer. Raises
        ``ValueError`` if it is not one."""
        raise NotImplementedError

    @classmethod
    def read_actions(cls, payload: bytes) -> Iterable[CorporateAction]:
        """Those of an answer to one of ``actions_paths``. Raises ``ValueError`` if it is not one."""
        return ()

    @classmethod
    def read_listed(cls, payload: bytes) -> Iterable[InstrumentState]:
        """Those of an answer to one of ``listed_paths``, or of a daily file. Raises ``ValueError`` if it is not one."""
        return ()

    @classmethod
    def read_names(cls, payload: bytes) -> Iterable[SymbolName]:
        """Those of an answer to ``names_path``. Raises ``ValueError`` if it is not one."""
        return ()
