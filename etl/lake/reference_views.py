"""What DuckDB shows of the reference data: of each table what holds now, and what was known at a time."""

from __future__ import annotations

from collections.abc import Iterator

from etl.model.reference import REFERENCE_TABLES, ReferenceTable

NS_SUFFIX = "_ns"


def reference_views() -> str:
    """The statements that make ``sessions`` and ``sessions_at`` of ``sessions_history``, and so on."""
    return "\n".join(statement for table in REFERENCE_TABLES.values() for statement in _of(table))


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
    for name in (*table.columns, "recorded_ns"):
        yield name
        if name.endswith(NS_SUFFIX):
            yield f"(make_timestamp({name} // 1000) AT TIME ZONE 'UTC') AS {name.removesuffix(NS_SUFFIX)}"
