"""What a client wants of the topic: exchanges, symbols, kinds. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from etl.errors import UsageError
from etl.model.records import Kind

NAMES_MAX = 10_000
"""Symbols in one selection; a prefix is one."""
NAME_CHARACTERS_MAX = 200
KINDS = {kind.name.lower(): int(kind) for kind in Kind}
ALWAYS = frozenset({int(Kind.GAP), int(Kind.CORRECTION)})
"""What is missing or void of an instrument is told to whoever wants anything of it."""

Wanted = str | Sequence[str]


class Selection(Struct, frozen=True):
    """Empty = all. ``symbols``, ``prefixes``: unified names, whole or by how they begin."""

    exchanges: frozenset[str] = frozenset()
    symbols: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()
    kinds: frozenset[int] = frozenset()

    def matches(self, route: tuple[bytes, int]) -> bool:
        key, kind = route
        return (not self.kinds or kind in self.kinds or kind in ALWAYS) and self.has(key)

    def has(self, key: bytes) -> bool:
        """Whether it wants the instrument; ``key`` is that of its messages."""
        exchange, _, symbol = key.decode("utf-8", "replace").partition(":")
        if self.exchanges and exchange not in self.exchanges:
            return False
        if not self.symbols and not self.prefixes:
            return True
        return symbol in self.symbols or symbol.startswith(self.prefixes)


def make_selection(exchanges: Wanted = (), symbols: Wanted = (), kinds: Wanted = ()) -> Selection:
    """``symbols`` that end with ``*`` are prefixes. Raises ``UsageError``."""
    names = _names(symbols, "symbols")
    whole = frozenset(name for name in names if not name.endswith("*"))
    prefixes = tuple(sorted({name[:-1] for name in names if name.endswith("*")}))
    if any("*" in name for name in (*whole, *prefixes)):
        raise UsageError("symbols: a * may stand at the end of a name only")
    if "" in prefixes:
        whole, prefixes = frozenset(), ()
    return Selection(frozenset(_names(exchanges, "exchanges")), whole, prefixes, frozenset(_kinds(kinds)))


def _kinds(kinds: Wanted) -> list[int]:
    names = _names(kinds, "kinds")
    unknown = sorted(set(names) - set(KINDS))
    if unknown:
        raise UsageError(f"kinds: {unknown[0][:NAME_CHARACTERS_MAX]} is none; there are {', '.join(KINDS)}")
    return [KINDS[name] for name in names]


def _names(wanted: Wanted, field: str) -> list[str]:
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    if len(names) > NAMES_MAX:
        raise UsageError(f"{field}: at most {NAMES_MAX} names")
    if any(not name or len(name) > NAME_CHARACTERS_MAX for name in names):
        raise UsageError(f"{field}: a name has 1 to {NAME_CHARACTERS_MAX} characters")
    return names
