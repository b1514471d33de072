"""When the silence of a connection means that it is dead. Pure: whoever watches brings the time, of a monotonic clock.

Receipts are stamps of the wall clock, which steps: they are only held against the ones before, and another stamp means
that something came since the last look.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import Enum

from etl.adapter.contract import Channel
from etl.model.times import NS_PER_S

PING_IDLE_S = 15.0
PING_REPLY_S = 10.0


class Silence(Enum):
    NORMAL = "normal"
    PING = "ping"  # so long that the socket should be asked whether it lives
    PING_TIMEOUT = "ping_timeout"  # it was asked and did not answer


class Liveness:
    """One connection's silence: of its socket, and of each channel that has a ``stale_after_s``."""

    def __init__(self, channels: Sequence[Channel], now_ns: int) -> None:
        self._channels = [channel for channel in channels if channel.stale_after_s]
        self._socket_from_ns = self._channels_from_ns = now_ns
        self._last_receive_ns = 0
        self._last_event_ns: dict[str, int] = {}
        self._heard_ns: dict[str, int] = {}
        """When a look found each channel's newest event."""

    def excuse(self, now_ns: int) -> None:
        """Silence up to now means nothing: reading is paused, or there is no socket yet."""
        self._socket_from_ns = self._channels_from_ns = now_ns

    def market_closed(self, now_ns: int) -> None:
        """Its channels may be silent up to now."""
        self._channels_from_ns = now_ns

    def refused(self, channels: Collection[str]) -> None:
        """These give nothing on this connection, and the venue has said so."""
        self._channels = [channel for channel in self._channels if channel.name not in channels]

    def of_socket(self, now_ns: int, last_receive_ns: int) -> Silence:
        """Of the socket, whose last read was stamped ``last_receive_ns``."""
        if last_receive_ns != self._last_receive_ns:
            self._last_receive_ns, self._socket_from_ns = last_receive_ns, now_ns
        silent_ns = now_ns - self._socket_from_ns
        if silent_ns > (PING_IDLE_S + PING_REPLY_S) * NS_PER_S:
            return Silence.PING_TIMEOUT
        return Silence.PING if silent_ns > PING_IDLE_S * NS_PER_S else Silence.NORMAL

    def stale(self, now_ns: int, last_event_ns: Mapping[str, int]) -> Channel | None:
        """A channel that has been silent for too long; ``last_event_ns`` stamps the newest event of each."""
        for name, stamp_ns in last_event_ns.items():
            if stamp_ns != self._last_event_ns.get(name):
                self._last_event_ns[name], self._heard_ns[name] = stamp_ns, now_ns
        for channel in self._channels:
            heard_ns = max(self._heard_ns.get(channel.name, 0), self._channels_from_ns)
            if now_ns - heard_ns > channel.stale_after_s * NS_PER_S:
                return channel
        return None
