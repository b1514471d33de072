"""One venue at work: its protocol, its session, its truth, its faults and its clients.

Opens nothing and reads no clock: the server says what time it is and carries the bytes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct

from etl.simulator.connection import Connection
from etl.simulator.frame_faults import FrameFaults, Outgoing
from etl.simulator.market import Listing
from etl.simulator.replay import RecordingSession
from etl.simulator.series import OPENED, OVER
from etl.simulator.session import Item, Session, SyntheticSession
from etl.simulator.truth import (
    ARCHIVE,
    CONTROL,
    CONTROL_EVENT,
    LATE,
    SENT,
    STREAM,
    WITHHELD,
    TruthEvent,
    TruthFile,
    TruthLine,
    digest_of,
    numbered,
    place_of,
)
from etl.simulator.venue import Response, Venue

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
        self._later: list[tuple[int, Callable[[Feed], None]]] = []
        self._resets = 0
        self._frames_sent = self._frames_withheld = self._events_sent = self._answers_sent = 0

    # clients

    def opened(self, socket: Connection, now_ns: int) -> None:
        self.sockets.append(socket)
        self.venue.opened(socket)
        self.note_streams(socket, now_ns)

    def received(self, socket: Connection, text: str | bytes, now_ns: int) -> None:
        had = set(socket.streams)
        self.venue.received(socket, text, [other for other in self.sockets if other is not socket])
        self._wanted -= had - socket.streams
        socket.opened_streams += sorted(socket.streams - had)
        self.note_streams(socket, now_ns)

    def closed(self, socket: Connection) -> None:
        """What it had subscribed to stays wanted: the market goes on while nobody listens."""
        if socket in self.sockets:
            self.sockets.remove(socket)

    def note_streams(self, socket: Connection, now_ns: int) -> None:
        _want(self, {each for each in socket.streams if self.venue.trades(self.venue.split(each)[0], now_ns)})
        if socket.streams and self.state == "waiting":
            self.state, self.started_ns = "playing", now_ns

    def answer(self, path: str, query_text: str, query: Mapping[str, str], now_ns: int) -> Response | None:
        """The answer to a request, its truth written; ``None`` = not yet."""
        if now_ns < self.refusal.until_ns:
            if not self.refusal.status:
                return None
            return Response(
                self.refusal.status, b'{"code":-1003,"msg":"refused"}', headers=self.refusal.headers
            )
        answer = self._answer(path, query_text, query, now_ns)
        if answer is not None and answer.status == 200 and not answer.is_reference:
            self._truth.write([self._truth_of(answer, f"{path}?{query_text}", now_ns)])
            self._answers_sent += 1
        return answer

    def _answer(self, path: str, query_text: str, query: Mapping[str, str], now_ns: int) -> Response | None:
        """Out of the recording, where nobody could make it anew; else the venue's."""
        if isinstance(self.session, RecordingSession) and self.venue.told is None:
            try:
                found = self.session.recorded(f"{path}?{query_text}")
            except LookupError:
                return self.venue.answer(path, query, self.session, now_ns)
            return None if found is None else Response(200, found.payload, [found.event])
        return self.venue.answer(path, query, self.session, now_ns)

    def _truth_of(self, answer: Response, endpoint: str, now_ns: int) -> TruthLine:
        events = numbered(answer.events, {})
        if answer.lines:
            place = place_of(f"{ARCHIVE}{endpoint}")
            digests = [digest_of(line, place) for line in answer.lines]
            return TruthLine(now_ns, endpoint, self._fate, events, digests=digests)
        digest = digest_of(answer.body, place_of(endpoint))
        return TruthLine(now_ns, endpoint, self._fate, events, digest=digest)

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
            items = _turned(self, now_ns)
            items += _wanted(self, self.session.due(now_ns))
            hearing = [socket for socket in self.sockets if self._hears(socket, now_ns)]
            frames = self.frame_faults.apply(self._frames(items), now_ns, bool(hearing))
            frames += self._inserted
            self._inserted = []
            self._send(frames, now_ns)
        self.carry_out(now_ns)

    def carry_out(self, now_ns: int) -> None:
        """Send the control messages that wait, and what begins a subscription; their truth first."""
        beats = self.venue.dialect.heartbeat_s and self.state != "stopped"
        for socket in self.sockets:
            if beats and self._hears(socket, now_ns):
                self.venue.beat(socket, now_ns)
            if socket.outbox:
                waiting, socket.outbox = socket.outbox, []
                messages = [self.venue.stamped(socket, message, "") for message in waiting]
                self._write_truth(
                    [
                        TruthLine(now_ns, CONTROL, self._fate, [CONTROL_EVENT], digest=digest_of(message))
                        for message in messages
                    ]
                )
                socket.write(messages)
            if socket.opened_streams:
                streams, socket.opened_streams = socket.opened_streams, []
                frames = [frame for stream in streams for frame in self._opening(stream, now_ns)]
                self._send(frames, now_ns, [socket])

    def _opening(self, stream: str, now_ns: int) -> list[Outgoing]:
        return self.venue.opening(stream, self.session, now_ns) if self.state == "playing" else []

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
        if isinstance(self.session, RecordingSession):
            return _recorded(items)
        if most == 1:
            return [Outgoing((item,), item.payload) for item in items]
        frames, start = [], 0
        while start < len(items):
            end = start + 1 + int(self._rng.random() * most)
            batch = items[start:end]
            frames.append(Outgoing(batch, self.venue.join(batch)))
            start = end
        return frames

    def _send(
        self, frames: Sequence[Outgoing], now_ns: int, sockets: Sequence[Connection] | None = None
    ) -> None:
        """To all that listen, or to those of ``sockets`` that do."""
        if not frames:
            return
        asked = self.sockets if sockets is None else sockets
        hearing = [socket for socket in asked if self._hears(socket, now_ns)]
        if sockets is not None and not hearing:
            return
        sending: list[list[bytes]] = [[] for _ in hearing]
        lines: list[TruthLine] = []
        for frame in frames:
            missed = set(range(len(frame.items)))
            copies: dict[bytes, TruthLine] = {}
            for socket, out in zip(hearing, sending, strict=True):
                mine = self._places_for(socket, frame)
                if mine is None:
                    continue
                stream = frame.items[mine[0]].stream if mine else ""
                payload = self.venue.stamped(socket, self._payload_for(socket, frame, mine), stream)
                if not frame.is_sent:  # lost on the way: it was counted
                    continue
                told = [frame.items[n].event for n in mine] if frame.items else frame.told
                events = numbered(told, socket.contents)
                out.append(payload)
                missed.difference_update(mine)
                if payload not in copies:
                    copies[payload] = _line(now_ns, SENT, frame, events, digest_of(payload))
            lines += copies.values()
            if missed:
                lines.append(_line(now_ns, WITHHELD, frame, [frame.items[n].event for n in sorted(missed)]))
        self._write_truth(lines)
        for socket, out in zip(hearing, sending, strict=True):
            if out:
                socket.write(out)
        self.last_send_ns = now_ns

    def _places_for(self, socket: Connection, frame: Outgoing) -> Sequence[int] | None:
        """Which of the frame's items this client asked for; ``None`` if it asked for nothing in it."""
        streams, items = socket.streams, frame.items
        mine = [n for n, item in enumerate(items) if item.stream in streams or not item.stream]
        return mine if mine or not items else None

    def _payload_for(self, socket: Connection, frame: Outgoing, mine: Sequence[int]) -> bytes:
        """The frame as this client asked for it."""
        if not frame.items or (len(mine) == len(frame.items) and not socket.is_raw):
            return frame.payload
        return self.venue.join([frame.items[n] for n in mine], socket)

    def _write_truth(self, lines: Sequence[TruthLine]) -> None:
        self._truth.write(lines)
        for line in lines:
            if line.fate == SENT:
                self._frames_sent += 1
                self._events_sent += len(line.events)
            else:
                self._frames_withheld += 1


