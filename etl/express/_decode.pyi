from collections.abc import Callable, Mapping

def make(
    tables: Mapping[int, tuple[tuple[bytes, int, int], ...]],
) -> Callable[
    [list[tuple[int, bytes | None]], bytes],
    tuple[
        list[tuple[int, list[int], tuple[tuple[bytes | None, bytes, bytes | None, bytes | None], ...]]],
        list[tuple[int, bytes | None]],
    ],
]: ...
