"""When silence means that something is dead: a socket's by pings, a channel's by its own pace. Pure: whoever watches
brings the time, of a monotonic clock.

Receipts are stamps of the wall clock, which steps: they are only held against the ones before, and another stamp means
that something came since the last look.
"""

from __future__ import annotations

from enum import Enum

from etl.model.times import NS_PER_S

PING_IDLE_S = 15.0
PING_REPLY_S = 10.0
SILENCES_FACTOR = 3
"""So many times its longest silence of late, an instrument may be silent before anybody asks why."""
SILENCES_RECENT = 64
"""The longest silence is forgotten by one part of so many with each event."""
SILENCE_MAX_S = 3_600.0
"""However quiet an instrument is: after this somebody asks."""


class Silence(Enum):
    NORMAL = "normal"
    PING = "ping"  # so long that the socket should be asked whether it lives
    PING_TIMEOUT = "ping_timeout"  # it was asked and did not answer


class Liveness:
    """One connection's silence: of its socket, and from when that of its channels counts."""

    def __init__(self, now_ns: int) -> None:
        self._socket_from_ns = now_ns
        self._last_receive_ns = 0
        self.channels_from_ns = now_ns
        """Silence before this means nothing."""

    def excuse(self, now_ns: int) -> None:
        """Silence up to now means nothing: reading is paused, or there is no socket yet."""
        self._socket_from_ns = self.channels_from_ns = now_ns

    def market_closed(self, now_ns: int) -> None:
        """Its channels may be silent up to now."""
        self.channels_from_ns = now_ns

    def of_socket(self, now_ns: int, last_receive_ns: int) -> Silence:
        """Of the socket, whose last read was stamped ``last_receive_ns``."""
        if last_receive_ns != self._last_receive_ns:
            self._last_receive_ns, self._socket_from_ns = last_receive_ns, now_ns
        silent_ns = now_ns - self._socket_from_ns
        if silent_ns > (PING_IDLE_S + PING_REPLY_S) * NS_PER_S:
            return Silence.PING_TIMEOUT
        return Silence.PING if silent_ns > PING_IDLE_S * NS_PER_S else Silence.NORMAL


class Pace:
    """How long one instrument is silent on one channel, as a rule: learned from its own silences, of which a few bytes
    are kept. ``floor_s``: what the venue file calls normal on a liquid one."""

    __slots__ = ("_floor_ns", "_judged_ns", "_longest_ns", "heard_ns")

    def __init__(self, floor_s: float) -> None:
        self.heard_ns = 0
        """When its newest event was found, 0 = none came yet."""
        self._floor_ns = int(floor_s * NS_PER_S)
        self._longest_ns = 0
        self._judged_ns = 0

    def hear(self, now_ns: int, from_ns: int) -> None:
        """Something came since the last look; silence before ``from_ns`` means nothing."""
        if self.heard_ns >= from_ns:
            faded_ns = self._longest_ns - self._longest_ns // SILENCES_RECENT
            self._longest_ns = max(now_ns - self.heard_ns, faded_ns)
        self.heard_ns = now_ns

    def silent_ns(self, now_ns: int, from_ns: int) -> int:
        """Since its newest event, or since somebody asked."""
        return now_ns - max(self.heard_ns, self._judged_ns, from_ns)

    @property
    def allowed_ns(self) -> int:
        most_ns = max(self._floor_ns, int(SILENCE_MAX_S * NS_PER_S))
        return min(max(self._floor_ns, SILENCES_FACTOR * self._longest_ns), most_ns)

    def judge(self, now_ns: int, from_ns: int) -> None:
        """Somebody looked into its silence: one as long is no news."""
        self._longest_ns = max(self._longest_ns, self.silent_ns(now_ns, from_ns))
        self._judged_ns = now_ns
