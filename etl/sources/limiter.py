"""One shared request budget for each venue and key, spent by every process of this machine, or of several.

    Allowance   pure: how much was spent, until when the venue shut us out, what a request has to wait
    Limiter     the same in a small file under a lock, for workers, repairs and backfills alike
    Shared      where the allowance of several machines lies instead (``etl/sources/shared_allowance.py``)
    Account     what they all asked for with it, and how long the venue took: kept in the same file

A venue's limits are weights within a time, often several side by side (per second and per minute); a request waits
for all of them. Each is spent as a bucket that holds ``BURST_SHARE`` of it and refills with the rest over its time, so
that no such window, wherever it begins, sees more than the limit. 429 stops everybody for its ``Retry-After``, 418 for
longer: to go on asking under a ban lengthens it. Times are of the machine's clock since its boot, which all processes
share and nobody sets; what an earlier boot left lasts no longer than it was meant to.
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
from typing import Protocol

from msgspec import Struct

from etl.adapter.back_off import ASKED_WAIT_MAX_S, asked_wait_s
from etl.adapter.contract import Budget, FaultKind
from etl.errors import VenueError
from etl.model.times import NS_PER_S

BURST_SHARE = 0.5
BUDGETS_MAX = 8
WAIT_MAX_S = 120.0
"""A request that would have to wait longer is refused instead: a ban can last for days."""
LIMIT_WAIT_S = 1.0
"""After a 429 that does not say how long."""
BAN_WAIT_S = 120.0
"""After a 418 that does not say how long: a venue's shortest ban."""
TOO_MANY, BANNED = 429, 418
SHUTTING = {FaultKind.RATE_LIMIT: TOO_MANY, FaultKind.BANNED: BANNED}
"""What a venue says that stops everybody, in whatever way it says it, as the status that says the same."""
SECONDS_BOUNDS = tuple(0.005 * 2**step for step in range(14))
"""Upper bounds of the classes of an answer's time: 5 ms to 41 s."""
STATUS_MAX = 599
NO_ANSWER = 0
_STATE = struct.Struct("<qq")
"""Of the longest budget, until when it is spent; until when the venue takes nothing. At the file's head since its first
version, which knew one budget."""
_ACCOUNT = struct.Struct(f"<q{len(SECONDS_BOUNDS) + 1}q{STATUS_MAX + 1}q")
"""Behind the state: ns in all, answers by their class of time (the last is beyond), answers by status."""
_COUNT = struct.Struct("<q")
_SHORTER = struct.Struct(f"<{BUDGETS_MAX - 1}q")
_SHORTER_OFFSET = _STATE.size + _ACCOUNT.size
"""Of the other budgets, from the longest: behind all that the first version kept."""
_SHUT_FOR_OFFSET = _SHORTER_OFFSET + _SHORTER.size
"""For how long the venue shut us out, one number, 0 in files of earlier versions."""


