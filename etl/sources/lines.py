"""Lines of a file that somebody else made: one is never read further than it may be long."""

from __future__ import annotations

from collections.abc import Iterator
from io import BufferedIOBase


def bounded_lines(file: BufferedIOBase, bytes_max: int) -> Iterator[bytes]:
    """The lines of ``file`` with their ends. Raises ``ValueError`` for one of more than ``bytes_max``; of what a
    compressed file would unpack to, no more than that was held."""
    number = 0
    while line := file.readline(bytes_max + 1):
        number += 1
        if len(line) > bytes_max:
            raise ValueError(f"line {number} has more than {bytes_max} bytes")
        yield line
