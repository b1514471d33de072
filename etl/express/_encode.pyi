from collections.abc import Callable
from types import MemberDescriptorType
from typing import TypeVar

_Record = TypeVar("_Record")

def make(
    type: type[_Record],
    kind: int,
    rows: tuple[tuple[MemberDescriptorType, int, bytes], ...],
    plain: Callable[[_Record], bytes],
) -> Callable[[_Record], bytes]: ...
