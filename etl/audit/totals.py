"""Counts and sums of one day in the three stores, by table, venue and symbol: they must agree to the last digit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from decimal import Decimal, localcontext

from etl.audit.checks import ANSWER_TIMEOUT_S, CLICKHOUSE_LIMITS, lake_files
from etl.audit.offence import Offence
from etl.model.decimals import EXACT
from etl.settings import Settings
from etl.stores import timescale
from etl.stores.clickhouse_http import connect

CHECK = "totals_differ"
SUMMED = {"trades": "volume", "agg_trades": "volume", "quotes": "bid", "bars": "volume"}
"""Table → the column whose sum is compared beside the count."""

_EXACT_SUM = (
    "list_concat([coalesce(sum(trunc({0})), 0)::VARCHAR, coalesce(sum({0} - trunc({0})), 0)::VARCHAR],"
    " coalesce(list(wide_decimals['{0}']) FILTER (WHERE {0} IS NULL AND wide_decimals['{0}'] IS NOT NULL), []))"
)
"""What adds up to the sum of a column in the lake: a sum at its scale may have no room in DuckDB's 38 digits, and a
value that has none stands as text beside it."""

TableSymbol = tuple[str, str, str]
Total = tuple[int, Decimal]


def read_totals(settings: Settings, day: date) -> dict[str, dict[TableSymbol, Total]]:
    """What each store holds of ``day``. Raises ``StoreError``."""
    return {store: read(settings, day) for store, read in TOTALS.items()}


def compare(by_store: dict[str, dict[TableSymbol, Total]]) -> Iterator[Offence]:
    """An offence for every (table, venue, symbol) of which the stores do not hold the same."""
    for place in sorted(set().union(*by_store.values())):
        found = {store: totals.get(place, (0, Decimal(0))) for store, totals in by_store.items()}
        if len(set(found.values())) > 1:
            table, exchange, symbol = place
            detail = ", ".join(
                f"{store} {count} rows sum {total.normalize():f}" for store, (count, total) in found.items()
            )
            yield Offence(CHECK, "all", table, f"{exchange} {symbol}", f"{detail}; summed: {SUMMED[table]}")


def _in_clickhouse(settings: Settings, day: date) -> dict[TableSymbol, Total]:
    sql = " UNION ALL ".join(
        f"SELECT '{table}', exchange, symbol, count(), toString(sum(ifNull({column}, 0))) FROM {table} "  # noqa: S608  names of ours
        "WHERE key_time >= toDateTime({day:Date}) AND key_time < toDateTime({day:Date}) + INTERVAL 1 DAY "
        "GROUP BY exchange, symbol"
        for table, column in SUMMED.items()
    )
    with connect(settings, ANSWER_TIMEOUT_S) as client:
        answer = client.execute(
            f"{sql} FORMAT JSONCompactEachRow",
            {**CLICKHOUSE_LIMITS, "output_format_json_quote_64bit_integers": "0"},
            {"day": day.isoformat()},
        )
    return _totals(tuple(json.loads(line)) for line in answer.splitlines())


def _in_timescale(settings: Settings, day: date) -> dict[TableSymbol, Total]:
    sql = " UNION ALL ".join(
        f"SELECT '{table}', exchange, symbol, count(*), coalesce(sum({column}), 0)::text FROM {table} "  # noqa: S608
        "WHERE key_time >= %(day)s::date AND key_time < %(day)s::date + 1 GROUP BY exchange, symbol"
        for table, column in SUMMED.items()
    )
    with timescale.session(settings) as connection:
        return _totals(connection.execute(sql.encode(), {"day": day}))


def _in_lake(settings: Settings, day: date) -> dict[TableSymbol, Total]:
    sql = " UNION ALL ".join(
        f"SELECT '{table}', exchange, symbol, count(*), {_EXACT_SUM.format(column)} FROM {table} "  # noqa: S608
        "WHERE key_time_ns >= epoch_ns($day::TIMESTAMP) "
        "AND key_time_ns < epoch_ns($day::TIMESTAMP + INTERVAL 1 DAY) GROUP BY ALL"
        for table, column in SUMMED.items()
    )
    with lake_files(settings, lambda file: file.date == str(day)) as connection:
        rows = connection.execute(sql, {"day": day}).fetchall()
    with localcontext(EXACT):
        return _totals((*place, count, str(sum(map(Decimal, texts)))) for *place, count, texts in rows)


def _totals(rows: Iterable[tuple[str, str, str, int, str]]) -> dict[TableSymbol, Total]:
    return {
        (table, exchange, symbol): (int(count), Decimal(total))
        for table, exchange, symbol, count, total in rows
    }


TOTALS: dict[str, Callable[[Settings, date], dict[TableSymbol, Total]]] = {
    "clickhouse": _in_clickhouse,
    "timescale": _in_timescale,
    "lake": _in_lake,
}
"""How each store is asked."""
