"""From a message to the reader that knows it, by tables.

    Reader      how one type of event is read: its wire type, and the function that makes a record of it
    Streams     frames that name their stream: ``{"stream":"btcusdt@trade","data":{…}}``
    Tagged      arrays of events that each name their type: ``[{"ev":"T",…},{"ev":"Q",…}]``
    Rows        arrays of events of one type that each name their instrument: ``[{"symbol":"BTC/USD",…}]``
    read_rows   arrays whose rows are all of one type: a page of history
    read_lines  the lines of a file of comma-separated values, which ``file_of`` names

Each but the last has a fast path, which decodes the frame at once, and a slow one, which takes it element by element:
there a garbled element costs itself alone and is ``Rejected`` at its index.

A reader is called with (frame, index, event, place); ``place`` is what holds for all events of the message: a
``Stream``, or what a page of history says about its rows. It raises ``FieldFault`` for what it cannot read.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Generic, TypeVar, Union

import msgspec
from msgspec import Raw, Struct

from etl.adapter.build import STREAMS_KNOWN_MAX, Stream, StreamCache
from etl.adapter.contract import Fault, Ignored, Outcome, Rejected
from etl.adapter.fields import (
    ABSENT,
    UNDECODABLE,
    UNREADABLE,
    decoded,
    inside,
    is_name,
    members,
    readable,
    rejected,
    text_of,
)
from etl.adapter.handshake import told
from etl.adapter.paging import After, Before
from etl.model.codes import Code
from etl.model.records import Frame

NAME_BYTES_MAX = 96

Read = Callable[[Frame, int, Any, Any], Outcome]
Control = Callable[[str, bytes | Raw, int], Sequence[Outcome] | None]
"""The outcomes of a message that is no event of the market, by its tag, its text and its index; ``None`` for any other.
It may raise what a reader may."""
_Data = TypeVar("_Data")

elements = msgspec.json.Decoder(list[Raw]).decode
"""The elements of an array, undecoded. Raises one of ``UNDECODABLE``."""


class Reader(Struct, frozen=True):
    """``tag`` is the type's name where an event bears one."""

    wire: type[Struct]
    read: Read
    tag: str = ""


class Endpoint(Struct, frozen=True):
    """One address of the history: the channel whose facts its rows are (that of bars is completed by their interval),
    how they are read, what a request weighs, how many rows it gives at most, where the next page begins."""

    channel: str
    reader: Reader
    weight: int = 1
    rows_max: int = 0
    pages: After | Before | None = None


def read_one(
    frame: Frame, index: int, raw: bytes | Raw, reader: Reader, place: Any, venue_symbol: str
) -> Outcome:
    """One event, whatever is wrong with it."""
    try:
        return reader.read(frame, index, decoded(raw, _one_decoder(reader.wire)), place)
    except UNREADABLE as error:
        return rejected(error, index, venue_symbol)


def read_rows(
    frame: Frame, array: bytes | Raw, reader: Reader, place: Any, venue_symbol: str
) -> list[Outcome]:
    """The rows of an array, each of ``reader``'s type. Raises one of ``UNDECODABLE`` for what is no array."""
    try:
        rows = msgspec.json.decode(array, type=list[reader.wire])  # type: ignore[name-defined]
    except UNDECODABLE:
        return [
            read_one(frame, index, row, reader, place, venue_symbol)
            for index, row in enumerate(elements(array))
        ]
    return read_all(frame, rows, {reader.wire: reader.read}, place, lambda index: venue_symbol)


def read_all(
    frame: Frame, events: Iterable[Any], reads: Mapping[type[Struct], Read], place: Any, symbol_at: Callable[[int], str]
) -> list[Outcome]:  # fmt: skip
    """Decoded events, each by its type and once: a reader may count what it sees. ``symbol_at`` tells the instrument of
    one that is refused, by its index."""
    outcomes: list[Outcome] = []
    append = outcomes.append
    for index, event in enumerate(events):
        try:
            append(reads[type(event)](frame, index, event, place))
        except UNREADABLE as error:
            append(rejected(error, index, symbol_at(index)))
    return outcomes


def file_of(endpoint: str) -> str:
    """The daily file whose lines come from there (``archive:…/BTCUSDT-trades-2024-08-08.csv#lines=…``), "" = none."""
    return endpoint.partition("#")[0].rpartition("/")[2] if endpoint.startswith("archive:") else ""


