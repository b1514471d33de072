"""What DuckDB shows of the reference data: of each table what holds now, and what was known at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_type_hints

from etl.model.reference import REFERENCE_TABLES, ReferenceTable

NS_SUFFIX = "_ns"


_ENDS = """'cash_merger', 'stock_merger', 'stock_and_cash_merger', 'redemption', 'worthless_removal', 'unit_split'"""
"""The kinds of actions after which there is no such stock."""
_ADJUSTED = f"""
CREATE MACRO symbol_spans_at(told_by) AS TABLE
SELECT exchange, instrument_id, symbol, first_day, until_day, current_symbol
FROM (
    SELECT *, lead(first_day) OVER whole AS until_day, last_value(symbol) OVER whole AS current_symbol
    FROM symbol_names_at(told_by)
    WINDOW whole AS (PARTITION BY exchange, instrument_id ORDER BY first_day
                     ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
)
WHERE symbol <> '';
CREATE MACRO bars_adjusted_at(told_by) AS TABLE
WITH spans AS MATERIALIZED (FROM symbol_spans_at(told_by)
), named_bars AS NOT MATERIALIZED (
    SELECT b.*, coalesce(s.instrument_id, b.symbol) AS whose, coalesce(s.instrument_id, '') AS instrument_id,
           coalesce(s.current_symbol, b.symbol) AS current_symbol
    FROM (SELECT *, (time AT TIME ZONE 'America/New_York')::DATE AS day FROM bars) AS b
    LEFT JOIN spans AS s ON s.exchange = b.exchange AND s.symbol = b.symbol AND s.first_day <= b.day
                        AND (s.until_day IS NULL OR b.day < s.until_day)
), told AS MATERIALIZED (
    FROM corporate_actions_at(told_by)
    WHERE action_kind <> 'name_change'
      AND effective_day <= (least(told_by::TIMESTAMPTZ, now()) AT TIME ZONE 'America/New_York')::DATE
), of_feeds AS (
    SELECT exchange, symbol, action_kind, effective_day, shares_before, shares_after, cash_amount, new_symbol
    FROM told WHERE action_kind IN ('split', 'stock_dividend', 'cash_dividend')
    UNION ALL
    SELECT feed, symbol, action_kind, effective_day, shares_before, shares_after, cash_amount, new_symbol
    FROM (
        SELECT f.exchange AS feed, t.*,
               first_value(t.exchange) OVER (PARTITION BY f.exchange, t.symbol, t.action_kind, t.effective_day
                                             ORDER BY t.exchange <> f.exchange, t.exchange) AS teller
        FROM told AS t CROSS JOIN (SELECT DISTINCT exchange FROM told) AS f
        WHERE action_kind NOT IN ('split', 'stock_dividend', 'cash_dividend')
    )
    WHERE exchange = teller
), first_bars AS (
    SELECT exchange, symbol, day, arg_max(open, receive_time_ns)::DOUBLE AS open
    FROM (SELECT *, (time AT TIME ZONE 'America/New_York')::DATE AS day FROM bars)
    WHERE interval = '1d' AND bar_state <> 'open' AND day < (told_by::TIMESTAMPTZ AT TIME ZONE 'America/New_York')::DATE
      AND (exchange, symbol) IN (SELECT (exchange, new_symbol) FROM of_feeds WHERE action_kind = 'spin_off')
    GROUP BY ALL
), valued AS (
    SELECT t.*, CASE WHEN t.action_kind = 'spin_off' AND t.shares_before > 0 AND n.open > 0
                      AND n.day < t.effective_day + 7
                     THEN coalesce(t.shares_after::DOUBLE / t.shares_before::DOUBLE * n.open, 0) ELSE 0 END AS given
    FROM of_feeds AS t
    ASOF LEFT JOIN first_bars AS n ON n.exchange = t.exchange AND n.symbol = t.new_symbol AND t.effective_day <= n.day
), of_days AS (
    SELECT a.exchange, coalesce(s.instrument_id, h.instrument_id, a.symbol) AS whose, a.effective_day,
           product(CASE WHEN action_kind IN ('split', 'stock_dividend')
                        THEN shares_before::DOUBLE / shares_after::DOUBLE ELSE 1 END) AS split_of_day,
           coalesce(sum(cash_amount) FILTER (WHERE action_kind = 'cash_dividend'), 0)::DOUBLE AS cash,
           cash + sum(given) AS paid,
           string_agg(action_kind, ',') FILTER (WHERE given = 0 AND action_kind NOT IN (
               'split', 'stock_dividend', 'cash_dividend', {_ENDS})) AS without_factor,
           string_agg(action_kind, ',') FILTER (WHERE given > 0 OR action_kind = 'cash_dividend') AS with_price,
           min(a.effective_day || ' ' || action_kind) FILTER (WHERE action_kind IN ({_ENDS})) AS ended
    FROM valued AS a
    LEFT JOIN spans AS s ON s.exchange = a.exchange AND s.symbol = a.symbol AND s.first_day <= a.effective_day
                        AND (s.until_day IS NULL OR a.effective_day < s.until_day)
    LEFT JOIN spans AS h ON h.exchange = a.exchange AND h.symbol = a.symbol AND h.until_day IS NULL
    GROUP BY ALL
), closes AS (
    SELECT exchange, whose, day, arg_max(close, receive_time_ns)::DOUBLE AS close
    FROM named_bars
    WHERE interval = '1d' AND bar_state <> 'open' AND (exchange, whose) IN (SELECT (exchange, whose) FROM of_days)
    GROUP BY ALL
), with_close AS (
    SELECT d.*, c.close AS close_before,
           coalesce(d.paid > 0 AND d.paid < c.close * d.split_of_day, false) AS is_covered
    FROM of_days AS d
    ASOF LEFT JOIN closes AS c ON c.exchange = d.exchange AND c.whose = d.whose AND d.effective_day > c.day
), factors AS (
    SELECT exchange, whose, effective_day,
           product(split_of_day) OVER later AS split_factor,
           product(split_of_day * CASE WHEN is_covered THEN 1 - paid / (close_before * split_of_day) ELSE 1 END)
               OVER later AS return_factor,
           bool_or(cash > 0 AND NOT is_covered) OVER later AS lacks_close,
           string_agg(CASE WHEN is_covered THEN without_factor
                           ELSE nullif(concat_ws(',', without_factor, with_price), '') END, ',') OVER later AS lacks,
           min(ended) OVER later AS ended
    FROM with_close
    WINDOW later AS (PARTITION BY exchange, whose ORDER BY effective_day DESC)
)
SELECT b.time, b.exchange, b.symbol, b.interval, b.open, b.high, b.low, b.close, b.volume, b.bar_state,
       coalesce(f.split_factor, 1) AS split_factor, coalesce(f.return_factor, 1) AS return_factor,
       coalesce(f.lacks_close, false) AS lacks_close,
       b.open::DOUBLE * coalesce(f.split_factor, 1) AS open_split,
       b.high::DOUBLE * coalesce(f.split_factor, 1) AS high_split,
       b.low::DOUBLE * coalesce(f.split_factor, 1) AS low_split,
       b.close::DOUBLE * coalesce(f.split_factor, 1) AS close_split,
       b.volume::DOUBLE / coalesce(f.split_factor, 1) AS volume_split,
       b.close::DOUBLE * coalesce(f.return_factor, 1) AS close_return,
       b.instrument_id, b.current_symbol,
       coalesce(array_to_string(list_sort(list_distinct(string_split(f.lacks, ','))), ','), '') AS unadjusted,
       coalesce(split_part(f.ended, ' ', 2), '') AS ended_by,
       nullif(split_part(f.ended, ' ', 1), '')::DATE AS ended_day
FROM (FROM named_bars WHERE time < told_by::TIMESTAMPTZ) AS b
ASOF LEFT JOIN factors AS f ON f.exchange = b.exchange AND f.whose = b.whose AND b.day < f.effective_day;
CREATE VIEW bars_adjusted AS FROM bars_adjusted_at('2262-01-01 00:00:00+00');
"""  # noqa: S608  kinds of this file
"""As in sql/timescale/0024_spin_offs.sql; docs/reference_data.md has the formulas."""

_NAMES = """
CREATE VIEW symbol_spans AS
SELECT exchange, instrument_id, symbol, first_day, until_day, current_symbol, figi, title, origin
FROM (
    SELECT *, lead(first_day) OVER whole AS until_day, last_value(symbol) OVER whole AS current_symbol
    FROM symbol_names
    WINDOW whole AS (PARTITION BY exchange, instrument_id ORDER BY first_day
                     ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
)
WHERE symbol <> '';
CREATE MACRO symbols_at(of_time) AS TABLE
SELECT exchange, symbol, instrument_id, current_symbol, figi, title
FROM symbol_spans
WHERE first_day <= (of_time::TIMESTAMPTZ AT TIME ZONE 'America/New_York')::DATE
  AND (until_day IS NULL OR until_day > (of_time::TIMESTAMPTZ AT TIME ZONE 'America/New_York')::DATE);
CREATE MACRO names_of(of_exchange, named_today) AS TABLE
SELECT symbol, first_day::TIMESTAMP AT TIME ZONE 'America/New_York' AS from_time,
       coalesce(until_day::TIMESTAMP AT TIME ZONE 'America/New_York', 'infinity'::TIMESTAMPTZ) AS until_time
FROM symbol_spans
WHERE exchange = of_exchange AND current_symbol = named_today
UNION ALL
SELECT named_today, '-infinity'::TIMESTAMPTZ, 'infinity'::TIMESTAMPTZ
WHERE NOT EXISTS (SELECT 1 FROM symbol_spans AS s WHERE s.exchange = of_exchange AND s.symbol = named_today);
"""
"""As in sql/timescale/0022_symbol_names.sql and 0027."""

OF_INSTRUMENTS = ("bars", "trades", "trades_corrected", "quotes", "statuses", "corrections")
"""What ``<name>_of(exchange, name of today)`` gives of an instrument under all its names."""
_OF_INSTRUMENT = """
CREATE MACRO {name}_of(of_exchange, named_today) AS TABLE
SELECT r.*
FROM {name} AS r
JOIN names_of(of_exchange, named_today) AS n
    ON r.symbol = n.symbol AND r.time >= n.from_time AND r.time < n.until_time
WHERE r.exchange = of_exchange;
"""


def reference_views() -> str:
    """The statements that make ``sessions`` and ``sessions_at`` of ``sessions_history``, and so on."""
    return (
        "\n".join(statement for table in REFERENCE_TABLES.values() for statement in _of(table))
        + _ADJUSTED
        + _NAMES
        + "".join(_OF_INSTRUMENT.format(name=name) for name in OF_INSTRUMENTS)
    )


def _of(table: ReferenceTable) -> Iterator[str]:
    columns = ", ".join(_shown(table))
    # a name that is an argument of the macro and a column would be the column
    for made, where in (
        (f"VIEW {table.name}", "true"),
        (f"MACRO {table.name}_at(known_time)", "recorded_ns <= epoch_ns(known_time::TIMESTAMPTZ)"),
    ):
        yield (
            f"CREATE {made} AS {'TABLE ' if 'MACRO' in made else ''}SELECT {columns} FROM ("  # noqa: S608
            f"SELECT * FROM {table.history} WHERE {where} QUALIFY row_number() OVER ("
            f"PARTITION BY {', '.join(table.key)} ORDER BY recorded_ns DESC) = 1) WHERE NOT withdrawn;"
        )


def _shown(table: ReferenceTable) -> Iterator[str]:
    """The columns, and beside each time in ns the same as a time to the microsecond."""
    hints = get_type_hints(table.row)
    for name in (*table.columns, "recorded_ns"):
        # rows of before there was such a column say nothing
        yield f"coalesce({name}, '') AS {name}" if hints.get(name) is str else name
        if name.endswith(NS_SUFFIX):
            yield f"(make_timestamp({name} // 1000) AT TIME ZONE 'UTC') AS {name.removesuffix(NS_SUFFIX)}"
