"""Venue symbol ↔ unified symbol, one to one within a feed. Pure.

    spot BTC-USDT · perpetual BTC-USDT-PERP · dated BTC-USDT-20260925 · option BTC-USDT-20260925-60000-C

Base and quote come from the venue's own instrument list (``Exchange.read_instruments``), never from guessing
a suffix: ``USDTTRY`` and ``1000SHIBUSDT`` would be cut wrongly. A symbol that the list lacks keeps the
venue's spelling and its records carry the flag ``unknown_symbol``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from etl.model.records import SizeUnit

UNKNOWN_SYMBOL = "unknown_symbol"
_UNKNOWN_FLAGS = (UNKNOWN_SYMBOL,)
_NO_FLAGS: tuple[str, ...] = ()


class Instrument(Struct, frozen=True, gc=False):
    """One tradable thing; steps are decimal text, "" where the list does not say. ``size_unit``: what its sizes count
    where that is not what those of its feed do. ``alias_of``: the venue symbol of which this is but another name, under
    which its data come. ``expires_ns``: when it ends, 0 = never, or nobody says. ``price_figures``: a price has no more
    significant figures, unless it is a whole number, so that its step grows with it; 0 = no such limit. ``settle``: in
    what gains are paid; ``contract_size``: how much of the base, or of the quote where it is inverse, a contract is;
    ``status`` in the venue's word; ``listed_ns``: since when it is listed, 0 = nobody says."""

    venue_symbol: str
    symbol: str
    price_step: str = ""
    size_step: str = ""
    size_unit: SizeUnit = SizeUnit.NONE
    alias_of: str = ""
    expires_ns: int = 0
    price_figures: int = 0
    settle: str = ""
    contract_size: str = ""
    status: str = ""
    listed_ns: int = 0


class Names(dict[str, tuple[str, tuple[str, ...]]]):
    """Venue symbol → (symbol, flags); one lookup on the hot path. Unknown names are answered, not stored."""

    def __missing__(self, venue_symbol: str) -> tuple[str, tuple[str, ...]]:
        return venue_symbol, _UNKNOWN_FLAGS


class Instruments:
    """A feed's instruments. Of two that claim the same unified symbol the first listed keeps it; the other
    keeps its venue symbol, so that the mapping stays one to one."""

    def __init__(self, instruments: Iterable[Instrument] = ()) -> None:
        self.names = Names()
        self._by_venue_symbol: dict[str, Instrument] = {}
        self._venue_symbols: dict[str, str] = {}
        self._aliases: dict[str, str] = {}
        self.collisions: list[tuple[str, str, str]] = []
        """Unified symbol, the venue symbol that has it, and the one that would have had it too."""
        for instrument in instruments:
            self._add(instrument)
        for alias, venue_symbol in self._aliases.items():
            self.names[alias] = self.names[venue_symbol]

    def _add(self, instrument: Instrument) -> None:
        if instrument.alias_of:
            self._aliases[instrument.venue_symbol] = instrument.alias_of
            return
        if instrument.venue_symbol in self._by_venue_symbol:
            return
        symbol = instrument.symbol
        if symbol in self._venue_symbols:
            self.collisions.append((symbol, self._venue_symbols[symbol], instrument.venue_symbol))
            symbol = instrument.venue_symbol
        self.names[instrument.venue_symbol] = (symbol, _NO_FLAGS)
        self._by_venue_symbol[instrument.venue_symbol] = instrument
        self._venue_symbols[symbol] = instrument.venue_symbol

    def __len__(self) -> int:
        return len(self._by_venue_symbol)

    def symbol(self, venue_symbol: str) -> str:
        """The unified symbol; ``venue_symbol`` itself where it is unknown."""
        return self.names[venue_symbol][0]

    def venue_symbol(self, symbol: str) -> str:
        """The venue's spelling; ``symbol`` itself where it is unknown."""
        return self._venue_symbols.get(symbol, symbol)

    def direct(self, venue_symbol: str) -> str:
        """The venue symbol under which its data come: itself, unless the list says that it is an alias."""
        return self._aliases.get(venue_symbol, venue_symbol)

    def get(self, venue_symbol: str) -> Instrument | None:
        return self._by_venue_symbol.get(venue_symbol)

    def has_expired(self, venue_symbol: str, now_ns: int) -> bool:
        """Of one that the list lacks nobody says."""
        instrument = self._by_venue_symbol.get(venue_symbol)
        return instrument is not None and 0 < instrument.expires_ns <= now_ns

    def by_symbol(self) -> Mapping[str, str]:
        """Unified symbol → venue symbol, all of them."""
        return self._venue_symbols


def occ_symbol(text: str) -> str | None:
    """``O:AAPL240126P00050000`` or the OCC form padded with spaces → ``AAPL240126P00050000``; ``None`` if it
    is neither. Read from the right: the root may hold digits."""
    plain = text.removeprefix("O:").replace(" ", "")
    root, date, side, strike = plain[:-15], plain[-15:-9], plain[-9:-8], plain[-8:]
    fits = 0 < len(root) <= 6 and date.isdecimal() and side in ("C", "P") and strike.isdecimal()
    return plain if fits and plain.isascii() else None