def read_lines(
    frame: Frame,
    names: Sequence[str],
    reader: Reader,
    place: Any,
    venue_symbol: str,
    headers: tuple[bytes, ...],
) -> list[Outcome]:
    """Each line as an event. ``names`` are the members that the columns are (none: the wire type is an array), a
    line that begins as one of ``headers`` is left aside as ``csv_header``. A byte order mark before the first line and
    lines without a character are no events."""
    outcomes: list[Outcome] = []
    for index, line in enumerate(frame.payload.removeprefix(BOM_UTF8).splitlines()):
        if not line.strip():
            continue
        cells = line.decode("ascii", "replace").split(",")
        row = dict(zip(names, cells, strict=False)) if names else cells
        try:
            if line.startswith(headers):
                outcomes.append(Ignored("csv_header", index))
            else:
                event = msgspec.convert(row, reader.wire, strict=False)
                outcomes.append(reader.read(frame, index, event, place))
        except UNREADABLE as error:
            outcomes.append(rejected(error, index, venue_symbol))
    return outcomes


def by_shape(
    frame: Frame,
    read_object: Callable[[Frame, bytes], Sequence[Outcome]],
    read_array: Callable[[Frame, bytes], Sequence[Outcome]],
    read_file: Callable[[Frame, str], Sequence[Outcome]] | None = None,
) -> Sequence[Outcome]:
    """A frame that no fast path knew, with its text made readable; ``Rejected`` if it is no JSON, or neither. Lines of
    a daily file, whose name ``read_file`` gets, are what they are."""
    if read_file is not None and (file := file_of(frame.endpoint)):
        return read_file(frame, file)
    payload = readable(frame).payload
    shape = payload.lstrip()[:1]
    try:
        if shape == b"[":
            return read_array(frame, payload)
        if shape == b"{":
            return read_object(frame, payload)
        msgspec.json.decode(payload)
    except UNDECODABLE as error:
        return (Rejected(Code.UNDECODABLE, str(error)),)
    return (Rejected(Code.UNKNOWN_MESSAGE, f"neither an object nor an array: {payload[:40]!r}"),)


class _Envelope(Struct, Generic[_Data], gc=False):
    data: _Data


class _Route(Struct, frozen=True, gc=False):
    stream: Stream
    decode: Callable[[bytes], _Envelope[Any]]
    read: Read


class Streams:
    """Events by the name of their stream, each with a reader by its channel's family.

    ``before`` is what stands before the name in every frame of a stream; the event is its member ``data``, and
    ``tag_field`` the event's member that names its type. ``ignored``: types that are left aside, and under which name;
    ``faults``: what such a type tells of the connection. ``place`` tells venue symbol and channel of an event by the
    stream's name and the event's members, "" where neither says; ``family`` the key of ``readers`` for a channel.
    """

    def __init__(
        self,
        before: bytes,
        tag_field: str,
        readers: Mapping[str, Reader],
        ignored: Mapping[str, str],
        faults: Mapping[str, Fault],
        place: Callable[[str, Mapping[str, Raw]], tuple[str, str]],
        family: Callable[[str], str],
        streams: StreamCache[tuple[str, str]],
    ) -> None:
        self._start = len(before)
        self._tag_field = tag_field
        self._readers = readers
        self._ignored = ignored
        self._faults = faults
        self._place = place
        self._family = family
        self._streams = streams
        self._routes: dict[bytes, _Route] = {}

    def read(self, frame: Frame) -> Sequence[Outcome]:
        """The frame's event; nothing where its stream was not met before, or anything is wrong with it."""
        payload, start = frame.payload, self._start
        route = self._routes.get(payload[start : payload.find(b'"', start, NAME_BYTES_MAX)])
        if route is None:
            return ()
        try:
            return (route.read(frame, 0, route.decode(payload).data, route.stream),)
        except UNREADABLE:
            return ()

    def read_each(self, frame: Frame, name: str, events: Iterable[bytes | Raw]) -> list[Outcome]:
        """Events of the stream called ``name``, "" where neither the frame nor its address says."""
        outcomes: list[Outcome] = []
        for index, raw in enumerate(events):
            outcomes += self._read_one(frame, index, name, raw)
        return outcomes

    def _read_one(self, frame: Frame, index: int, name: str, raw: bytes | Raw) -> Sequence[Outcome]:
        try:
            msgspec.json.decode(raw)  # members that nobody reads are not looked into otherwise
            event = members(raw)
        except UNDECODABLE as error:
            return [rejected(error, index, "")]
        tag = text_of(event.get(self._tag_field, ABSENT))
        if tag in self._ignored:
            return told(self._ignored[tag], index, self._faults.get(tag))
        symbol, channel = self._place(name, event)
        reader = self._readers.get(self._family(channel))
        if reader is None or tag != reader.tag or bool(tag) != (self._tag_field in event):
            return [Rejected(Code.UNKNOWN_MESSAGE, f"event {tag!r:.40} of stream {name!r:.80}", index)]
        if not symbol:
            return [Rejected(Code.SYMBOL_MISSING, f"stream {name!r:.80}", index)]
        if not is_name(symbol):
            return [Rejected(Code.SYMBOL_MALFORMED, f"{symbol!r:.80}", index)]
        stream = self._streams[symbol, channel]
        if len(self._routes) < STREAMS_KNOWN_MAX and self._place(name, {}) == (symbol, channel):
            self._routes[name.encode()] = _Route(stream, _decoder(reader.wire), reader.read)
        return [read_one(frame, index, raw, reader, stream, symbol)]


