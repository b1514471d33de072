"""Protobuf's varints, for who writes messages around others without parsing them. Pure."""

from __future__ import annotations


def varint(number: int) -> bytes:
    """``number``, 0 or greater, as Protobuf writes it."""
    if number < 0x80:
        return number.to_bytes(1, "little")
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
