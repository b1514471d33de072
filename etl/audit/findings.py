"""``audit_findings`` in TimescaleDB: each offence once, from night to night, with suppression by rule.

A night's offences are added or seen again; an offence of the audited day that is no longer there is resolved. A
suppression silences until it expires; what it silenced is open again the night after.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any

import psycopg
from msgspec import Struct
from psycopg.rows import class_row

from etl.audit.offence import Offence

ROWS_MAX = 500
"""Findings written by one statement."""

_SEE = """
INSERT INTO audit_findings AS f (check_name, store, table_name, key, detail, day, first_seen, last_seen)
SELECT c, s, t, k, d, %(day)s, %(now)s, %(now)s
FROM unnest(%(checks)s::text[], %(stores)s::text[], %(tables)s::text[], %(keys)s::text[], %(details)s::text[])
     AS offence (c, s, t, k, d)
ON CONFLICT (check_name, store, table_name, key, day) DO UPDATE
SET last_seen = excluded.last_seen, detail = excluded.detail, state = 'open',
    nights = f.nights + CASE WHEN excluded.last_seen::date > f.last_seen::date THEN 1 ELSE 0 END
"""
_RESOLVE = """
UPDATE audit_findings SET state = 'resolved'
WHERE day = %(day)s AND last_seen < %(now)s AND state <> 'resolved' AND store = ANY(%(stores)s)
"""
_SUPPRESS = """
UPDATE audit_findings f SET state = 'suppressed'
FROM audit_suppressions s
WHERE f.state = 'open' AND s.expires > %(now)s
  AND s.check_name IN ('', f.check_name) AND s.table_name IN ('', f.table_name)
  AND starts_with(f.key, s.key_prefix)
  AND (s.from_day IS NULL OR f.day >= s.from_day) AND (s.to_day IS NULL OR f.day <= s.to_day)
"""


class Finding(Struct, frozen=True):
    check_name: str
    store: str
    table_name: str
    key: str
    detail: str
    day: date
    first_seen: datetime
    last_seen: datetime
    nights: int
    state: str


class Suppression(Struct, frozen=True, kw_only=True):
    """Empty fields match anything."""

    reason: str
    expires: datetime
    check_name: str = ""
    table_name: str = ""
    key_prefix: str = ""
    from_day: date | None = None
    to_day: date | None = None


def record(
    connection: psycopg.Connection[Any],
    offences: Sequence[Offence],
    day: date,
    stores: Iterable[str],
    now: datetime | None = None,
) -> None:
    """One night's offences of ``day`` in one transaction; what ``stores`` no longer show is resolved."""
    now = now or datetime.now(UTC)
    offences = list({(row.check, row.store, row.table, row.key): row for row in offences}.values())
    with connection.transaction():
        for start in range(0, len(offences), ROWS_MAX):
            rows = offences[start : start + ROWS_MAX]
            connection.execute(
                _SEE,
                {
                    "day": day,
                    "now": now,
                    "checks": [row.check for row in rows],
                    "stores": [row.store for row in rows],
                    "tables": [row.table for row in rows],
                    "keys": [row.key for row in rows],
                    "details": [row.detail for row in rows],
                },
            )
        connection.execute(_RESOLVE, {"day": day, "now": now, "stores": list(stores)})
        connection.execute(_SUPPRESS, {"now": now})


def suppress(connection: psycopg.Connection[Any], rule: Suppression) -> None:
    """From the next night on; what it matches now is silenced at once."""
    with connection.transaction():
        connection.execute(
            "INSERT INTO audit_suppressions (check_name, table_name, key_prefix, from_day, to_day, reason, expires)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)",
            (
                rule.check_name,
                rule.table_name,
                rule.key_prefix,
                rule.from_day,
                rule.to_day,
                rule.reason,
                rule.expires,
            ),
        )
        connection.execute(_SUPPRESS, {"now": datetime.now(UTC)})


def findings(connection: psycopg.Connection[Any], day: date | None = None, state: str = "") -> list[Finding]:
    """Newest day first."""
    with connection.cursor(row_factory=class_row(Finding)) as cursor:
        cursor.execute(
            "SELECT check_name, store, table_name, key, detail, day, first_seen, last_seen, nights, state"
            " FROM audit_findings WHERE (%(day)s::date IS NULL OR day = %(day)s) AND %(state)s IN ('', state)"
            " ORDER BY day DESC, check_name, store, table_name, key",
            {"day": day, "state": state},
        )
        return cursor.fetchall()
