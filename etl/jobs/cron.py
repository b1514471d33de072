"""When a cron line is due. Pure; of cron's language what the jobs need: ``*``, numbers and ``*/n``."""

from __future__ import annotations

from etl.errors import UsageError
from etl.model.times import NS_PER_S

MINUTE_NS = 60 * NS_PER_S
_MINUTES_PER_DAY = 1_440
_FIELDS = (60, 24)
"""Minute and hour; day, month and weekday are always ``*``."""


def minutes_of_day(line: str) -> tuple[int, ...]:
    """At which minutes of a UTC day ``line`` is due, in order. Raises ``UsageError`` for what is not understood."""
    fields = line.split()
    if len(fields) != 5 or fields[2:] != ["*"] * 3:
        raise UsageError(f"cron line {line!r}: must be MINUTE HOUR * * *")
    minutes, hours = (_values(text, size, line) for text, size in zip(fields, _FIELDS, strict=False))
    return tuple(hour * 60 + minute for hour in hours for minute in minutes)


def due_after(line: str, time_ns: int) -> int:
    """The first time after ``time_ns`` at which ``line`` is due, Unix ns."""
    day, minute = divmod(time_ns // MINUTE_NS, _MINUTES_PER_DAY)
    at = minutes_of_day(line)
    found = next((due for due in at if due > minute), at[0] + _MINUTES_PER_DAY)
    return (day * _MINUTES_PER_DAY + found) * MINUTE_NS


def due_by(line: str, time_ns: int) -> int:
    """The last time up to ``time_ns``."""
    day, minute = divmod(time_ns // MINUTE_NS, _MINUTES_PER_DAY)
    at = minutes_of_day(line)
    found = next((due for due in reversed(at) if due <= minute), at[-1] - _MINUTES_PER_DAY)
    return (day * _MINUTES_PER_DAY + found) * MINUTE_NS


def _values(text: str, size: int, line: str) -> range:
    if text == "*":
        return range(size)
    step = text.removeprefix("*/")
    if not step.isdecimal() or int(step) >= size or (step != text and not int(step)):
        raise UsageError(f"cron line {line!r}: {text!r} is not understood")
    return range(0, size, int(step)) if step != text else range(int(step), int(step) + 1)
