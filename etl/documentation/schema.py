"""Every table of records with every column: from the records, as all three stores take them."""

from __future__ import annotations

from etl.documentation.columns import MEANINGS
from etl.documentation.tables import table
from etl.model.records import RECORD_TYPES, Record
from etl.model.tables import TABLE_BY_KIND
from etl.wire.columns import COLUMNS, TIME, Column, Form

_HEAD = """\
# Tables and columns

{made}

The same names in ClickHouse, TimescaleDB and the lake; a store leaves out what it does not need
([storage.md](../storage.md), [lake.md](../lake.md)). A row's identity is (`exchange`, `symbol`, table, `record_key`).

Prices and sizes are exact decimals, never floats: `Decimal(76, 30)` in ClickHouse's views, `numeric` in TimescaleDB, a
decimal of the lake's ([lake.md](../lake.md)). Times are UTC; a column that ends with `_ns` counts nanoseconds since
1970, 0 or NULL = not sent. `time` is a timestamp: of nine decimals in ClickHouse, of six in TimescaleDB and the lake.
What the venue did not say is NULL or empty, never zero. [venues.md](../venues.md) says what each venue sends.
"""
_TYPES = {
    Form.TEXT: "text", Form.DECIMAL: "decimal", Form.INTEGER: "integer", Form.TIME: "ns", Form.NAME: "name",
    Form.TEXTS: "texts", Form.DECIMALS: "decimals", Form.INTEGERS: "integers",
}  # fmt: skip


def page(made: str) -> str:
    common = [column for column in COLUMNS[RECORD_TYPES[0].kind] if column.name in _common_names()]
    lines = [_HEAD.format(made=made), "## Columns of every table", ""]
    lines += ["| column | type | meaning |", "|---|---|---|", f"| `time` | timestamp | {MEANINGS['time']} |"]
    lines += [*_rows(common), ""]
    for record_type in RECORD_TYPES:
        own = [column for column in COLUMNS[record_type.kind] if column.name not in _common_names()]
        lines += [f"## {TABLE_BY_KIND[record_type.kind]}", "", *_said(record_type), *_table(own), ""]
    return "\n".join(lines).rstrip() + "\n"


def _common_names() -> set[str]:
    return {TIME.name, *Record.__struct_fields__}


def _said(record_type: type[Record]) -> list[str]:
    text = record_type.__doc__ if "__doc__" in vars(record_type) else None
    return [" ".join(text.replace("``", "`").split()), ""] if text else []


def _table(columns: list[Column]) -> list[str]:
    return table(("column", "type", "meaning"), []) + _rows(columns)


def _rows(columns: list[Column]) -> list[str]:
    return table((), [(f"`{each.name}`", _TYPES[each.form], _meaning(each)) for each in columns])[2:]


def _meaning(column: Column) -> str:
    names = ", ".join(f"`{name}`" for name in column.names if name)
    return MEANINGS[column.name] + (f": {names}" if names else "")