class Allowance(Struct, frozen=True):
    """``spent_until_ns``: when the bucket of each budget will be full again, in the order of the budgets;
    ``shut_until_ns``: the venue takes nothing before, and it said so ``shut_for_ns`` earlier."""

    spent_until_ns: tuple[int, ...] = (0,) * BUDGETS_MAX
    shut_until_ns: int = 0
    shut_for_ns: int = 0

    def at(self, budgets: Sequence[Budget], now_ns: int) -> Allowance:
        """What is left of it: nothing lasts longer than it can have from now on. A clock that was ahead, an earlier
        boot, or budgets that changed leave such times."""
        spent = [
            min(known_ns, now_ns + _bucket_ns(budget))
            for budget, known_ns in zip(budgets, self.spent_until_ns, strict=False)
        ]
        shut_until_ns = self.shut_until_ns
        if self.shut_for_ns:
            shut_until_ns = min(shut_until_ns, now_ns + self.shut_for_ns)
        elif shut_until_ns - now_ns > ASKED_WAIT_MAX_S * NS_PER_S:
            shut_until_ns = 0
        return Allowance((*spent, *self.spent_until_ns[len(spent) :]), shut_until_ns, self.shut_for_ns)

    def after(self, weight: int, budgets: Sequence[Budget], now_ns: int) -> tuple[int, Allowance]:
        """How long a request of ``weight`` must wait, and what is left; 0 = it may go now, and is counted in that.

        No ``budgets`` = the venue publishes no limit. A single request heavier than a bucket may go when that is
        full.
        """
        left = self.at(budgets, now_ns)
        if now_ns < left.shut_until_ns:
            return left.shut_until_ns - now_ns, left
        if not budgets:
            return 0, left
        wait_ns, spent = 0, []
        for budget, known_ns in zip(budgets, left.spent_until_ns, strict=False):
            bucket_ns = _bucket_ns(budget)
            until_ns = max(known_ns, now_ns) + min(bucket_ns, _refill_ns(budget, weight))
            wait_ns = max(wait_ns, until_ns - bucket_ns - now_ns)
            spent.append(until_ns)
        return (
            (wait_ns, left) if wait_ns else (0, Allowance(tuple(spent), left.shut_until_ns, left.shut_for_ns))
        )

    def refused(self, status: int, retry_after_s: float, now_ns: int) -> Allowance:
        """After the venue's 429 or 418."""
        least_s = BAN_WAIT_S if status == BANNED else LIMIT_WAIT_S
        shut_for_ns = int((asked_wait_s(retry_after_s) or least_s) * NS_PER_S)
        if now_ns + shut_for_ns <= self.shut_until_ns:
            return self
        return Allowance(self.spent_until_ns, now_ns + shut_for_ns, shut_for_ns)

    def left(self, budgets: Sequence[Budget], now_ns: int) -> float:
        """The share of the emptiest bucket that may be spent at once: 1 = all of it."""
        if now_ns < self.shut_until_ns:
            return 0.0
        spent = zip(budgets, self.spent_until_ns, strict=False)
        return min(
            (1.0 - min(1.0, max(0, until_ns - now_ns) / _bucket_ns(budget)) for budget, until_ns in spent),
            default=1.0,
        )


def _bucket_ns(budget: Budget) -> int:
    """How long an empty bucket takes to be full."""
    return int(budget.per_s * BURST_SHARE / (1 - BURST_SHARE) * NS_PER_S)


def _refill_ns(budget: Budget, weight: int) -> int:
    """How long the bucket takes to get ``weight`` back."""
    return int(weight * budget.per_s / (budget.weight * (1 - BURST_SHARE)) * NS_PER_S)


class Account(Struct, frozen=True):
    """Requests of every process with this budget since its file was made.

    ``statuses``: how many by HTTP status, ``NO_ANSWER`` where none came; ``classes``: how many by their time, as
    ``SECONDS_BOUNDS`` cuts it; ``budget``: what is left of the bucket, 0 to 1; ``shut_s``: until the venue takes
    requests again.
    """

    statuses: Mapping[int, int] = {}
    classes: Sequence[int] = ()
    seconds: float = 0.0
    budget: float = 1.0
    shut_s: float = 0.0


class Shared(Protocol):
    """The allowance that processes of several machines spend, and the clock that they go by."""

    def change(self, change: Callable[[Allowance, int], tuple[int, Allowance]]) -> int:
        """What ``change`` gives, once what it leaves is kept; it is called again if another was faster. Blocking.
        Raises ``VenueError`` if that cannot be known: nobody may ask then."""

    def read(self) -> tuple[Allowance, int]:
        """As it stands, and the time there. Raises ``VenueError``."""


