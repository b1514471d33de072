"""Who may ask: tokens with what they are good for, hashed at rest.

    etl_3f9c2a71_Jw…      the token's id, and 32 random bytes that only its owner has

A secret of 256 random bits is not to be guessed from its SHA-256: no slow hash is needed, and each request is checked
in microseconds.
"""

from __future__ import annotations

import fcntl
import hmac
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256

import msgspec
from msgspec import Struct

from etl.errors import UsageError
from etl.gateway.selection import KINDS, Selection
from etl.settings import Settings
from etl.stores.files import write_whole

FILE = "gateway_tokens.json"
OWN_FILE = "gateway.token"
"""The token that ``etl up`` made, for its user, who reads it there as other passwords of the state directory."""
OWN_NAME = "etl up"
TOKENS_MAX = 10_000
STREAMS_MAX = 100
REQUESTS_PER_MINUTE_MAX = 600
_FORM = re.compile(r"etl_([0-9a-f]{8})_([\w-]{20,100})")


class Grant(Struct, frozen=True, kw_only=True):
    """What a token is good for. No ``exchanges`` or ``kinds``: all."""

    id: str
    name: str
    digest: str
    exchanges: list[str] = []
    kinds: list[str] = []
    streams_max: int = STREAMS_MAX
    """At once, of one gateway."""
    requests_per_minute: int = REQUESTS_PER_MINUTE_MAX
    """Of HTTP, to one gateway."""
    created_ns: int = 0

    def selection(self) -> Selection:
        return Selection(
            exchanges=frozenset(self.exchanges), kinds=frozenset(KINDS[kind] for kind in self.kinds)
        )

    def allows(self, exchange: str, kind: str) -> bool:
        return (not self.exchanges or exchange in self.exchanges) and (not self.kinds or kind in self.kinds)


class Tokens:
    """Those of a state directory; what others change is seen at once."""

    def __init__(self, settings: Settings) -> None:
        self._file = settings.state_path / FILE
        self._seen: tuple[int, int] | None = None
        self._grants: dict[str, Grant] = {}

    def all(self) -> list[Grant]:
        self._read()
        return sorted(self._grants.values(), key=lambda grant: grant.created_ns)

    def grant_of(self, token: str) -> Grant | None:
        """``None`` for a token that there is not, or not any more."""
        found = _FORM.fullmatch(token)
        if not found:
            return None
        self._read()
        grant = self._grants.get(found[1])
        return grant if grant and hmac.compare_digest(grant.digest, _digest(token)) else None

    def holds(self, grant: Grant) -> bool:
        """Whether it was not taken back or changed."""
        self._read()
        return self._grants.get(grant.id) == grant

    def create(
        self,
        name: str,
        now_ns: int,
        exchanges: Sequence[str] = (),
        kinds: Sequence[str] = (),
        streams_max: int = STREAMS_MAX,
        requests_per_minute: int = REQUESTS_PER_MINUTE_MAX,
    ) -> str:
        """The token, which is told this once. Raises ``UsageError``."""
        unknown = sorted(set(kinds) - set(KINDS))
        if unknown:
            raise UsageError(f"{unknown[0]}: no such kind; there are {', '.join(KINDS)}")
        number = secrets.token_hex(4)
        token = f"etl_{number}_{secrets.token_urlsafe(32)}"
        with self._held() as grants:
            if len(grants) >= TOKENS_MAX:
                raise UsageError(f"there are {TOKENS_MAX} tokens; revoke some")
            grants[number] = Grant(
                id=number,
                name=name,
                digest=_digest(token),
                exchanges=list(exchanges),
                kinds=list(kinds),
                streams_max=streams_max,
                requests_per_minute=requests_per_minute,
                created_ns=now_ns,
            )
        return token

    def revoke(self, number: str) -> Grant:
        """By its id. Raises ``UsageError``."""
        with self._held() as grants:
            if number not in grants:
                raise UsageError(f"{number}: no such token; etl gateway token list shows their ids")
            return grants.pop(number)

    @contextmanager
    def _held(self) -> Iterator[dict[str, Grant]]:
        """The grants as they are now, for one writer at a time, on any process; kept at the end, unless it raises."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._seen = None  # a file that was replaced twice may look as it did
            self._read()
            yield self._grants
            self._write()
        finally:
            os.close(lock)

    def _read(self) -> None:
        try:
            stat = self._file.stat()
        except FileNotFoundError:
            self._seen, self._grants = None, {}
            return
        seen = (stat.st_mtime_ns, stat.st_ino)
        if seen != self._seen:
            grants = msgspec.json.decode(self._file.read_bytes(), type=list[Grant])
            self._grants = {grant.id: grant for grant in grants}
            self._seen = seen

    def _write(self) -> None:
        write_whole(self._file, msgspec.json.encode(list(self._grants.values())), mode=0o600)


def own_token(settings: Settings, now_ns: int) -> str:
    """That of ``etl up``: the one of before while it is good, else a new one."""
    tokens, file = Tokens(settings), settings.state_path / OWN_FILE
    kept = file.read_text().strip() if file.exists() else ""
    if tokens.grant_of(kept):
        return kept
    token = tokens.create(OWN_NAME, now_ns)
    write_whole(file, token.encode(), mode=0o600)
    return token


def _digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()
