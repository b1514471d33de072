"""SQL over the lake: a DuckDB connection with one view per table, over exactly the files that the logs name.

The views show one commit of each table, hence whole exports only. They hold one row per identity: files whose key
times do not overlap cannot share an identity (it fixes the key time), so only rows of key times that several files
have are compared, and after a compaction there are none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import groupby

import duckdb
import pyarrow as pa

from etl.lake.bucket import ObjectStorage
from etl.lake.catalog import Catalog, File, State
from etl.lake.layout import (
    DECIMAL,
    DERIVED_SCHEMAS,
    FILE_SCHEMAS,
    LAYOUT,
    NAME_PATTERN,
    NARROW_DECIMAL,
    RAW,
    RAW_SCHEMA,
    REFERENCE_SCHEMAS,
)
from etl.lake.reference_views import reference_views
from etl.lake.storage import Storage, open_storage
from etl.model.sale_conditions import values
from etl.model.tables import KIND_BY_TABLE
from etl.settings import Settings
from etl.wire.precedence import Term, precedence

_SCHEMAS = {
    **FILE_SCHEMAS,
    RAW: RAW_SCHEMA.remove(RAW_SCHEMA.get_field_index("encoding")),
    **DERIVED_SCHEMAS,
    **REFERENCE_SCHEMAS,
}
"""What every file of a table has."""
_PLACE_TYPES = {"exchange": pa.string(), "date": pa.date32()}
_PLACE = tuple(_PLACE_TYPES)
"""The columns that stand in the path."""
_HIVE_TYPES = "{'exchange': VARCHAR, 'date': DATE}"
"""Given, not guessed: an exchange may read as a number."""
NARROW_WHOLE_DIGITS = NARROW_DECIMAL.precision - NARROW_DECIMAL.scale
"""Before the point of what a narrow column holds itself."""
SPANS_MAX = 64
"""Of overlapping key times that a view tells apart; beyond, all rows of the run are compared."""
_START_OFFSET = f"TRY_CAST(regexp_extract(filename, '{NAME_PATTERN}', 2) AS BIGINT)"
"""Null in a file that another program wrote."""


# these are as in the other stores: docs/storage.md
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
           size_unit, market_center, conditions, tape, source, flags, false AS corrected,
           key_time_ns, event_time_ns, sequence, frame_sequence, frame_index
    FROM trades
    WHERE (exchange, symbol, record_key) NOT IN (
        SELECT (exchange, symbol, voided_key) FROM corrections_keyed
        UNION ALL
        SELECT (exchange, symbol, replacement_key) FROM corrections_keyed WHERE replaces
    )
    UNION ALL
    SELECT exchange, symbol, date, time,
           CASE WHEN coalesce(trade_id, '') = '' THEN record_key ELSE replacement_key END, venue_symbol, channel,
           TRY_CAST(last_price AS {price}), TRY_CAST(volume AS {volume}), NULL, trade_id, size_unit, market_center,
           conditions, tape, source, flags, true,
           CASE event_time_ns WHEN 0 THEN receive_time_ns ELSE event_time_ns END, event_time_ns, sequence,
           frame_sequence, frame_index
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

_OBSERVATIONS_ASOF = """
CREATE MACRO observations_asof(moment) AS TABLE
SELECT exchange, symbol, observation_date::DATE AS observation_date, vintage_date::DATE AS vintage_date, value, unit,
       release, known_time
