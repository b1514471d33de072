"""How an address of a server is shown: what is surely no secret, and nothing else. Pure."""

from __future__ import annotations

import re

UNREADABLE = "…"

_URL = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.]*)://(?:(?P<user>[\w.~%+-]*)(?P<password>:[^/?#\s]*)?@)?"
    r"(?P<place>(?:[\w.-]+|\[[0-9a-fA-F:.]+\])(?::\d{1,5})?(?:,[\w.-]+(?::\d{1,5})?)*)?"
    r"(?P<path>/[\w./~+-]*)?(?P<rest>[?#].*)?",
    re.DOTALL,
)
_PLACES = re.compile(r"[\w.-]+:\d{1,5}(?:,[\w.-]+:\d{1,5})*")
_FOLDER = re.compile(r"(?:\.{0,2}/)?[\w./~+ -]+")
_PAIR = re.compile(r"(?:^|\s)(host|hostaddr|port|dbname|user)\s*=\s*([\w./-]+)(?=\s|$)")
_HIDDEN = ":…@"


def shown(address: str) -> str:
    """``address`` without password, parameters and whatever cannot be told from one: of every legal form, and ``…`` of
    one that is none, for what was mistyped may be the password."""
    address = address.strip()
    if found := _URL.fullmatch(address):
        if "@" in (found["rest"] or "") or "@" in (found["password"] or ""):
            return f"{found['scheme']}://{UNREADABLE}"
        user = f"{found['user']}{_HIDDEN if found['password'] else '@'}" if found["user"] is not None else ""
        return f"{found['scheme']}://{user}{found['place'] or ''}{found['path'] or ''}"
    if "://" not in address and "=" in address and "@" not in address and "'" not in address:
        pairs = [f"{name}={value}" for name, value in _PAIR.findall(address)]
        return " ".join(pairs) or UNREADABLE
    if _PLACES.fullmatch(address) or _FOLDER.fullmatch(address):
        return address
    return UNREADABLE
