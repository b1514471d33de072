"""How clients and a venue talk on a socket, apart from market data: greeting, login, subscription, farewell.

A venue says it as a table; ``replies`` are literal messages (``$ms`` and ``$time`` are the venue's clock) by what
they answer:

    greeting welcome                  on opening, and to a login
    auth_failed too_many already      to a login that is refused, one that is one too many, one that was made
    not_logged_in bad_request         to a request that comes too early, or is none
    unknown_action                    to an action that the venue does not know; without it, such a one gets an ``ack``
    slow_client shutdown error        before a close
    heartbeat                         no reply: to every client with a subscription, each ``heartbeat_s``
    unknown_event                     no reply: an event of a type that nobody has documented
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from etl.model.times import NS_PER_MS, NS_PER_S
from etl.simulator.connection import Connection
from etl.simulator.words import Template, time_text

NEWER_STAYS, OLDER_STAYS = "newer", "older"


class Dialect(Struct, frozen=True, kw_only=True):
    """``action`` is the member of a request that names what is asked; ``login`` its value for a login, "" = nobody
    logs in and ``upgrade_refusals`` are the statuses that refuse a handshake instead. ``secrets`` are the members that
    a login must have, the first is the key. ``rivals`` says which of two connections with one key and path stays,
    "" = both. ``texts`` are answers to messages that are no JSON (``ping``). Without ``upgrade_headers`` a handshake is
    refused: there a venue without a login is told the key."""

    replies: Mapping[str, str]
    texts: Mapping[str, str] = {}
    heartbeat_s: float = 0.0
    action: str = "action"
    login: str = ""
    secrets: tuple[str, ...] = ()
    subscribe: str = "subscribe"
    unsubscribe: str = "unsubscribe"
    rivals: str = ""
    streams_max: int = 0
    upgrade_refusals: tuple[int, int] = (403, 429)
    upgrade_headers: tuple[str, ...] = ()

    def reply(self, kind: str, now_ns: int = 0) -> bytes | None:
        """The message of that kind, if the venue sends one."""
        text = self.replies.get(kind)
        if text is None:
            return None
        return Template(text)({"ms": now_ns // NS_PER_MS, "time": time_text(now_ns)}).encode()


class Conversation:
    """The venue's part of it: who may connect and log in, and who has subscribed to what."""

    dialect: Dialect

    def __init__(self) -> None:
        self.refuse_logins = 0
        """How many of the next logins to refuse: the authentication fault."""
        self.refuse_connections = 0
        """How many of the next connections to refuse as one too many: the connection limit fault."""

    # what a venue adds

    def stamped(self, connection: Connection, payload: bytes, stream: str) -> bytes:
        """``payload`` with what the venue counts on the connection; ``stream`` "" = a control message."""
        return payload

    def decoded(self, text: str | bytes) -> Any:
        """A client's message. May raise ``DecodeError``, ``TypeError``."""
        return msgspec.json.decode(text)

    def action(self, request: Any) -> str:
        """What a request asks for. May raise as ``asked``."""
        return str(request[self.dialect.action])

    def asked(self, request: Any) -> Sequence[str]:
        """The streams that a request names. May raise ``KeyError``, ``TypeError``, ``AttributeError``."""
        raise NotImplementedError

    def expand(self, name: str) -> set[str]:
        """The streams that a name stands for."""
        return {name}

    def acks(self, connection: Connection, action: str, request: Any) -> list[bytes]:
        """What a request is answered with, once it is carried out."""
        raise NotImplementedError

    # what every venue does

    def refuse_upgrade(self, headers: Mapping[str, str]) -> int:
        """The HTTP status that refuses a websocket, for venues that log nobody in; 0 = welcome."""
        if self.dialect.login:
            return 0
        if self.refuse_logins or not all(headers.get(name) for name in self.dialect.upgrade_headers):
            self.refuse_logins = max(0, self.refuse_logins - 1)
            return self.dialect.upgrade_refusals[0]
        if self.refuse_connections:
            self.refuse_connections -= 1
            return self.dialect.upgrade_refusals[1]
        return 0

    def opened(self, connection: Connection) -> None:
        """A client has connected."""
        self.say(connection, "greeting")

    def received(self, connection: Connection, text: str | bytes, others: Sequence[Connection]) -> None:
        """A client has said ``text``; ``others`` are the other open connections."""
        dialect = self.dialect
        if isinstance(text, str) and text in dialect.texts:
            connection.outbox.append(dialect.texts[text].encode())
            return
        try:
            request = self.decoded(text)
            action, names = self.action(request), self.asked(request)
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
            self.say(connection, "bad_request")
            return
        if dialect.login and action == dialect.login:
            self._log_in(connection, request, others)
        elif dialect.login and not connection.authenticated:
            self.say(connection, "not_logged_in")
        elif action not in (dialect.subscribe, dialect.unsubscribe) and "unknown_action" in dialect.replies:
            self.say(connection, "unknown_action")
        else:
            if action == dialect.subscribe:
                self.subscribe(connection, names)
            elif action == dialect.unsubscribe:
                connection.streams.difference_update(*map(self.expand, names))
            connection.outbox += self.acks(connection, action, request)

    def beat(self, connection: Connection, now_ns: int) -> None:
        """A heartbeat, if it is time for one."""
        if now_ns - connection.heartbeat_ns >= self.dialect.heartbeat_s * NS_PER_S:
            connection.heartbeat_ns = now_ns
            self.say(connection, "heartbeat", now_ns)

    def subscribe(self, connection: Connection, names: Sequence[str]) -> None:
        connection.streams.update(*map(self.expand, names))
        if self.dialect.streams_max and len(connection.streams) > self.dialect.streams_max:
            connection.closing = True

    def say(self, connection: Connection, kind: str, now_ns: int = 0) -> None:
        message = self.dialect.reply(kind, now_ns)
        if message:
            connection.outbox.append(message)

    def _log_in(
        self, connection: Connection, request: Mapping[str, str], others: Sequence[Connection]
    ) -> None:
        dialect, refusal = self.dialect, ""
        rivals = [other for other in others if other.authenticated and other.path == connection.path]
        if connection.authenticated and "already" in dialect.replies:
            self.say(connection, "already")
            return
        if self.refuse_logins or not all(request.get(name) for name in dialect.secrets):
            self.refuse_logins, refusal = max(0, self.refuse_logins - 1), "auth_failed"
        elif self.refuse_connections:
            self.refuse_connections, refusal = self.refuse_connections - 1, "too_many"
        elif rivals and dialect.rivals == OLDER_STAYS:
            refusal = "too_many"
        if refusal:
            self.say(connection, refusal)
            connection.closing = True
            return
        connection.key, connection.authenticated = request[dialect.secrets[0]], True
        for other in rivals:
            if dialect.rivals == NEWER_STAYS and other.key == connection.key:
                self.say(other, "too_many")
                other.closing = True
        self.say(connection, "welcome")
