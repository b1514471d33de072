"""Kind ↔ table: the same plural in ClickHouse, TimescaleDB and the lake."""

from __future__ import annotations

from etl.model.records import Kind

TABLE_BY_KIND: dict[Kind, str] = {
    Kind.TRADE: "trades",
    Kind.QUOTE: "quotes",
    Kind.BOOK: "book_updates",
    Kind.BAR: "bars",
    Kind.GAP: "gaps",
    Kind.AGG_TRADE: "agg_trades",
    Kind.CORRECTION: "corrections",
    Kind.STATUS: "statuses",
    Kind.STATS: "stats",
    Kind.LIQUIDATION: "liquidations",
    Kind.OBSERVATION: "observations",
}

KIND_BY_TABLE: dict[str, Kind] = {table: kind for kind, table in TABLE_BY_KIND.items()}
