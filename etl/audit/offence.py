from __future__ import annotations

from msgspec import Struct


class Offence(Struct, frozen=True):
    """One row, group or total that a check objects to. (check, store, table, key) identifies it night to night."""

    check: str
    store: str
    table: str
    key: str
    detail: str