def _wanted(feed: Feed, items: Sequence[Item]) -> list[Item]:
    """By any client; of a frame that was recorded all parts, for who wants one of them."""
    return [item for item in items if item.stream in feed._wanted or not item.stream or item.whole]


def _recorded(items: Sequence[Item]) -> list[Outgoing]:
    """The frames that were recorded: events of one come together."""
    frames: list[Outgoing] = []
    for item in items:
        if item.whole and frames and frames[-1].payload is item.whole:
            frames[-1].items = [*frames[-1].items, item]
        else:
            frames.append(Outgoing([item], item.whole or item.payload))
    return frames


def _want(feed: Feed, streams: set[str]) -> None:
    """The market trades for these from now on."""
    for stream in sorted(streams - feed._wanted):
        feed._wanted.add(stream)
        feed.session.subscribe(stream)


def _turned(feed: Feed, now_ns: int) -> list[Item]:
    """Contracts open and end by the clock, whoever listens: what is said of it."""
    items: list[Item] = []
    for turn in (turn for series in feed.venue.series for turn in series.turns(now_ns)):
        streams = {feed.venue.stream(turn.symbol, name) for name in feed.venue.shares}
        if turn.event == OPENED:
            _want(feed, streams)
        elif turn.event == OVER:
            feed._wanted -= streams
            feed.session.end(turn.symbol)
        items += feed.venue.turned(turn, now_ns)
        if turn.event == OVER:
            feed.venue.end(turn.symbol)
    return items


def _line(
    now_ns: int, fate: str, frame: Outgoing, events: Sequence[TruthEvent], digest: str = ""
) -> TruthLine:
    """Of a streamed frame. What is withheld, with a key still open, was never numbered: it counts as the first."""
    position = frame.items[0].position if frame.items else 0
    return TruthLine(now_ns, STREAM, fate, numbered(events, {}), position, digest)
