"""One venue at work: its protocol, its session, its truth, its faults and its clients.

Opens nothing and reads no clock: the server says what time it is and carries the bytes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct

from etl.simulator.frame_faults import FrameFaults, Outgoing
from etl.simulator.identities import Contents, events
from etl.simulator.market import Listing
from etl.simulator.session import Item, Session, SyntheticSession
from etl.simulator.truth import CONTROL, LATE, SENT, STREAM, WITHHELD, TruthFile, TruthLine
from etl.simulator.venue import Answer, Connection, Venue

UNREAD_BYTES_MAX = 64 << 20
"""A client that leaves more than this unread is cut off, as the venues do."""
RESET_FROM = 100_000_000
RESET_NUMBERS = 1_000_000
"""How far below the last one each reset lies: more than a symbol gives out between two."""


class FeedStatus(Struct, frozen=True):
    """What ``/control/status`` tells. ``events_sent`` counts events, not identities."""

    exchange: str
    state: str
    session: str
    finished: bool
    connections: int
    streams: int
    frames_sent: int
    frames_withheld: int
    events_sent: int
    answers_sent: int
    first_send_ns: int
    last_send_ns: int
    faults_fired: Mapping[str, int]


class Refusal(Struct, frozen=True):
    """What requests get until then; status 0 = nothing at all."""

    until_ns: int
    status: int
    headers: Mapping[str, str]


class Feed:
    """``state`` is ``waiting`` (for a first subscription), ``playing`` or ``stopped``."""

    def __init__(self, venue: Venue, session: Session, truth_file: TruthFile, seed: int = 1) -> None:
        self.venue = venue
        self.session = session
        self.sockets: list[Connection] = []
        self.frame_faults = FrameFaults(seed, lambda stream: venue.split(stream)[1])
        self.refusal = Refusal(0, 200, {})
        self.state = "waiting"
        self.started_ns = 0
        self.last_send_ns = 0
        self._truth = truth_file
        self._rng = random.Random(seed)
        self._wanted: set[str] = set()
        self._inserted: list[Outgoing] = []
        self._contents: Contents = {}
        self._later: list[tuple[int, Callable[[Feed], None]]] = []
        self._resets = 0
        self._frames_sent = self._frames_withheld = self._events_sent = self._answers_sent = 0

    # clients

    def opened(self, socket: Connection, now_ns: int) -> None:
        self.sockets.append(socket)
        self._contents.clear()
        self.venue.opened(socket)
        self.note_streams(socket, now_ns)

    def received(self, socket: Connection, text: str, now_ns: int) -> None:
        had = set(socket.streams)
        self.venue.received(socket, text, [other for other in self.sockets if other is not socket])
        self._wanted -= had - socket.streams
        self.note_streams(socket, now_ns)

    def closed(self, socket: Connection) -> None:
        """What it had subscribed to stays wanted: the market goes on while nobody listens."""
        if socket in self.sockets:
            self.sockets.remove(socket)

    def note_streams(self, socket: Connection, now_ns: int) -> None:
        for stream in sorted(socket.streams - self._wanted):
            self._wanted.add(stream)
            self.session.subscribe(stream)
        if socket.streams and self.state == "waiting":
            self.state, self.started_ns = "playing", now_ns

    def answer(self, path: str, query_text: str, query: Mapping[str, str], now_ns: int) -> Answer | None:
        """The answer to a request, its truth written; ``None`` = not yet."""
        if now_ns < self.refusal.until_ns:
            if not self.refusal.status:
                return None
            return Answer(self.refusal.status, b'{"code":-1003,"msg":"refused"}', self.refusal.headers)
        answer = self.venue.answer(path, query, self.session, now_ns)
        if answer is not None and answer.status == 200 and not answer.is_reference:
            endpoint = f"{path}?{query_text}"
            found = events(self.venue.exchange, answer.body, endpoint)
            self._truth.write([TruthLine(now_ns, endpoint, self._fate, found)])
            self._answers_sent += 1
        return answer

    @property
    def _fate(self) -> str:
        """Of what is said apart from the stream."""
        return LATE if self.state == "stopped" else SENT

    # control

    def stop(self, now_ns: int) -> None:
        """Send what is held back, and nothing more; go on serving requests."""
        if self.state == "playing":
            self._send(self.frame_faults.flush(), now_ns)
        self.state = "stopped"

    def start(self, now_ns: int) -> None:
        self.state = "playing" if self._wanted else "waiting"
        self.started_ns = self.started_ns or now_ns

    def insert(self, payload: bytes) -> None:
        """Send ``payload`` with the next frames."""
        self._inserted.append(Outgoing((), payload))

    def later(self, at_ns: int, act: Callable[[Feed], None]) -> None:
        self._later.append((at_ns, act))

    def listings(self) -> Iterator[Listing]:
        if isinstance(self.session, SyntheticSession):
            yield from self.session.listings.values()

    def fresh_number(self) -> int:
        """Where counters start that are reset: far below, and each time elsewhere, or identities would meet again."""
        self._resets += 1
        return RESET_FROM - self._resets * RESET_NUMBERS

    def status(self) -> FeedStatus:
        return FeedStatus(
            exchange=self.venue.exchange,
            state=self.state,
            session=self.session.label,
            finished=self.session.finished,
            connections=len(self.sockets),
            streams=len(self._wanted),
            frames_sent=self._frames_sent,
            frames_withheld=self._frames_withheld,
            events_sent=self._events_sent,
            answers_sent=self._answers_sent,
            first_send_ns=self.started_ns,
            last_send_ns=self.last_send_ns,
            faults_fired=dict(self.frame_faults.fired),
        )

    # sending

    def tick(self, now_ns: int) -> None:
        """Send what is due at ``now_ns``."""
        for at_ns, act in [entry for entry in self._later if entry[0] <= now_ns]:
            self._later.remove((at_ns, act))
            act(self)
        if self.state == "playing":
            wanted = self._wanted
            items = [item for item in self.session.due(now_ns) if item.stream in wanted or not item.stream]
            hearing = [socket for socket in self.sockets if self._hears(socket, now_ns)]
            frames = self.frame_faults.apply(self._frames(items), now_ns, bool(hearing))
            frames += self._inserted
            self._inserted = []
            self._send(frames, now_ns)
        self.carry_out(now_ns)

    def carry_out(self, now_ns: int) -> None:
        """Send the control messages that wait; their truth first."""
        for socket in self.sockets:
            if socket.outbox:
                messages, socket.outbox = socket.outbox, []
                self._write_truth(
                    [TruthLine(now_ns, CONTROL, self._fate, events(self.venue.exchange, m)) for m in messages]
                )
                socket.write(messages)

    def _hears(self, socket: Connection, now_ns: int) -> bool:
        if socket.unread_bytes > UNREAD_BYTES_MAX and not socket.closing:
            farewell = self.venue.farewell("slow_client", now_ns)
            socket.outbox += [farewell] if farewell else []
            socket.closing = True
        return (
            bool(socket.streams) and socket.is_open and not socket.closing and now_ns >= socket.muted_until_ns
        )

    def _frames(self, items: Sequence[Item]) -> list[Outgoing]:
        most = self.venue.events_per_frame_max
        if most == 1:
            return [Outgoing((item,), item.payload) for item in items]
        frames, start = [], 0
        while start < len(items):
            end = start + 1 + int(self._rng.random() * most)
            batch = items[start:end]
            frames.append(Outgoing(batch, self.venue.join(batch)))
            start = end
        return frames

    def _send(self, frames: Sequence[Outgoing], now_ns: int) -> None:
        if not frames:
            return
        hearing = [socket for socket in self.sockets if self._hears(socket, now_ns)]
        sending: dict[int, list[bytes]] = {n: [] for n in range(len(hearing))}
        lines = []
        for frame in frames:
            heard = False
            for number, socket in enumerate(hearing):
                payload = self._payload_for(socket, frame) if frame.is_sent else None
                if payload is not None:
                    sending[number].append(payload)
                    heard = True
            position = frame.items[0].position if frame.items else 0
            found = events(self.venue.exchange, frame.payload, "", self._contents if heard else None)
            if heard or frame.items:
                lines.append(TruthLine(now_ns, STREAM, SENT if heard else WITHHELD, found, position))
        self._write_truth(lines)
        for number, socket in enumerate(hearing):
            if sending[number]:
                socket.write(sending[number])
        self.last_send_ns = now_ns

    def _payload_for(self, socket: Connection, frame: Outgoing) -> bytes | None:
        """The frame as this client asked for it; ``None`` if it asked for nothing in it."""
        streams, items = socket.streams, frame.items
        if not items:
            return frame.payload
        mine = [item for item in items if item.stream in streams or not item.stream]
        if len(mine) == len(items):
            return self.venue.join(items, socket) if socket.is_raw else frame.payload
        return self.venue.join(mine, socket) if mine else None

    def _write_truth(self, lines: Sequence[TruthLine]) -> None:
        self._truth.write(lines)
        for line in lines:
            if line.fate == SENT:
                self._frames_sent += 1
                self._events_sent += len(line.events)
            else:
                self._frames_withheld += 1