def _since_boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Limiter:
    """The allowance in ``path``, which is made if it is not there. The lock is held for microseconds.

    With ``shared`` the allowance lies there; the account of this machine's requests stays in the file."""

    def __init__(
        self,
        path: Path,
        budgets: Sequence[Budget],
        clock: Callable[[], int] = _since_boot_ns,
        shared: Shared | None = None,
    ) -> None:
        if len(budgets) > BUDGETS_MAX:
            raise ValueError(f"{path.name}: {len(budgets)} budgets, at most {BUDGETS_MAX}")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._budgets = sorted(budgets, key=lambda budget: budget.per_s, reverse=True)
        self._clock = clock
        self._shared = shared

    async def admit(self, weight: int) -> None:
        """Wait until a request of ``weight`` may go, and count it. Raises ``VenueError`` if that is too far off."""
        while wait_ns := await self._taken(weight):
            if wait_ns > WAIT_MAX_S * NS_PER_S:
                raise VenueError(
                    f"{self._path.name}: the venue takes no request for {wait_ns / NS_PER_S:.0f} s"
                )
            await asyncio.sleep(wait_ns / NS_PER_S)

    async def _taken(self, weight: int) -> int:
        # another machine may answer late, and the streams of this process must not wait for it
        return await asyncio.to_thread(self.take, weight) if self._shared else self.take(weight)

    def take(self, weight: int) -> int:
        """How long to wait in ns; 0 = counted, go."""
        return self._change(lambda allowance, now_ns: allowance.after(weight, self._budgets, now_ns))

    def refused(self, status: int, retry_after_s: float) -> None:
        """The venue answered 429 or 418: nobody asks until it is over."""
        self._change(
            lambda known, now_ns: (0, known.at(self._budgets, now_ns).refused(status, retry_after_s, now_ns))
        )

    def answered(self, status: int, seconds: float) -> None:
        """A request took so long, and ended with ``status`` or ``NO_ANSWER``."""
        of_time, of_status = bisect_left(SECONDS_BOUNDS, seconds), min(max(status, 0), STATUS_MAX)
        with self._locked() as file:
            for place, more in (
                (0, int(seconds * NS_PER_S)),
                (1 + of_time, 1),
                (1 + len(SECONDS_BOUNDS) + 1 + of_status, 1),
            ):
                offset = _STATE.size + place * _COUNT.size
                (known,) = _read(_COUNT, file, offset)
                os.pwrite(file, _COUNT.pack(known + more), offset)

    def account(self) -> Account:
        with self._locked() as file:
            known, now_ns = _read_allowance(file), self._clock()
            total_ns, *numbers = _read(_ACCOUNT, file, _STATE.size)
        if self._shared:
            known, now_ns = self._shared.read()
        classes, statuses = numbers[: len(SECONDS_BOUNDS) + 1], numbers[len(SECONDS_BOUNDS) + 1 :]
        allowance = known.at(self._budgets, now_ns)
        return Account(
            {status: count for status, count in enumerate(statuses) if count},
            classes,
            total_ns / NS_PER_S,
            allowance.left(self._budgets, now_ns),
            max(0, allowance.shut_until_ns - now_ns) / NS_PER_S,
        )

    def _change(self, change: Callable[[Allowance, int], tuple[int, Allowance]]) -> int:
        if self._shared:
            return self._shared.change(change)
        with self._locked() as file:
            known = _read_allowance(file)
            result, changed = change(known, self._clock())
            if changed != known:
                _write_allowance(file, changed)
            return result

    @contextmanager
    def _locked(self) -> Iterator[int]:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
        finally:
            os.close(file)


def _read(form: struct.Struct, file: int, offset: int) -> tuple[int, ...]:
    """Zeros where nothing was written yet."""
    kept = os.pread(file, form.size, offset)
    return form.unpack(kept.ljust(form.size, b"\0"))


def _read_allowance(file: int) -> Allowance:
    longest_ns, shut_until_ns = _read(_STATE, file, 0)
    (shut_for_ns,) = _read(_COUNT, file, _SHUT_FOR_OFFSET)
    return Allowance((longest_ns, *_read(_SHORTER, file, _SHORTER_OFFSET)), shut_until_ns, shut_for_ns)


def _write_allowance(file: int, allowance: Allowance) -> None:
    longest_ns, *shorter_ns = allowance.spent_until_ns
    os.pwrite(file, _STATE.pack(longest_ns, allowance.shut_until_ns), 0)
    if shorter_ns:
        os.pwrite(file, struct.pack(f"<{len(shorter_ns)}q", *shorter_ns), _SHORTER_OFFSET)
    if allowance.shut_for_ns:
        os.pwrite(file, _COUNT.pack(allowance.shut_for_ns), _SHUT_FOR_OFFSET)


def limit_path(state_path: Path, exchange: str, base_url: str, key: str) -> Path:
    """The file of one venue's address and key; the key itself is not in its name."""
    digest = hashlib.sha256(f"{base_url}\n{key}".encode()).hexdigest()[:12]
    return state_path / "limits" / f"{exchange}-{digest}"