FROM (
    SELECT *, least(make_timestamptz(receive_time_ns // 1000),
                    make_timestamptz(key_time_ns // 1000) + INTERVAL 30 HOURS) AS known_time
    FROM observations
    WHERE known_time <= moment::TIMESTAMPTZ
    QUALIFY row_number() OVER (
        PARTITION BY exchange, symbol, observation_date
        ORDER BY vintage_date DESC,
                 CASE WHEN make_timestamptz(receive_time_ns // 1000) <= moment::TIMESTAMPTZ THEN receive_time_ns
                      ELSE -receive_time_ns END DESC
    ) = 1
)
WHERE NOT list_contains(coalesce(flags, []), 'withdrawn')
"""


def connect(settings: Settings, wanted: Callable[[File], bool] | None = None) -> duckdb.DuckDBPyConnection:
    """The lake as it is now, or only the files that are ``wanted``; the connection keeps showing this state.
    Times in UTC."""
    storage = open_storage(settings)
    state = Catalog(storage).read()
    if wanted is not None:
        state.files = {path: file for path, file in state.files.items() if wanted(file)}
    return connect_to(storage, state)


def connect_to(storage: Storage, state: State, with_doubles: bool = False) -> duckdb.DuckDBPyConnection:
    """The files of ``state``; ``with_doubles``: every row of them, each file read once."""
    connection = open_database(storage)
    for table, schema in _SCHEMAS.items():
        files = state.of(table)
        if not files:
            fields = [pa.field(name, kind) for name, kind in _PLACE_TYPES.items()]
            connection.register(table, pa.schema([*fields, *schema]).empty_table())
        elif table not in KIND_BY_TABLE:
            connection.execute(f"CREATE VIEW {table} AS {_all_rows(storage, table, files)}")
        else:
            connection.execute(_view(storage, table, files, [[files]] if with_doubles else runs_of(files)))
    connection.execute(_OBSERVATIONS_ASOF)
    connection.execute(
        f"CREATE VIEW sale_conditions (vocabulary, code, adds_volume, extended_hours) AS VALUES {values()}"
    )
    price, volume = (
        _unrounded(kind) for kind in connection.sql("SELECT last_price, volume FROM trades").types
    )
    connection.execute(_TRADES_CORRECTED.format(price=price, volume=volume))
    connection.execute(reference_views())
    return connection


def _unrounded(kind: object) -> str:
    """The decimal of a correction beside trades of the type ``kind``, where these are wide: of a column of both DuckDB
    would round the longer."""
    scale = int(str(kind).rstrip(")").rpartition(",")[2])
    return f"DECIMAL(38,{max(scale, DECIMAL.scale)})"


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


def _view(storage: Storage, table: str, files: Sequence[File], of_files: Iterable[Run]) -> str:
    runs = list(of_files)
    single = [file for run in runs if len(run) == 1 for file in run[0]]
    parts = []
    if single:
        parts.append(_all_rows(storage, table, single))
    for run in runs:
        if len(run) > 1:
            parts += _without_doubles(storage, table, run)
    shown = ", ".join(_shown(table, files))
    return f"CREATE VIEW {table} AS SELECT {shown} FROM ({' UNION ALL '.join(parts)})"  # noqa: S608


def _without_doubles(storage: Storage, table: str, run: Run) -> Iterator[str]:
    """One row per identity of files that overlap: only rows of the key times that several units have are compared."""
    source = _read(storage, [file for unit in run for file in unit])
    spans = shared_spans(run)
    if len(spans) > SPANS_MAX:
        yield distinct(table, source)
        return
    shared = " OR ".join(f"key_time_ns BETWEEN {start} AND {end}" for start, end in spans)
    yield f"SELECT {columns(table)} FROM {source} WHERE NOT ({shared})"  # noqa: S608
    yield distinct(table, f"(FROM {source} WHERE {shared})")


def shared_spans(run: Run) -> list[tuple[int, int]]:
    """Key times, first and last, that more than one of the run's units may have."""
    spans: list[tuple[int, int]] = []
    reach = _greatest(run[0])
    for unit in run[1:]:
        start, end = _least(unit), min(reach, _greatest(unit))
        if spans and start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], end))
        else:
            spans.append((start, end))
        reach = max(reach, _greatest(unit))
    return spans


def _shown(table: str, files: Sequence[File]) -> Iterator[str]:
    """The columns of a view: the decimals of the files with the wide ones, where DuckDB's 38 digits have room for them;
    what has none is null, and stands in ``wide_decimals`` alone."""
    yield from (f'"{name}"' for name in _PLACE)
    with_wide = any(file.wide_rows for file in files)
    for field in _SCHEMAS[table]:
        is_list = pa.types.is_list(field.type)
        number = field.type.value_type if is_list else field.type
        if (
            number == NARROW_DECIMAL and not with_wide
        ):  # so that a price times a size stays within what DuckDB multiplies
            yield f"{field.name}::DECIMAL(38,8){'[]' if is_list else ''} AS {field.name}"
        elif pa.types.is_decimal(number) and with_wide:
            yield _with_wide(field.name, is_list, wide_scale(field.name, number, files))
        else:
            yield f'"{field.name}"'


def wide_scale(name: str, kind: pa.DataType, files: Collection[File]) -> int:
    """Digits behind the point of column ``name``, of that type in the files, with its wide values put back: as many as
    the longest has and the greatest leaves room for. Every column has room for the digits before the point."""
    if kind != NARROW_DECIMAL:
        return int(DECIMAL.scale)
    longest = max(file.wide_scales.get(name, 0) for file in files)
    whole = max(NARROW_WHOLE_DIGITS, *(file.wide_wholes.get(name, 0) for file in files))
    return int(max(DECIMAL.scale, min(longest, DECIMAL.precision - whole)))


def too_long(scale: int) -> str:
    """Matches a text, or levels joined by commas, with a value that DECIMAL(38, scale) does not hold exactly."""
    return f"\\.[0-9]{{{scale + 1}}}|(^|[,-])0*[1-9][0-9]{{{DECIMAL.precision - scale}}}"


def _with_wide(name: str, is_list: bool, scale: int) -> str:
    """Column ``name`` as DECIMAL(38, scale), with the texts that this holds exactly; a cast would round the others."""
    text = f"wide_decimals['{name}']"
    kind = f"DECIMAL(38,{scale}){'[]' if is_list else ''}"
    levels = f"string_split({text}, ',')" if is_list else text
    exact = f"CASE WHEN NOT regexp_matches({text}, '{too_long(scale)}') THEN {levels}::{kind} END"
    return f"coalesce({name}::{kind}, {exact}) AS {name}"


def _all_rows(storage: Storage, table: str, files: Sequence[File]) -> str:
    return f"SELECT {columns(table)} FROM {_read(storage, files)}"  # noqa: S608


def distinct_rows(storage: Storage, table: str, files: Sequence[File]) -> str:
    """The SELECT of ``files`` with one row per identity."""
    return distinct(table, _read(storage, files))


def distinct(table: str, source: str) -> str:
    """The SELECT of ``source`` with one row per identity: the first of those that take precedence."""
    ranks = ", ".join(f"{_rank(term)} DESC" for term in precedence(KIND_BY_TABLE[table]))
    return (
        f"SELECT {columns(table)} FROM {source} QUALIFY row_number() OVER ("  # noqa: S608
        f"PARTITION BY exchange, symbol, record_key ORDER BY {ranks}, {_START_OFFSET}) = 1"
    )


def _rank(term: Term) -> str:
    if term.states:
        return f"coalesce(list_position({list(term.states)}, {term.name}), 0)"
    if term.otherwise:
        return f"CASE {term.name} WHEN 0 THEN {term.otherwise} ELSE {term.name} END"
    return f"{term.name} IS NOT NULL" if term.present else term.name


def columns(table: str) -> str:
    return ", ".join(f'"{name}"' for name in (*_PLACE, *_SCHEMAS[table].names))


def _read(storage: Storage, files: Sequence[File]) -> str:
    paths = ", ".join("'" + f"{storage.url}/{file.path}".replace("'", "''") + "'" for file in files)
    options = f"hive_partitioning = true, hive_types = {_HIVE_TYPES}, filename = true"
    if files[0].table not in REFERENCE_SCHEMAS and all(file.layout == LAYOUT for file in files):
        return f"read_parquet([{paths}], {options})"
    # what another program wrote may lack a column; so may reference data of before there was one
    nulls = ", ".join(
        f'NULL::{_sql_type(field.type)} AS "{field.name}"' for field in _SCHEMAS[files[0].table]
    )
    return (
        f"(FROM read_parquet([{paths}], {options}, union_by_name = true)"
        f" UNION ALL BY NAME SELECT {nulls} WHERE false)"
    )


def _sql_type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"{_sql_type(kind.value_type)}[]"
    if pa.types.is_map(kind):
        return f"MAP({_sql_type(kind.key_type)}, {_sql_type(kind.item_type)})"
    if pa.types.is_decimal(kind):
        return f"DECIMAL({kind.precision},{kind.scale})"
    return {
        "string": "VARCHAR",
        "int64": "BIGINT",
        "binary": "BLOB",
        "bool": "BOOLEAN",
        "date32[day]": "DATE",
    }.get(str(kind), "TIMESTAMPTZ")


Unit = list[File]
"""Files that share no identity among themselves: one exported file, or all files of one compaction."""
Run = list[Unit]
"""Units, by their least key time, of which each overlaps one before it."""


def runs_of(files: Sequence[File]) -> Iterator[Run]:
    """``files`` of one table in runs of units whose key times overlap: only within a run can identities be shared."""
    for _, of_exchange in groupby(files, key=lambda file: file.exchange):
        units: dict[object, Unit] = {}
        for file in of_exchange:
            units.setdefault((file.date, file.compaction) if file.compaction else file.path, []).append(file)
        run: Run = []
        reach = 0
        for unit in sorted(units.values(), key=_least):
            if run and _least(unit) > reach:
                yield run
                run = []
            run.append(unit)
            reach = max(reach, _greatest(unit))
        yield run


def _least(unit: Unit) -> int:
    return min(file.key_time_ns_min for file in unit)


def _greatest(unit: Unit) -> int:
    return max(file.key_time_ns_max for file in unit)
