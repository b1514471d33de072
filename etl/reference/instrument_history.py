"""Ticks and lots as they were: what the venues' lists said of each instrument, and since when (``instrument_history``).

Validity begins with the list that first said so and ends with the next row of the instrument; between two lists nobody
says at which moment a step moved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from etl.exchanges import load as load_exchange
from etl.model.instruments import Instruments
from etl.model.times import NS_PER_S
from etl.reference.instruments import known
from etl.settings import Settings
from etl.stores.clickhouse_http import connect, insert_path

READ = """
SELECT exchange, symbol, toUnixTimestamp64Nano(valid_from) AS valid_from_ns, price_step, size_step, price_figures
FROM instrument_history FINAL WHERE has({exchanges:Array(String)}, exchange) ORDER BY exchange, symbol, valid_from
FORMAT JSONEachRow
"""
WRITE = (
    "INSERT INTO instrument_history (exchange, symbol, valid_from, price_step, size_step, price_figures)"
    " FORMAT JSONEachRow"
)


class Steps(Struct, frozen=True):
    """Of an instrument from then on; decimal text, "" where the list does not say."""

    exchange: str
    symbol: str
    valid_from_ns: int
    price_step: str = ""
    size_step: str = ""
    price_figures: int = 0

    @property
    def said(self) -> tuple[str, str, int]:
        return self.price_step, self.size_step, self.price_figures


History = Mapping[tuple[str, str], Sequence[Steps]]
"""By exchange and symbol, oldest first."""


def note_all(settings: Settings, now_ns: int) -> int:
    """Keep what the newest lists of the settings' venues say anew; returns how many rows that were. Raises
    ``StoreError``."""
    exchanges = [load_exchange(name) for name in settings.venues.names]
    listed = {one.name: known(settings, one) for one in exchanges if one.listing_requests()}
    new = changes(read(settings, list(listed)), listed, now_ns)
    if new:
        with connect(settings) as client:
            client.insert(insert_path(WRITE, {}), msgspec.json.Encoder().encode_lines(map(_row, new)))
    return len(new)


def changes(history: History, listed: Mapping[str, Instruments], now_ns: int) -> list[Steps]:
    """What the lists, by exchange, say that is not the last of ``history``; what says nothing, says nothing new."""
    new = []
    for exchange, instruments in listed.items():
        for symbol, venue_symbol in instruments.by_symbol().items():
            if (one := instruments.get(venue_symbol)) is None:
                continue
            steps = Steps(exchange, symbol, now_ns, one.price_step, one.size_step, one.price_figures)
            before = history.get((exchange, symbol))
            if steps.said != (before[-1].said if before else ("", "", 0)):
                new.append(steps)
    return new


def read(settings: Settings, exchanges: Sequence[str]) -> History:
    """Raises ``StoreError``."""
    with connect(settings) as client:
        answer = client.execute(
            READ,
            {"output_format_json_quote_64bit_integers": "0"},
            {"exchanges": "[" + ",".join(f"'{name}'" for name in exchanges) + "]"},
        )
    found: dict[tuple[str, str], list[Steps]] = {}
    for steps in msgspec.json.Decoder(Steps).decode_lines(answer):
        found.setdefault((steps.exchange, steps.symbol), []).append(steps)
    return found


def at(history: Sequence[Steps], time_ns: int) -> Steps | None:
    """The steps of an instrument at a time; ``None`` before the first list."""
    return next((steps for steps in reversed(history) if steps.valid_from_ns <= time_ns), None)


def _row(steps: Steps) -> dict[str, str | int]:
    """``valid_from`` in seconds with nine digits behind the point, which ClickHouse reads exactly."""
    row = msgspec.structs.asdict(steps)
    seconds, fraction = divmod(row.pop("valid_from_ns"), NS_PER_S)
    return row | {"valid_from": f"{seconds}.{fraction:09d}"}
