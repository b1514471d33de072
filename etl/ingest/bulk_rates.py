"""How fast bars go into each store in bulk, and what they take there: as ``etl bench bulk`` measured it, for estimates.

``bulk_rates.json`` is written by ``etl bench document bulk``, which also keeps the whole result and its machine.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

FILE = Path(__file__).with_suffix(".json")


class BulkRates(Struct, frozen=True):
    """By store, each of which had the machine to itself; bytes of a minute bar of a stock, merged and compressed."""

    rows_per_s: dict[str, int]
    bytes_per_row: dict[str, float]
    line_by_line_rows_per_s: int
    """Through all checks into the topics, by one process."""


def measured() -> BulkRates:
    return msgspec.json.decode(FILE.read_bytes(), type=BulkRates)
