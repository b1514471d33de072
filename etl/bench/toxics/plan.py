"""What happens when in a run of chaos: decided by the seed alone, before anything starts."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from msgspec import Struct

from etl.bench.toxics import proxy

STOP, CLOCK, DISK = "stop", "clock", "disk"
PAUSE_S = (0.5, 6.0)
"""From the beginning of one act to that of the next: several go on at a time."""
LASTS_S: Mapping[str, tuple[float, float]] = {
    proxy.DELAY: (5.0, 30.0),
    proxy.CUT: (0.5, 15.0),
    proxy.HALF_OPEN: (5.0, 60.0),
    proxy.THROTTLE: (5.0, 30.0),
    STOP: (1.0, 60.0),
    CLOCK: (5.0, 30.0),
    DISK: (2.0, 15.0),
}
SHARE_MAX = 0.25
"""Of the whole run, at most, for one act."""
DELAY_S = (0.02, 1.5)
THROTTLE_BYTES_PER_S = (10_000.0, 500_000.0)
STEPS_S = (-3_600.0, -60.0, -25.0, -2.0, 2.0, 25.0, 60.0, 3_600.0)
STATE_DISK = "state"


class Act(Struct, frozen=True):
    """``kind`` is done to ``target`` from ``at_s`` on, for ``for_s``. ``value``: of a delay seconds, of a throttle
    bytes a second, of a clock seconds from the true time."""

    at_s: float
    kind: str
    target: str
    for_s: float
    value: float = 0.0


def plan(
    seed: int, seconds: float, networks: Sequence[str], parts: Sequence[str], clocks: Sequence[str]
) -> list[Act]:
    """The acts of a run of ``seconds``, in the order of their beginnings; each ends before the run does, none meets
    another on the same network, part, clock or disk. Rounds of every kind, each in another order, so that short runs
    have them all."""
    chance = random.Random(seed)
    acts: list[Act] = []
    free_at: dict[tuple[str, str], float] = {}
    order: list[str] = []
    at_s = chance.uniform(*PAUSE_S)
    while at_s < seconds:
        order = order or chance.sample(list(LASTS_S), len(LASTS_S))
        kind = order.pop()
        place = "network" if kind in proxy.KINDS else kind
        targets = {"network": networks, STOP: parts, CLOCK: clocks, DISK: (STATE_DISK,)}[place]
        free = [target for target in targets if free_at.get((place, target), 0.0) <= at_s]
        lasts_s = min(chance.uniform(*LASTS_S[kind]), SHARE_MAX * seconds, seconds - at_s)
        value = _value(kind, chance)
        if free:
            target = chance.choice(free)
            free_at[place, target] = at_s + lasts_s
            acts.append(Act(round(at_s, 2), kind, target, round(lasts_s, 2), value))
        at_s += chance.uniform(*PAUSE_S)
    return acts


def _value(kind: str, chance: random.Random) -> float:
    if kind == proxy.DELAY:
        return round(chance.uniform(*DELAY_S), 3)
    if kind == proxy.THROTTLE:
        return round(chance.uniform(*THROTTLE_BYTES_PER_S))
    return chance.choice(STEPS_S) if kind == CLOCK else 0.0
