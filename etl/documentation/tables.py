"""Tables of a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Its lines; a bar within a cell is escaped, and an end of line is a space."""
    lines = [_row(heads), "|" + "---|" * len(heads)]
    return [*lines, *map(_row, rows)]


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(" ".join(str(cell).split()).replace("|", "\\|") for cell in cells) + " |"
