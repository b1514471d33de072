"""SQL over the lake: a DuckDB connection with one view per table, over exactly the files that the catalog names.

The views show the state of one commit, hence whole exports only. They hold one row per identity: files whose key
times do not overlap cannot share an identity (it fixes the key time), so only overlapping ones are compared, and
after a compaction none overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import duckdb
import pyarrow as pa

from etl.lake.catalog import Catalog, File, State
from etl.lake.layout import (
    DECIMAL,
    FILE_SCHEMAS,
    FORMER_WIDE_DECIMALS,
    LAYOUT,
    NAME_PATTERN,
    NARROW_DECIMAL,
    NARROW_TABLES,
    RAW,
    RAW_SCHEMA,
    WIDE_DECIMALS,
    is_series,
)
from etl.lake.storage import ObjectStorage, Storage, open_storage
from etl.model.sale_conditions import values
from etl.model.tables import KIND_BY_TABLE
from etl.settings import Settings
from etl.wire.precedence import Term, precedence

_SCHEMAS = {**FILE_SCHEMAS, RAW: RAW_SCHEMA.remove(RAW_SCHEMA.get_field_index("encoding"))}
"""What every file of a table has."""
_PLACE_TYPES = {"exchange": pa.string(), "symbol": pa.string(), "date": pa.date32()}
_HIVE_TYPES = {"exchange": "VARCHAR", "symbol": "VARCHAR", "date": "DATE"}
"""Given, not guessed: a symbol may read as a number, or as TRUE."""
_ADDED = {
    "gaps": {"attempts": "INTEGER", "repaired_rows": "BIGINT", "detected_time_ns": "BIGINT"},
    **{
        table: {WIDE_DECIMALS.name: "MAP(VARCHAR, VARCHAR)"}
        for table, schema in FILE_SCHEMAS.items()
        if WIDE_DECIMALS in schema and table not in NARROW_TABLES
    },
}
"""Columns that files written before they were added do not have; there a number reads as 0."""
_NUMBERS = ("INTEGER", "BIGINT")
VIEW_SCALE_MAX = 28
"""Of the 38 digits of DuckDB's decimals ten stand before the point, whatever a narrow column holds."""
_START_OFFSET = f"regexp_extract(filename, '{NAME_PATTERN}', 2)::BIGINT"


# as in the other stores: docs/storage.md
_TRADES_CORRECTED = """
CREATE VIEW corrections_keyed AS
SELECT *,
       regexp_replace(record_key, '/[^/]*$', '') AS voided_key,
       regexp_extract(voided_key, '^(.*/)?', 0)
           || coalesce(nullif(trade_id, ''), regexp_extract(voided_key, '[^/]*$', 0)) AS replacement_key,
       coalesce(correction = 'correct' AND (last_price IS NOT NULL OR volume IS NOT NULL), false) AS replaces
FROM corrections;

CREATE VIEW trades_corrected AS
WITH codes AS (
    SELECT vocabulary,
           array_agg(code) AS any_codes,
           coalesce(array_agg(code) FILTER (WHERE NOT extended_hours), []) AS regular_codes,
           coalesce(array_agg(code) FILTER (WHERE NOT adds_volume), []) AS no_volume_codes
    FROM sale_conditions
    GROUP BY vocabulary
)
SELECT p.*,
       coalesce(NOT list_has_any(conditions, any_codes), true) AS sets_price,
       coalesce(list_has_any(conditions, any_codes) AND NOT list_has_any(conditions, regular_codes), false)
           AS sets_extended_price,
       coalesce(NOT list_has_any(conditions, no_volume_codes), true) AS adds_volume
FROM (
    SELECT exchange, symbol, date, time, record_key, venue_symbol, channel, last_price, volume, side, trade_id,
           size_unit, market_center, conditions, tape, source, flags, false AS corrected
    FROM trades
    WHERE (exchange, symbol, record_key) NOT IN (
        SELECT (exchange, symbol, voided_key) FROM corrections_keyed
        UNION ALL
        SELECT (exchange, symbol, replacement_key) FROM corrections_keyed WHERE replaces
    )
    UNION ALL
    SELECT exchange, symbol, date, time,
           CASE WHEN coalesce(trade_id, '') = '' THEN record_key ELSE replacement_key END, venue_symbol, channel,
           last_price, volume, NULL, trade_id, size_unit, market_center, conditions, tape, source, flags, true
    FROM corrections_keyed
    WHERE replaces AND (exchange, symbol, replacement_key) NOT IN (
        -- a correction in place voids the former print of its key, not its own
        SELECT (exchange, symbol, voided_key) FROM corrections_keyed
        WHERE NOT (replaces AND replacement_key = voided_key)
    )
) AS p
LEFT JOIN codes
    ON codes.vocabulary = CASE WHEN size_unit IS DISTINCT FROM 'share' THEN 'other'
                               WHEN exchange LIKE 'polygon%' THEN 'polygon'
                               WHEN tape = 'C' THEN 'utp'
                               ELSE 'cta' END
"""


