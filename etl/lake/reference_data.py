"""Data about instruments and markets, for research: what holds now, or what was known at a time."""

from __future__ import annotations

from typing import Any

from etl.model.times import NS_PER_US, Time, as_ns


class ReferenceData:
    """Each answer is a DuckDB relation, as that of ``sql``; docs/reference_data.md has the columns."""

    def sql(self, query: str) -> Any:
        raise NotImplementedError

    def instruments(self, at: Time | None = None) -> Any:
        """What the venues' lists say of their instruments; ``at``: as it was known then."""
        return self._known("instruments", at)

    def corporate_actions(self, at: Time | None = None) -> Any:
        """Splits, dividends, mergers and spin-offs, a row of each vendor."""
        return self._known("corporate_actions", at)

    def sessions(self, at: Time | None = None) -> Any:
        """When the venues' markets trade, and when not."""
        return self._known("sessions", at)

    def symbol_names(self, at: Time | None = None) -> Any:
        """Which name each instrument had since which day."""
        return self._known("symbol_names", at)

    def symbols_at(self, time: Time) -> Any:
        """Whose each name was at a time, and what that instrument is called today."""
        return self.sql(f"SELECT * FROM symbols_at({_moment(time)})")  # noqa: S608  a number

    def bars_of(self, exchange: str, symbol: str) -> Any:
        """The bars of the instrument that is called ``symbol`` today, under all names that it ever had; those that
        others had under its name are left out. ``bars`` gives them by the name of their day."""
        return self._of("bars", exchange, symbol)

    def trades_of(self, exchange: str, symbol: str) -> Any:
        """As ``bars_of``; prints that corrections void are there, too."""
        return self._of("trades", exchange, symbol)

    def quotes_of(self, exchange: str, symbol: str) -> Any:
        """As ``bars_of``."""
        return self._of("quotes", exchange, symbol)

    def observations_asof(self, at: Time) -> Any:
        """What was known of each series and period at a time (docs/storage.md)."""
        return self.sql(f"SELECT * FROM observations_asof({_moment(at)})")  # noqa: S608  a number

    def _of(self, table: str, exchange: str, symbol: str) -> Any:
        return self.sql(f"SELECT * FROM {table}_of({_text(exchange)}, {_text(symbol)})")  # noqa: S608  quoted

    def _known(self, table: str, at: Time | None) -> Any:
        source = table if at is None else f"{table}_at({_moment(at)})"
        return self.sql(f"SELECT * FROM {source}")  # noqa: S608  a name of this file, and a number


def _moment(time: Time) -> str:
    return f"make_timestamptz({as_ns(time) // NS_PER_US})"


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
