"""The one error policy, in three tiers. Pure: the caller brings the random number.

    network   the socket broke, or the venue asks us to come back      reconnect, full-jitter back-off up to 30 s
    venue     keys, rights, limits, bans: trying again changes nothing  page at once, then wait long between attempts
    data      one message cannot be read                                quarantine that message, keep the connection

Data errors never reach a connection: a parser returns them as ``Rejected``. ``READY`` is no error. The HTTP status of a
refusal and the code of a close frame are faults like any other (``fault_of_status``, ``fault_of_close``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum

from msgspec import Struct

from etl.adapter.back_off import asked_wait_s, back_off_s
from etl.adapter.contract import Fault, FaultCode, FaultKind

BACK_OFF_FIRST_S = 0.25
BACK_OFF_MAX_S = 30.0
VENUE_WAIT_S = 60.0
VENUE_WAIT_MAX_S = 1_800.0


class Tier(Enum):
    NETWORK = "network"
    VENUE = "venue"
    DATA = "data"


class Policy(Struct, frozen=True):
    """What to do about a fault: ``pages`` = on-call hears of it at once. The n-th attempt in a row waits a random
    share (``jitter``) or all of ``min(wait_max_s, wait_first_s * 2**n)``."""

    tier: Tier
    pages: bool
    wait_first_s: float
    wait_max_s: float
    jitter: bool


RECONNECT = Policy(Tier.NETWORK, False, BACK_OFF_FIRST_S, BACK_OFF_MAX_S, jitter=True)
PAGE = Policy(Tier.VENUE, True, VENUE_WAIT_S, VENUE_WAIT_MAX_S, jitter=False)
PAGE_AND_PACE = Policy(Tier.VENUE, True, BACK_OFF_MAX_S, VENUE_WAIT_MAX_S, jitter=False)
"""For limits that an earlier session of ours, or a burst, can have used up: they may pass within the minute."""

POLICIES: dict[FaultKind, Policy] = {
    FaultKind.TRANSIENT: RECONNECT,
    FaultKind.SHUTDOWN: RECONNECT,
    FaultKind.SLOW_CLIENT: RECONNECT,
    FaultKind.AUTHENTICATION: PAGE,
    FaultKind.ENTITLEMENT: PAGE,
    FaultKind.SUBSCRIPTION_LIMIT: PAGE,
    FaultKind.UNANSWERED: PAGE,
    FaultKind.REQUEST: PAGE,
    FaultKind.CONNECTION_LIMIT: PAGE_AND_PACE,
    FaultKind.RATE_LIMIT: PAGE_AND_PACE,
    FaultKind.BANNED: PAGE,
}


def policy_of(fault: Fault | None) -> Policy:
    """``None`` stands for a connection that ended without a word of the venue."""
    return RECONNECT if fault is None else POLICIES[fault.kind]


_STATUSES = {
    401: FaultKind.AUTHENTICATION,
    403: FaultKind.ENTITLEMENT,
    408: FaultKind.TRANSIENT,
    418: FaultKind.BANNED,
    425: FaultKind.TRANSIENT,
    429: FaultKind.RATE_LIMIT,
    451: FaultKind.ENTITLEMENT,  # a place that the venue does not serve
}
"""Of those that call what we sent wrong (4xx), the ones that say more; any other says nothing of us, and may pass."""
CLOUDFLARE_BAN = "error code: 1015"
"""Stands before many venues, and shuts out an address that came too often: by 403 as well as by 429."""
REASON_CHARACTERS_MAX = 200
"""Of a body: what the log and the ledger show."""


def fault_of_status(
    status: int, said: str, retry_after_s: float = 0.0, declared: Sequence[FaultCode] = ()
) -> Fault:
    """What a handshake or a request was refused with; ``said`` is the body, ``declared`` the venue's own table."""
    reason = said[:REASON_CHARACTERS_MAX]
    if known := _declared(status, said, declared):
        return Fault(known.kind, str(status), reason, max(known.wait_s, retry_after_s))
    in_general = FaultKind.REQUEST if 400 <= status < 500 else FaultKind.TRANSIENT
    is_banned = CLOUDFLARE_BAN in said.lower()
    kind = FaultKind.BANNED if is_banned else _STATUSES.get(status, in_general)
    return Fault(kind, str(status), reason, retry_after_s)


def fault_of_close(code: int, said: str, declared: Sequence[FaultCode]) -> Fault | None:
    """``None`` for a code that the venue gives no meaning of its own."""
    known = _declared(code, said, declared)
    return Fault(known.kind, str(code), said, known.wait_s) if known else None


def _declared(code: int, said: str, declared: Sequence[FaultCode]) -> FaultCode | None:
    text = said.lower()
    return next((one for one in declared if one.code == code and one.words in text), None)


def retry_after_s(text: str, now_s: float) -> float:
    """``Retry-After``: seconds, or a date in any of its three forms (RFC 9110, 5.6.7 and 10.2.3), as far as it is
    granted; 0 where it says neither."""
    text = text.strip()
    if text.isascii() and text.replace(".", "", 1).isdigit():
        return asked_wait_s(float(text))
    try:
        date = parsedate_to_datetime(text)
        return asked_wait_s((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now_s)
    except (ValueError, OverflowError):
        return 0.0


def wait_s(fault: Fault | None, failures: int, random: float) -> float:
    """How long to wait before the next attempt, after ``failures`` (from 0) without success in between.

    ``random`` is uniform in [0, 1). What the venue itself asks for (``Retry-After``) is the least it gets, up to a day.
    """
    policy = policy_of(fault)
    wait = back_off_s(failures, policy.wait_first_s, policy.wait_max_s, random if policy.jitter else 1.0)
    return wait if fault is None else max(wait, asked_wait_s(fault.retry_after_s))


class Failures:
    """Attempts that failed since the last success, by tier: how often the network broke says nothing of how long a
    refusal is to be waited out, nor the other way round."""

    def __init__(self) -> None:
        self._counts: Counter[Tier] = Counter()

    def add(self, fault: Fault | None, random: float) -> float:
        """Counts one; how long to wait now (``wait_s``)."""
        tier = policy_of(fault).tier
        delay_s = wait_s(fault, self.of(tier), random)
        self._counts[tier] += 1
        return delay_s

    def of(self, tier: Tier) -> int:
        return self._counts[tier]

    def clear(self) -> None:
        self._counts.clear()
