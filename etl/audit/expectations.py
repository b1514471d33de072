"""Great Expectations on TimescaleDB: the bounds of ``etl/validation/specs.py`` asked of what is stored.

Every expectation runs as SQL in the database, on one day. Data Docs are written under ``<state_dir>/data_docs``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from psycopg import sql

from etl.audit.data_docs import Expected, write_data_docs
from etl.audit.offence import Offence
from etl.model.records import Kind
from etl.model.tables import TABLE_BY_KIND
from etl.settings import Settings
from etl.stores.timescale import session
from etl.validation.specs import SPECS

OFFENDERS_SHOWN_MAX = 20
"""Offending rows that a finding names; the count is of all."""
STORE = "timescale"
EPOCH_1990_NS = 631_152_000_000_000_000
KEY_COLUMNS = ["exchange", "symbol", "record_key"]
VERDICT = {"result_format": "BOOLEAN_ONLY"}
"""Answered by one scan of the day for all expectations of a column."""
OFFENDERS = {
    "result_format": "SUMMARY",
    "unexpected_index_column_names": KEY_COLUMNS,
    "partial_unexpected_count": OFFENDERS_SHOWN_MAX,
}
"""Two scans for each expectation: only where the verdict is bad."""

POSITIVE: dict[Kind, tuple[str, ...]] = {
    Kind.TRADE: ("last_price",),
    Kind.BAR: ("open", "high", "low", "close"),
}
NOT_NEGATIVE: dict[Kind, tuple[str, ...]] = {
    Kind.TRADE: ("volume",),
    Kind.QUOTE: ("bid", "ask", "bid_size", "ask_size"),
    Kind.BAR: ("volume",),
}
PRESENT: dict[Kind, tuple[str, ...]] = {
    Kind.TRADE: ("last_price", "volume"),
    Kind.QUOTE: (),
    Kind.BAR: ("open", "high", "low", "close", "interval"),
}
ALWAYS_PRESENT = ("exchange", "symbol", "record_key", "key_time", "time", "receive_time_ns")


def run_expectations(settings: Settings, day: date) -> Iterator[Offence]:
    """What does not meet its expectation on ``day``; writes the Data Docs. Imports Great Expectations: seconds."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
    source = context.data_sources.add_postgres(
        "timescale", connection_string=_connection_string(settings.timescale_address)
    )
    results = {}
    try:
        for kind in PRESENT:
            table = TABLE_BY_KIND[kind]
            with _view_of_day(settings, table, day) as view:
                asset = source.add_table_asset(table, table_name=view)
                results[table] = _run_suite(gx, context, asset, kind, day).results
            yield from _offences(table, results[table])
    finally:
        source.get_execution_engine().close()
        source.get_engine().dispose()
    expected = {table: [_expected(item) for item in found] for table, found in results.items()}
    write_data_docs(data_docs_path(settings), day, expected)


def _run_suite(gx: Any, context: Any, asset: Any, kind: Kind, day: date) -> Any:
    """What became of the expectations of one table, asked of ``asset``, its rows of ``day``."""
    name = f"{asset.name} {day}"
    suite = context.suites.add(gx.ExpectationSuite(name=name))
    for expectation in _expectations(gx, kind):
        suite.add_expectation(expectation)
    rows = asset.add_batch_definition_whole_table("day")
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(name=name, data=rows, suite=suite)
    )
    verdict = definition.run(result_format=VERDICT)
    return verdict if verdict.success else definition.run(result_format=OFFENDERS)


def _connection_string(address: str) -> str:
    """``address``, of any form that libpq takes, as SQLAlchemy's URL with all of its parameters, for Great
    Expectations, which would put variables in the place of ``$``."""
    from psycopg.conninfo import conninfo_to_dict
    from sqlalchemy import URL

    pairs = {name: str(value) for name, value in conninfo_to_dict(address).items()}
    url = URL.create(
        "postgresql+psycopg",
        pairs.pop("user", None),
        pairs.pop("password", None),
        pairs.pop("host", "localhost"),
        int(pairs.pop("port", "5432")),
        pairs.pop("dbname", None),
        pairs,
    )
    return url.render_as_string(hide_password=False).replace("$", "\\$")


def data_docs_path(settings: Settings) -> Path:
    return settings.state_path / "data_docs"


def _expectations(gx: Any, kind: Kind) -> Iterator[Any]:
    expect = gx.expectations
    spec = SPECS[kind]
    for column in (*ALWAYS_PRESENT, *PRESENT[kind]):
        yield expect.ExpectColumnValuesToNotBeNull(column=column)
    for column in POSITIVE.get(kind, ()):
        yield expect.ExpectColumnValuesToBeBetween(
            column=column, min_value=0, strict_min=True, max_value=int(spec.price_max)
        )
    for column in NOT_NEGATIVE[kind]:
        yield expect.ExpectColumnValuesToBeBetween(column=column, min_value=0)
    yield expect.ExpectColumnValuesToBeBetween(column="event_time_ns", min_value=EPOCH_1990_NS)
    if kind is Kind.BAR:
        for above in ("open", "close", "low"):
            yield expect.ExpectColumnPairValuesAToBeGreaterThanB(
                column_A="high", column_B=above, or_equal=True
            )


@contextmanager
def _view_of_day(settings: Settings, table: str, day: date) -> Iterator[str]:
    """The name of a view of the day's rows. Of a query in its place Great Expectations fetches every row, to learn
    its columns."""
    view = sql.Identifier(f"audit_{table}_{day:%Y%m%d}")
    with session(settings) as connection:
        connection.execute(
            sql.SQL(
                "CREATE OR REPLACE VIEW {} AS SELECT * FROM {} WHERE key_time >= {} AND key_time < {}"
            ).format(view, sql.Identifier(table), f"{day} 00:00Z", f"{day + timedelta(days=1)} 00:00Z")
        )
    try:
        yield view.as_string()[1:-1]
    finally:
        with session(settings) as connection:
            connection.execute(sql.SQL("DROP VIEW {}").format(view))


def _offences(table: str, results: Sequence[Any]) -> Iterator[Offence]:
    for item in results:
        if item.success:
            continue
        rows = item.result.get("partial_unexpected_index_list") or []
        shown = "; ".join(" ".join(str(row[name]) for name in KEY_COLUMNS) for row in rows)
        problem = f"{_problem(item)}: {shown}" if item.result else _problem(item)
        yield Offence(item.expectation_config.type, STORE, table, _column(item), problem)


def _expected(item: Any) -> Expected:
    config = item.expectation_config
    return Expected(
        column=_column(item),
        rule=config.type.removeprefix("expect_").replace("_", " "),
        bounds={name: value for name, value in config.kwargs.items() if name not in {"column", "batch_id"}},
        met=bool(item.success),
        problem="" if item.success else _problem(item),
        rows=item.result.get("partial_unexpected_index_list") or [],
    )


def _column(item: Any) -> str:
    kwargs = item.expectation_config.kwargs
    return str(kwargs.get("column") or kwargs.get("column_A") or "identity")


def _problem(item: Any) -> str:
    """How many rows do not meet it, or why it could not be asked."""
    if item.result:
        return f"{item.result.get('unexpected_count', 'unknown')} rows"
    return str(item.exception_info)[:500]
