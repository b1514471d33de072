"""What a range becomes: a Polars frame with exact decimals, a pandas frame, or the Arrow table as it came."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from etl.client.errors import ClientError

DECIMAL_DIGITS_MAX = 38
DECIMALS = frozenset(
    ("last_price", "volume", "bid", "bid_size", "ask", "ask_size", "open", "high", "low", "close", "vwap",
     "quote_volume", "taker_buy_volume", "turnover", "shares_before", "shares_after", "cash_amount", "strike", "value")
)  # fmt: skip
"""Columns that the gateway gives as exact text."""
FRAMES = ("polars", "pandas", "arrow")


def as_frame(table: pa.Table, frame: str, is_exact: bool) -> Any:
    """``frame`` is one of ``FRAMES``. Raises ``ClientError`` for decimals that no column of 38 digits holds."""
    if frame == "arrow":
        return table
    import polars

    found = polars.from_arrow(table)
    assert isinstance(found, polars.DataFrame)
    if is_exact:
        names = [name for name in found.columns if name in DECIMALS and found[name].dtype == polars.String]
        found = found.with_columns(_decimal(found[name]) for name in names)
    return found if frame == "polars" else found.to_pandas()


def _decimal(column: Any) -> Any:
    """With as many decimals as its longest has."""
    import polars

    parts = column.str.splitn(".", 2).struct
    whole = parts.field("field_0").str.strip_chars("-").str.len_bytes().max() or 0
    scale = parts.field("field_1").str.len_bytes().max() or 0
    if whole + scale > DECIMAL_DIGITS_MAX:
        raise ClientError(f"{column.name}: more than {DECIMAL_DIGITS_MAX} digits; ask with decimals='text'")
    return column.cast(polars.Decimal(DECIMAL_DIGITS_MAX, scale))
