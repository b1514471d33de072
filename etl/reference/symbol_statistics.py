"""Symbol statistics: computed in ClickHouse, published to a compacted topic, followed by running workers.

The topic's key is ``exchange:symbol`` and its value one ``SymbolStatistics`` as JSON, so that a worker which starts
reads the newest of each symbol and one that runs learns of a refresh without restart.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby

import msgspec

from etl import exchanges
from etl.errors import WireError
from etl.model.instruments import Instrument
from etl.reference.instrument_steps import History, Steps, read
from etl.reference.instruments import known
from etl.resources import resource
from etl.settings import Settings
from etl.stores.clickhouse_http import connect
from etl.transports.message import Message
from etl.transports.publisher import Publisher
from etl.transports.readable import readable
from etl.transports.transport import read_topic, transport_of
from etl.validation.statistics import SymbolStatistics
from etl.wire.keys import message_key

QUERY_FILE = resource("sql/queries/symbol_statistics.sql")
FLUSH_WAIT_S = 30.0
FOLLOW_MESSAGES_MAX = 10_000

_log = logging.getLogger(__name__)
_decoder = msgspec.json.Decoder(SymbolStatistics)
_encode = msgspec.json.Encoder().encode


class Row(msgspec.Struct):
    """A row of the query, as FORMAT JSONEachRow writes it."""

    exchange: str
    symbol: str
    close: float
    return_mean: float
    return_deviation: float
    days: int


def compute(
    settings: Settings,
    as_of_ns: int,
    instruments: Mapping[tuple[str, str], Instrument] | None = None,
    history: History | None = None,
) -> list[SymbolStatistics]:
    """The statistics of every symbol that ClickHouse has days of, as of a time; of a stock that was renamed one, under
    the name it had then.

    The steps of ``instruments``, by (exchange, symbol), go along where known, and what ``history`` says of them before.
    Raises ``StoreError``.
    """
    as_of = datetime.fromtimestamp(as_of_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    with connect(settings) as client:
        answer = client.execute(
            f"{QUERY_FILE.read_text()} FORMAT JSONEachRow",
            {"output_format_json_quote_64bit_integers": "0"},
            {"as_of": as_of},
        )
    rows = msgspec.json.Decoder(Row).decode_lines(answer)
    listed = instruments or {}
    before = history or {}
    places = [(row, (row.exchange, row.symbol)) for row in rows]
    return [with_steps(row, as_of_ns, listed.get(place), before.get(place, ())) for row, place in places]


def with_steps(
    row: Row, as_of_ns: int, instrument: Instrument | None, history: Sequence[Steps] = ()
) -> SymbolStatistics:
    """``row`` with the step of the list, and the one before it."""
    prices = [next(same) for _, same in groupby(history, lambda steps: steps.price_step)]
    moved = prices[-1] if len(prices) > 1 and prices[-2].price_step else None
    return SymbolStatistics(
        row.exchange,
        row.symbol,
        row.close,
        row.return_mean,
        row.return_deviation,
        row.days,
        as_of_ns,
        price_step=float(instrument.price_step) if instrument and instrument.price_step else None,
        price_figures=instrument.price_figures or None if instrument else None,
        price_step_former=float(prices[-2].price_step) if moved else None,
        price_step_since_ns=moved.valid_from_ns if moved else 0,
    )


def publish(statistics: Sequence[SymbolStatistics], publisher: Publisher, settings: Settings) -> None:
    """All of them, acknowledged when this returns. Raises ``TransportError``."""
    for item in statistics:
        key = message_key(item.exchange, item.symbol)
        publisher.publish(settings.topics.statistics, key, _encode(item))
    publisher.flush(FLUSH_WAIT_S)


def refresh(settings: Settings, as_of_ns: int) -> int:
    """Compute, publish, and say how many symbols there were. What the DAG calls every four hours."""
    statistics = compute(settings, as_of_ns, _known_instruments(settings), read(settings, exchanges.names()))
    published = [*statistics, *outdated(show(settings), statistics, as_of_ns)]
    publish(published, transport_of(settings).publisher(), settings)
    return len(statistics)


def outdated(
    known: Iterable[SymbolStatistics], computed: Iterable[SymbolStatistics], as_of_ns: int
) -> list[SymbolStatistics]:
    """Of symbols that have statistics no more: that there are none. The topic keeps the last of each for ever, and who
    takes a name that was another's would be judged by that one's prices."""
    current = {(item.exchange, item.symbol) for item in computed}
    return [
        msgspec.structs.replace(
            item, close=0.0, return_mean=0.0, return_deviation=0.0, days=0, as_of_ns=as_of_ns
        )
        for item in known
        if item.days and (item.exchange, item.symbol) not in current
    ]


def show(settings: Settings) -> list[SymbolStatistics]:
    """The newest of every symbol on the topic, by exchange and symbol."""
    newest: dict[tuple[str, str], SymbolStatistics] = {}
    messages = read_topic(settings, settings.topics.statistics, "etl-statistics")
    for item in readable(messages, decode, "statistics"):
        newest[item.exchange, item.symbol] = item
    return [newest[key] for key in sorted(newest)]


def decode(message: Message) -> SymbolStatistics:
    """Raises ``WireError``: so for the tombstone of a symbol that is no more, too."""
    try:
        return _decoder.decode(message.value or b"")
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise WireError(f"not a SymbolStatistics: {error}") from None


def _known_instruments(settings: Settings) -> dict[tuple[str, str], Instrument]:
    """Those whose steps are known."""
    found = {}
    for name in exchanges.names():
        instruments = known(settings, exchanges.load(name))
        for symbol, venue_symbol in instruments.by_symbol().items():
            instrument = instruments.get(venue_symbol)
            if instrument is not None and instrument.price_step:
                found[name, symbol] = instrument
    return found


class Follower:
    """Reads the topic from its beginning, then whatever comes; never commits, so every worker reads all."""

    def __init__(self, settings: Settings, exchange: str) -> None:
        self._exchange = exchange
        self._topic = transport_of(settings).follower(settings.topics.statistics, "etl-statistics")

    def poll(self, timeout_s: float = 0.0) -> list[SymbolStatistics]:
        """What was published for this venue since the last call; at most ``FOLLOW_MESSAGES_MAX`` messages."""
        messages = self._topic.poll(FOLLOW_MESSAGES_MAX, timeout_s)
        prefix = f"{self._exchange}:".encode()
        own = (m for m in messages if (m.key or b"").startswith(prefix))
        return list(readable(own, decode, "statistics"))

    def close(self) -> None:
        self._topic.close()
