"""What Deribit is sent on a connection, and what becomes of it.

    set_heartbeat → (login, where there is a key) → subscriptions, a message a channel

A message of which one stream is refused subscribes to none: it is asked for again in halves, until what is refused
stands alone.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec

from etl.adapter.contract import Credentials, Fault, FaultKind, Reply, Subscription
from etl.adapter.handshake import Answers
from etl.exchanges._deribit_wire import wire_name
from etl.model.times import NS_PER_MS, NS_PER_S

HEARTBEAT_S = 30
HEARTBEAT_ID, LOGIN_ID, TEST_ID, LAST_FIXED_ID = range(1, 5)
STREAMS_MAX = 500
"""Of one message."""
SCOPE = "connection account:none trade:none wallet:none block_trade:none"
"""The token comes back on the socket, hence onto the tape: it is good for nothing, and on this connection only."""
OF_A_STREAM = (FaultKind.REQUEST, FaultKind.ENTITLEMENT)
"""What may be refused for one stream of a message; anything else is of the connection."""

_Stream = tuple[str, str]
"""Channel and symbol."""


class Requests:
    """Of one connection. With a key the streams are the raw ones: they need a login."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._interval = "raw" if credentials.key else "100ms"
        self._answers = Answers()
        self._last_id = LAST_FIXED_ID
        self._asked: dict[int, list[_Stream]] = {}
        self._after_login: list[str] = []
        self._login_due_ns = 0

    def open(self, subscription: Subscription, now_ns: int) -> list[str]:
        heartbeat = _message(HEARTBEAT_ID, "public/set_heartbeat", {"interval": HEARTBEAT_S})
        streams = [
            (channel, symbol)
            for channel in subscription.channels
            for symbol in (subscription.symbols if channel != "instrument.state" else ("",))
        ]
        self._answers.ask(streams)
        subscribing = self.subscribe(streams)
        if not self._credentials.key:
            return [heartbeat, *subscribing]
        self._after_login = subscribing
        return [heartbeat, self._login(now_ns)]

    def subscribe(self, streams: Sequence[_Stream]) -> list[str]:
        messages = []
        for channel in dict.fromkeys(channel for channel, _ in streams):
            of_channel = [stream for stream in streams if stream[0] == channel]
            for at in range(0, len(of_channel), STREAMS_MAX):
                messages.append(self._subscribe(of_channel[at : at + STREAMS_MAX]))
        return messages

    def resubscribe(self, subscription: Subscription) -> list[str]:
        streams = [(channel, symbol) for channel in subscription.channels for symbol in subscription.symbols]
        self._last_id += 1
        leaving = _message(self._last_id, "public/unsubscribe", {"channels": self._names(streams)})
        return [leaving, *self.subscribe(streams)]

    def unanswered(self) -> Sequence[str]:
        return self._answers.unanswered()

    def taken(self, number: int, names: Collection[str]) -> list[Reply | Fault]:
        """The answer to a subscription: what it leaves out does not exist."""
        said: list[Reply | Fault] = []
        for stream, name in self._of(number):
            if name in names:
                ready = self._answers.grant(*stream)
                said += [ready] if ready else []
            else:
                missing = Fault(
                    FaultKind.REQUEST, "missing", f"{name} is not in the answer to its subscription"
                )
                said += self._answers.refuse(*stream, missing)
        return said

    def refused(self, number: int, fault: Fault) -> list[Reply | Fault]:
        streams = [stream for stream, _ in self._of(number)]
        if fault.kind not in OF_A_STREAM or not streams:
            return [fault]
        if len(streams) == 1:
            return [*self._answers.refuse(*streams[0], fault)]
        half = len(streams) // 2
        return [Reply(self._subscribe(part)) for part in (streams[:half], streams[half:])]

    def logged_in(self, expires_s: int, now_ns: int) -> list[Reply | Fault]:
        self._login_due_ns = now_ns + expires_s * NS_PER_S // 2
        waiting, self._after_login = self._after_login, []
        return [Reply(message) for message in waiting]

    def test(self, now_ns: int) -> list[Reply]:
        """What answers the question whether we are there; now and then with a new login, as each has an end."""
        replies = [Reply(_message(TEST_ID, "public/test", {}))]
        if 0 < self._login_due_ns <= now_ns:
            self._login_due_ns = 0
            replies.append(Reply(self._login(now_ns)))
        return replies

    def _subscribe(self, streams: list[_Stream]) -> str:
        self._last_id += 1
        self._asked[self._last_id] = streams
        return _message(self._last_id, "public/subscribe", {"channels": self._names(streams)})

    def _names(self, streams: Iterable[_Stream]) -> list[str]:
        return [wire_name(*stream, self._interval) for stream in streams]

    def _of(self, number: int) -> list[tuple[_Stream, str]]:
        streams = self._asked.pop(number, [])
        return list(zip(streams, self._names(streams), strict=True))

    def _login(self, now_ns: int) -> str:
        """Signed, so that the secret is not sent."""
        timestamp = nonce = str(now_ns // NS_PER_MS)
        signed = f"{timestamp}\n{nonce}\n".encode()
        signature = hmac.new(self._credentials.secret.encode(), signed, hashlib.sha256).hexdigest()
        params = {
            "grant_type": "client_signature", "client_id": self._credentials.key, "timestamp": int(timestamp),
            "nonce": nonce, "data": "", "signature": signature, "scope": SCOPE,
        }  # fmt: skip
        return _message(LOGIN_ID, "public/auth", params)


def _message(number: int, method: str, params: dict[str, Any]) -> str:
    message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    return msgspec.json.encode(message).decode()