def connect(settings: Settings, wanted: Callable[[File], bool] | None = None) -> duckdb.DuckDBPyConnection:
    """The lake as it is now, or only the files that are ``wanted``; the connection keeps showing this state.
    Times in UTC."""
    storage = open_storage(settings)
    state = Catalog(storage).read()
    if wanted is not None:
        state.files = {path: file for path, file in state.files.items() if wanted(file)}
    return connect_to(storage, state)


def connect_to(storage: Storage, state: State) -> duckdb.DuckDBPyConnection:
    connection = open_database(storage)
    for table, schema in _SCHEMAS.items():
        files = state.of(table)
        if not files:
            fields = [pa.field(name, kind) for name, kind in _PLACE_TYPES.items() if name in _place(table)]
            connection.register(table, pa.schema([*fields, *schema]).empty_table())
        elif table == RAW:
            connection.execute(f"CREATE VIEW {table} AS {_all_rows(storage, table, files)}")
        else:
            connection.execute(_view(storage, table, files))
    connection.execute(
        f"CREATE VIEW sale_conditions (vocabulary, code, adds_volume, extended_hours) AS VALUES {values()}"
    )
    connection.execute(_TRADES_CORRECTED)
    return connection


def confine(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """From now on ``connection`` reaches the lake's own folder or bucket and nothing else, for good."""
    folder = open_storage(settings).url.rstrip("/").replace("'", "''")
    connection.execute(f"SET allowed_directories = ['{folder}/']")
    for setting in ("enable_external_access = false", "python_enable_replacements = false"):
        connection.execute(f"SET {setting}")
    connection.execute("SET lock_configuration = true")


def open_database(storage: Storage) -> duckdb.DuckDBPyConnection:
    """An empty database in memory that can read the files of ``storage``."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    if isinstance(storage, ObjectStorage):
        connection.register_filesystem(storage.as_fsspec())
    return connection


def _place(table: str) -> tuple[str, ...]:
    """The columns that stand in the path."""
    return ("exchange", "date") if table == RAW else ("exchange", "symbol", "date")


def _view(storage: Storage, table: str, files: Sequence[File]) -> str:
    runs = list(runs_of(files))
    single = [file for run in runs if len(run) == 1 for file in run[0]]
    overlapping = [file for run in runs if len(run) > 1 for unit in run for file in unit]
    parts = []
    if single:
        parts.append(_all_rows(storage, table, single))
    if overlapping:
        parts.append(distinct_rows(storage, table, overlapping))
    shown = ", ".join(_shown(table, files))
    return f"CREATE VIEW {table} AS SELECT {shown} FROM ({' UNION ALL '.join(parts)})"  # noqa: S608


def _shown(table: str, files: Sequence[File]) -> Iterator[str]:
    """The columns of a view: the decimals of the files with the wide ones, where DuckDB's 38 digits have room for them;
    what has none is null, and stands in ``wide_decimals`` alone."""
    yield from (f'"{name}"' for name in _place(table))
    with_wide = any(file.wide_rows for file in files)
    for field in _SCHEMAS[table]:
        is_list = pa.types.is_list(field.type)
        number = field.type.value_type if is_list else field.type
        if (
            number == NARROW_DECIMAL and not with_wide
        ):  # so that a price times a size stays within what DuckDB multiplies
            yield f"{field.name}::DECIMAL(38,8){'[]' if is_list else ''} AS {field.name}"
        elif pa.types.is_decimal(number) and with_wide:
            scales = [file.wide_scales.get(field.name, 0) for file in files]
            scale_max = VIEW_SCALE_MAX if number == NARROW_DECIMAL else DECIMAL.scale
            yield _with_wide(field.name, is_list, min(max(DECIMAL.scale, *scales), scale_max))
        else:
            yield f'"{field.name}"'


def _with_wide(name: str, is_list: bool, scale: int) -> str:
    """Column ``name`` as DECIMAL(38, scale), with the texts that this holds exactly; a cast would round the others."""
    text = f"wide_decimals['{name}']"
    kind = f"DECIMAL(38,{scale}){'[]' if is_list else ''}"
    levels = f"string_split({text}, ',')" if is_list else text
    too_long = f"\\.[0-9]{{{scale + 1}}}|(^|[,-])0*[1-9][0-9]{{{DECIMAL.precision - scale}}}"
    exact = f"CASE WHEN NOT regexp_matches({text}, '{too_long}') THEN {levels}::{kind} END"
    return f"coalesce({name}::{kind}, {exact}) AS {name}"


def _all_rows(storage: Storage, table: str, files: Sequence[File]) -> str:
    return f"SELECT {_columns(table)} FROM {_scan(storage, files)}"  # noqa: S608


def distinct_rows(storage: Storage, table: str, files: Sequence[File]) -> str:
    """The SELECT of ``files`` with one row per identity: the first of those that take precedence."""
    ranks = ", ".join(f"{_rank(term)} DESC" for term in precedence(KIND_BY_TABLE[table]))
    return (
        f"SELECT {_columns(table)} FROM {_scan(storage, files)} QUALIFY row_number() OVER ("  # noqa: S608
        f"PARTITION BY exchange, symbol, record_key ORDER BY {ranks}, {_START_OFFSET}) = 1"
    )


def _rank(term: Term) -> str:
    if term.states:
        return f"coalesce(list_position({list(term.states)}, {term.name}), 0)"
    if term.otherwise:
        return f"CASE {term.name} WHEN 0 THEN {term.otherwise} ELSE {term.name} END"
    return f"{term.name} IS NOT NULL" if term.present else term.name


def _columns(table: str) -> str:
    return ", ".join(f'"{name}"' for name in (*_place(table), *_SCHEMAS[table].names))


def _scan(storage: Storage, files: Sequence[File]) -> str:
    """``files`` of one table under the columns of today."""
    of_series = [file for file in files if is_series(file.exchange, file.symbol)]
    if of_series:
        rows = f"SELECT * EXCLUDE (contract) REPLACE (contract AS symbol) FROM {_scan_of(storage, of_series)}"  # noqa: S608
        others = [file for file in files if not is_series(file.exchange, file.symbol)]
        beside = f" UNION ALL BY NAME SELECT * FROM {_scan_of(storage, others)}" if others else ""  # noqa: S608
        return f"({rows}{beside})"
    return _scan_of(storage, files)


def _scan_of(storage: Storage, files: Sequence[File]) -> str:
    """Of symbols, or of series."""
    table = files[0].table
    former = [file for file in files if file.layout < LAYOUT and table in NARROW_TABLES]
    if former:
        today = [file for file in files if file not in former]
        renamed = (
            f"SELECT * RENAME ({FORMER_WIDE_DECIMALS} AS {WIDE_DECIMALS.name}) FROM {_read(storage, former)}"  # noqa: S608
        )
        others = f" UNION ALL BY NAME SELECT * FROM {_read(storage, today)}" if today else ""  # noqa: S608
        return f"({renamed}{others})"
    added = _ADDED.get(table)
    if added is None:
        return _read(storage, files)
    names = ", ".join(f"NULL::{kind} AS {name}" for name, kind in added.items())
    zeros = ", ".join(f"coalesce({name}, 0) AS {name}" for name, kind in added.items() if kind in _NUMBERS)
    scan = f"FROM {_read(storage, files, 'union_by_name = true')}"
    shown = f"* REPLACE ({zeros})" if zeros else "*"
    return f"(SELECT {shown} FROM ({scan} UNION ALL BY NAME SELECT {names} WHERE false))"  # noqa: S608


def _read(storage: Storage, files: Sequence[File], *more: str) -> str:
    paths = ", ".join("'" + f"{storage.url}/{file.path}".replace("'", "''") + "'" for file in files)
    types = ", ".join(f"'{name}': {_HIVE_TYPES[name]}" for name in _place(files[0].table))
    options = ("hive_partitioning = true", f"hive_types = {{{types}}}", "filename = true", *more)
    return f"read_parquet([{paths}], {', '.join(options)})"


Unit = list[File]
"""Files that share no identity among themselves: one exported file, or all files of one compaction."""


def runs_of(files: Sequence[File]) -> Iterator[list[Unit]]:
    """``files`` of one table in runs of units whose key times overlap: only within a run can identities be shared."""
    for _, of_symbol in groupby(files, key=lambda file: (file.exchange, file.symbol)):
        units: dict[object, Unit] = {}
        for file in of_symbol:
            units.setdefault((file.date, file.compaction) if file.compaction else file.path, []).append(file)
        run: list[Unit] = []
        reach = 0
        for unit in sorted(units.values(), key=_least):
            if run and _least(unit) > reach:
                yield run
                run = []
            run.append(unit)
            reach = max(reach, *(file.key_time_ns_max for file in unit))
        yield run


def _least(unit: Unit) -> int:
    return min(file.key_time_ns_min for file in unit)