@cache
def _one_decoder(wire: type[Struct]) -> Callable[[bytes | Raw], Any]:
    return msgspec.json.Decoder(wire).decode


@cache
def _decoder(wire: type[Struct]) -> Callable[[bytes], _Envelope[Any]]:
    return msgspec.json.Decoder(_Envelope[wire]).decode  # type: ignore[valid-type]


class Tagged:
    """Events by the type that they name. The wire types of ``readers`` have tags (``tag_field="ev", tag="T"``), all in
    the member ``tag_field``; ``ignored`` as in ``Streams``. ``symbol_fields``: where a garbled event may name its
    instrument."""

    def __init__(
        self,
        tag_field: str,
        readers: Iterable[Reader],
        ignored: Mapping[str, str],
        symbol_fields: Sequence[str],
    ) -> None:
        self._tag_field = tag_field
        self._reads: Mapping[type[Struct], Read] = {reader.wire: reader.read for reader in readers}
        self._tags = {wire.__struct_config__.tag for wire in self._reads}
        self._ignored = ignored
        self._symbol_fields = symbol_fields
        union: Any = Union[tuple(self._reads)]  # noqa: UP007  of as many as there are
        self._decode_all = msgspec.json.Decoder(list[union]).decode
        self._decode_one = msgspec.json.Decoder(union).decode
        head: Any = msgspec.defstruct("Head", [("tag", str, msgspec.field(name=tag_field))])
        self._decode_head = msgspec.json.Decoder(head).decode

    def read(self, frame: Frame, payload: bytes, place: Any) -> list[Outcome] | None:
        """All events of an array; ``None`` where it holds anything else than events of these types."""
        try:
            events = self._decode_all(payload)
        except UNDECODABLE:
            return None
        outcomes: list[Outcome] = []
        append, reads = outcomes.append, self._reads
        for index, event in enumerate(events):  # as ``read_all``, which would cost a frame of one trade 9%
            try:
                append(reads[type(event)](frame, index, event, place))
            except UNREADABLE as error:
                append(rejected(error, index, self._symbol(elements(payload)[index])))
        return outcomes

    def read_each(
        self,
        frame: Frame,
        payload: bytes,
        place: Any,
        control: Control,
    ) -> list[Outcome]:
        """Element by element; what is no array is undecodable."""
        try:
            found = elements(payload)
        except UNDECODABLE as error:
            return [Rejected(Code.UNDECODABLE, str(error))]
        outcomes: list[Outcome] = []
        for index, raw in enumerate(found):
            outcomes += self.read_element(frame, index, raw, place, control)
        return outcomes

    def read_element(
        self,
        frame: Frame,
        index: int,
        raw: bytes | Raw,
        place: Any,
        control: Control,
    ) -> Sequence[Outcome]:
        symbol = self._symbol(raw)
        try:
            tag = self._decode_head(raw).tag
            said = control(tag, raw, index)
            if said is not None:
                return said
            if tag in self._ignored:
                return [Ignored(self._ignored[tag], index)]
            if tag not in self._tags:
                return [Rejected(Code.UNKNOWN_MESSAGE, f"{self._tag_field} {tag[:40]!r}", index, symbol)]
            market_event = decoded(raw, self._decode_one)
            return [self._reads[type(market_event)](frame, index, market_event, place)]
        except UNREADABLE as error:
            return [rejected(error, index, symbol)]

    def _symbol(self, raw: bytes | Raw) -> str:
        event = inside(raw)
        return next((text for name in self._symbol_fields if (text := text_of(event.get(name, ABSENT)))), "")


class Rows:
    """Events of ``reader``'s type, each with its instrument's name in its member ``symbol_field``."""

    def __init__(self, reader: Reader, symbol_field: str) -> None:
        self._reader = reader
        self._symbol_field = symbol_field
        wire: Any = reader.wire
        self._decode = msgspec.json.Decoder(list[wire]).decode

    def read(self, frame: Frame, array: bytes | Raw, place: Any) -> list[Outcome]:
        """Raises one of ``UNDECODABLE`` for what is no array."""
        try:
            events = self._decode(array)
        except UNDECODABLE:
            return [
                read_one(frame, index, raw, self._reader, place, self._symbol(raw))
                for index, raw in enumerate(elements(array))
            ]
        reads, found = {self._reader.wire: self._reader.read}, array
        return read_all(frame, events, reads, place, lambda index: self._symbol(elements(found)[index]))

    def _symbol(self, raw: bytes | Raw) -> str:
        return text_of(inside(raw).get(self._symbol_field, ABSENT))
