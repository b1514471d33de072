"""Which messages of a batch have their row already: asked where the server may not know its token any more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from etl.errors import WireError
from etl.model.records import Kind
from etl.sinks.clickhouse_ways import STORED_TABLES
from etl.stores.clickhouse_http import ClickHouse
from etl.wire.codec import decode, decode_quarantined

KEYS_MAX = 1_000
"""Of one query."""

Key = tuple[str | int, ...]
"""The values of a table's ``names`` in one row."""


class _Table(Struct, frozen=True):
    """``names`` tell a row from every other; the first is its time in ns, kept by the partitioning column ``time``."""

    name: str
    names: tuple[str, ...]
    time: str
    kind: str = ""


_RECORD_NAMES = (
    "key_time_ns", "exchange", "symbol", "record_key",
    "connection_id", "frame_sequence", "frame_index", "receive_time_ns",
)  # fmt: skip
"""Its identity, and whence and when it came: a later state of a bar is another row."""
_ITEM_NAMES = (
    "receive_time_ns", "exchange", "connection_id", "frame_sequence", "frame_index", "code", "outcome_time_ns",
)  # fmt: skip
_TABLES = {
    kind: _Table(STORED_TABLES[kind], _RECORD_NAMES, "key_time")
    if kind in STORED_TABLES
    else _Table("others_stored", _RECORD_NAMES, "key_time", kind.name.lower())
    for kind in Kind
}
_QUARANTINE = _Table("quarantine_stored", _ITEM_NAMES, "time")

_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'"})


def not_stored(client: ClickHouse, values: Sequence[bytes], *, quarantined: bool) -> list[int]:
    """The indices in ``values`` of messages that have no row of their own; those that cannot be read are among them.

    ``quarantined``: they are quarantined items, else records. Raises ``StoreError``.
    """
    missing: list[int] = []
    by_table: dict[_Table, dict[Key, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, value in enumerate(values):
        try:
            record = decode_quarantined(value) if quarantined else decode(value)
        except WireError:
            missing.append(index)
            continue
        table = _QUARANTINE if quarantined else _TABLES[record.kind]  # type: ignore[union-attr]
        by_table[table][tuple(getattr(record, name) for name in table.names)].append(index)
    for table, indices in by_table.items():
        all_keys = list(indices)
        for low in range(0, len(all_keys), KEYS_MAX):
            keys = all_keys[low : low + KEYS_MAX]
            found = _found(client, table, keys)
            missing += [index for key in keys if key not in found for index in indices[key]]
    return sorted(missing)


def _found(client: ClickHouse, table: _Table, keys: Sequence[Key]) -> set[Key]:
    names = ", ".join(table.names)
    times = [key[0] for key in keys]
    of_kind = f"kind = '{table.kind}' AND " if table.kind else ""
    answer = client.execute(
        f"SELECT DISTINCT {names} FROM {table.name} WHERE {of_kind}"  # noqa: S608
        f" {table.time} BETWEEN fromUnixTimestamp64Nano({min(times)}) AND fromUnixTimestamp64Nano({max(times)})"
        f" AND ({names}) IN ({','.join(map(_literal, keys))}) FORMAT JSONCompactEachRow",
        settings={
            "max_query_size": str(1 << 24),
            "max_ast_elements": "1000000",
            "output_format_json_quote_64bit_integers": "0",
        },
    )
    return {msgspec.json.decode(line, type=Key) for line in answer.splitlines()}


def _literal(key: Key) -> str:
    values = (
        str(int(value)) if isinstance(value, int) else f"'{value.translate(_ESCAPES)}'" for value in key
    )
    return f"({','.join(values)})"
