"""One budget of requests for each venue and key, shared by every process of this machine.

    Allowance   pure: how much was spent, until when the venue shut us out, what a request has to wait
    Limiter     the same in a small file under a lock, so that workers, repairs and backfills spend from one purse
    Account     what they all asked for with it, and how long the venue took: kept in the same file

A venue's limit is a weight per minute. It is spent as a bucket that holds ``BURST_SHARE`` of it and refills with the
rest over a minute, so that no window of a minute, wherever it begins, sees more than the limit. 429 stops everybody
for its ``Retry-After``, 418 for longer: to go on asking under a ban lengthens it.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import struct
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from etl.errors import VenueError

MINUTE_NS = 60_000_000_000
SECOND_NS = 1_000_000_000
BURST_SHARE = 0.5
WAIT_MAX_S = 120.0
"""A request that would have to wait longer is refused instead: a ban can last for days."""
LIMIT_WAIT_S = 1.0
"""After a 429 that does not say how long."""
BAN_WAIT_S = 120.0
"""After a 418 that does not say how long: a venue's shortest ban."""
TOO_MANY, BANNED = 429, 418
SECONDS_BOUNDS = tuple(0.005 * 2**step for step in range(14))
"""Upper bounds of the classes of an answer's time: 5 ms to 41 s."""
STATUS_MAX = 599
NO_ANSWER = 0
_STATE = struct.Struct("<qq")
_ACCOUNT = struct.Struct(f"<q{len(SECONDS_BOUNDS) + 1}q{STATUS_MAX + 1}q")
"""Behind the state: ns in all, answers by their class of time (the last is beyond), answers by status."""
_COUNT = struct.Struct("<q")


class Allowance(Struct, frozen=True):
    """``spent_until_ns``: when the bucket will be full again; ``shut_until_ns``: the venue takes nothing before."""

    spent_until_ns: int = 0
    shut_until_ns: int = 0

    def after(self, weight: int, per_minute: int, now_ns: int) -> tuple[int, Allowance]:
        """How long a request of ``weight`` must wait; 0 = it may go now, and the allowance is what is left then.

        ``per_minute`` 0 = the venue publishes no limit. A single request heavier than the bucket may go when the
        bucket is full.
        """
        if now_ns < self.shut_until_ns:
            return self.shut_until_ns - now_ns, self
        if not per_minute:
            return 0, self
        refill_per_minute = per_minute * (1 - BURST_SHARE)
        bucket_ns = int(per_minute * BURST_SHARE / refill_per_minute * MINUTE_NS)
        cost_ns = min(bucket_ns, int(weight / refill_per_minute * MINUTE_NS))
        spent_until_ns = max(self.spent_until_ns, now_ns) + cost_ns
        wait_ns = spent_until_ns - bucket_ns - now_ns
        return (wait_ns, self) if wait_ns > 0 else (0, Allowance(spent_until_ns, self.shut_until_ns))

    def refused(self, status: int, retry_after_s: float, now_ns: int) -> Allowance:
        """After the venue's 429 or 418."""
        least_s = BAN_WAIT_S if status == BANNED else LIMIT_WAIT_S
        until_ns = now_ns + int((retry_after_s or least_s) * SECOND_NS)
        return Allowance(self.spent_until_ns, max(self.shut_until_ns, until_ns))

    def left(self, per_minute: int, now_ns: int) -> float:
        """The share of the bucket that may be spent at once: 1 = all of it."""
        if now_ns < self.shut_until_ns:
            return 0.0
        if not per_minute:
            return 1.0
        bucket_ns = BURST_SHARE / (1 - BURST_SHARE) * MINUTE_NS
        return 1.0 - min(1.0, max(0, self.spent_until_ns - now_ns) / bucket_ns)


