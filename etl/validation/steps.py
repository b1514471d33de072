"""Steps of prices as trades show them, ahead of the next instrument list. Pure."""

from __future__ import annotations

from math import floor, log10

FINER_DIGITS_MAX = 2
"""A step moves by a digit or two; more of them are the marks of a float, and confirm nothing."""


class StepWatch:
    """Trades of one symbol off its known step. Once so many more were off it than on it, it has become finer."""

    __slots__ = ("_ahead", "_digits", "_digits_max")

    def __init__(self, step: float) -> None:
        self._ahead = 0
        self._digits = 0
        self._digits_max = max(0, -floor(log10(step))) + FINER_DIGITS_MAX

    def observe(self, price: str, is_off: bool) -> int:
        """By how many more it was off than on."""
        digits = len(price.partition(".")[2].rstrip("0"))
        if not is_off:
            self._ahead -= 1
        elif digits <= self._digits_max:
            self._ahead += 1
            self._digits = max(self._digits, digits)
        return self._ahead

    @property
    def step(self) -> float:
        """That all of those prices are multiples of."""
        return float(f"1e-{self._digits}")
