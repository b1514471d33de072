"""Names of connections."""

from __future__ import annotations

import os

from etl.model.times import NS_PER_MS


def connection_id(now_ns: int) -> str:
    """A new UUIDv7: sorts by the time of the attempt."""
    random_bits = int.from_bytes(os.urandom(10)) & ((1 << 74) - 1)
    number = (now_ns // NS_PER_MS & (1 << 48) - 1) << 80
    number |= 0x7 << 76 | random_bits >> 62 << 64 | 0b10 << 62 | random_bits & (1 << 62) - 1
    digits = f"{number:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
