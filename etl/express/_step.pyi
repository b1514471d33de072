from collections.abc import Callable
from types import MemberDescriptorType
from typing import Any

def make(
    kinds: tuple[tuple[Any, ...], ...],
    slots: tuple[MemberDescriptorType, ...],
    objects: tuple[object, ...],
    judges_lateness: bool,
    offset_step_ns: int,
    rounding: float,
    tick_tolerance: float,
    volume_tolerance: float,
) -> Callable[[object, int], bool]: ...
def proves(step: Callable[[object, int], bool], record: object) -> bool: ...
def all_hold(
    comparisons: bytes, numbers: tuple[float, ...], rounding: float, tick_tolerance: float
) -> bool: ...
