"""Whether the records of a batch are stored already: asked when its token may be forgotten."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from etl.errors import WireError
from etl.model.records import Kind, Record
from etl.stores.clickhouse_http import ClickHouse
from etl.wire.codec import decode

KEYS_MAX = 1_000
"""Of one query."""

_TABLES = {Kind.TRADE: "trades_stored", Kind.QUOTE: "quotes_stored", Kind.BOOK: "books_stored"}
_OTHERS = "(SELECT *, key_time_ns, record_key FROM others_stored WHERE kind = '{}')"

_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'"})


def all_stored(client: ClickHouse, values: Sequence[bytes]) -> bool:
    """Is every record that ``values`` carry in its table? What cannot be read is not. Raises ``StoreError``."""
    by_kind: dict[Kind, list[Record]] = defaultdict(list)
    for value in values:
        try:
            record = decode(value)
        except WireError:
            return False
        by_kind[record.kind].append(record)
    return all(
        _stored(client, _TABLES.get(kind, _OTHERS.format(kind.name.lower())), records[low : low + KEYS_MAX])
        for kind, records in by_kind.items()
        for low in range(0, len(records), KEYS_MAX)
    )


def _stored(client: ClickHouse, table: str, records: Sequence[Record]) -> bool:
    identities = {(r.exchange, r.symbol, r.key_time_ns, r.record_key) for r in records}
    keys = ",".join(
        f"('{exchange.translate(_ESCAPES)}','{symbol.translate(_ESCAPES)}',{time},'{key.translate(_ESCAPES)}')"
        for exchange, symbol, time, key in identities
    )
    times = [r.key_time_ns for r in records]
    found = client.execute(
        f"SELECT uniqExact(exchange, symbol, key_time_ns, record_key) FROM {table}"  # noqa: S608
        f" WHERE key_time BETWEEN fromUnixTimestamp64Nano({min(times)}) AND fromUnixTimestamp64Nano({max(times)})"
        f" AND (exchange, symbol, key_time_ns, record_key) IN ({keys})",
        settings={"max_query_size": str(1 << 24), "max_ast_elements": "1000000"},
    )
    return int(found) == len(identities)
