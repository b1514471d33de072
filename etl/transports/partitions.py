"""Which partition a key has. Kafka's producer computes it itself; here is the same for transports of our own."""

from __future__ import annotations

from functools import lru_cache
from struct import iter_unpack


@lru_cache(maxsize=65_536)
def partition_of(key: bytes, partitions: int) -> int:
    """As Kafka's clients choose it (murmur2): a key stays on its partition when its topic is moved."""
    mask, factor = 0xFFFFFFFF, 0x5BD1E995
    mixed = (0x9747B28C ^ len(key)) & mask
    whole = len(key) & ~3
    for (word,) in iter_unpack("<I", key[:whole]):
        word = word * factor & mask
        word = (word ^ word >> 24) * factor & mask
        mixed = (mixed * factor & mask) ^ word
    if rest := key[whole:]:
        mixed = (mixed ^ int.from_bytes(rest, "little")) * factor & mask
    mixed = (mixed ^ mixed >> 13) * factor & mask
    return ((mixed ^ mixed >> 15) & 0x7FFFFFFF) % partitions