class Account(Struct, frozen=True):
    """Requests of every process with this purse since it was made.

    ``statuses``: how many by HTTP status, ``NO_ANSWER`` where none came; ``classes``: how many by their time, as
    ``SECONDS_BOUNDS`` cuts it; ``budget``: what is left of the bucket, 0 to 1; ``shut_s``: until the venue takes
    requests again.
    """

    statuses: Mapping[int, int] = {}
    classes: Sequence[int] = ()
    seconds: float = 0.0
    budget: float = 1.0
    shut_s: float = 0.0


class Limiter:
    """The allowance in ``path``, which is made if it is not there. The lock is held for microseconds."""

    def __init__(self, path: Path, per_minute: int, clock: Callable[[], int] = time.time_ns) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._per_minute = per_minute
        self._clock = clock

    async def admit(self, weight: int) -> None:
        """Wait until a request of ``weight`` may go, and count it. Raises ``VenueError`` if that is too far off."""
        while wait_ns := self.take(weight):
            if wait_ns > WAIT_MAX_S * SECOND_NS:
                raise VenueError(
                    f"{self._path.name}: the venue takes no request for {wait_ns / SECOND_NS:.0f} s"
                )
            await asyncio.sleep(wait_ns / SECOND_NS)

    def take(self, weight: int) -> int:
        """How long to wait in ns; 0 = counted, go."""
        return self._change(lambda allowance, now_ns: allowance.after(weight, self._per_minute, now_ns))

    def refused(self, status: int, retry_after_s: float) -> None:
        """The venue answered 429 or 418: nobody asks until it is over."""
        self._change(lambda allowance, now_ns: (0, allowance.refused(status, retry_after_s, now_ns)))

    def answered(self, status: int, seconds: float) -> None:
        """A request took so long, and ended with ``status`` or ``NO_ANSWER``."""
        of_time, of_status = bisect_left(SECONDS_BOUNDS, seconds), min(max(status, 0), STATUS_MAX)
        with self._locked() as file:
            for place, more in (
                (0, int(seconds * SECOND_NS)),
                (1 + of_time, 1),
                (1 + len(SECONDS_BOUNDS) + 1 + of_status, 1),
            ):
                offset = _STATE.size + place * _COUNT.size
                before = os.pread(file, _COUNT.size, offset)
                known = _COUNT.unpack(before)[0] if len(before) == _COUNT.size else 0
                os.pwrite(file, _COUNT.pack(known + more), offset)

    def account(self) -> Account:
        with self._locked() as file:
            kept = os.pread(file, _STATE.size + _ACCOUNT.size, 0)
        state, counts = kept[: _STATE.size], kept[_STATE.size :].ljust(_ACCOUNT.size, b"\0")
        allowance = Allowance(*_STATE.unpack(state)) if len(state) == _STATE.size else Allowance()
        total_ns, *numbers = _ACCOUNT.unpack(counts)
        classes, statuses = numbers[: len(SECONDS_BOUNDS) + 1], numbers[len(SECONDS_BOUNDS) + 1 :]
        now_ns = self._clock()
        return Account(
            {status: count for status, count in enumerate(statuses) if count},
            classes,
            total_ns / SECOND_NS,
            allowance.left(self._per_minute, now_ns),
            max(0, allowance.shut_until_ns - now_ns) / SECOND_NS,
        )

    def _change(self, change: Callable[[Allowance, int], tuple[int, Allowance]]) -> int:
        with self._locked() as file:
            before = os.pread(file, _STATE.size, 0)
            known = Allowance(*_STATE.unpack(before)) if len(before) == _STATE.size else Allowance()
            result, changed = change(known, self._clock())
            if changed != known:
                os.pwrite(file, _STATE.pack(changed.spent_until_ns, changed.shut_until_ns), 0)
            return result

    @contextmanager
    def _locked(self) -> Iterator[int]:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
        finally:
            os.close(file)


def limit_path(state_path: Path, exchange: str, base_url: str, key: str) -> Path:
    """The file of one venue's address and key; the key itself is not in its name."""
    digest = hashlib.sha256(f"{base_url}\n{key}".encode()).hexdigest()[:12]
    return state_path / "limits" / f"{exchange}-{digest}"
