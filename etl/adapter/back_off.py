"""How long to wait before the next attempt. Pure: the caller has the random number and the clock."""

from __future__ import annotations

from math import isnan

DOUBLINGS_MAX = 16
"""Doublings that are counted; a delay is at its limit long before."""
ASKED_WAIT_MAX_S = 86_400.0
"""Whatever a venue asks for, it is asked again after a day: a longer wait is more often nonsense than a ban."""


def back_off_s(failures: int, first_s: float, max_s: float, random: float = 1.0) -> float:
    """After ``failures`` (from 0) in a row: ``first_s``, doubled with each and never more than ``max_s``.

    ``random``, uniform in [0, 1), gives full jitter: a random share of that, so that many who failed together do not
    come back together.
    """
    return min(max_s, first_s * 2.0 ** min(failures, DOUBLINGS_MAX)) * random


def asked_wait_s(seconds: float) -> float:
    """How long a venue's wish is granted: 0 to ``ASKED_WAIT_MAX_S``, whatever number it names; NaN is none."""
    return 0.0 if isnan(seconds) else min(ASKED_WAIT_MAX_S, max(0.0, seconds))
