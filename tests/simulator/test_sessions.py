"""What is served: a market from a seed, a recording once, a recording over and over."""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from etl.errors import UsageError
from etl.simulator import truth
from etl.simulator.connection import Connection
from etl.simulator.history import Entry, History
from etl.simulator.market import Instrument, Listing, decimal_text, number_text
from etl.simulator.recording import find, frames, lines, shipped
from etl.simulator.replay import RecordingSession
from etl.simulator.serve import Options, keep_histories, make_feed
from etl.simulator.session import Item, RecordedResponse, SyntheticSession
from etl.simulator.truth import SENT, STREAM, TruthEvent, TruthFile, TruthLine, digest_of
from etl.simulator.venues import make_venue
from tests.support.serving import identity, parsed_all

T0 = 1_795_242_275_000_000_000
SECOND = 1_000_000_000
STREAMS = ("btcusdt@trade", "btcusdt@bookTicker", "btcusdt@depth", "btcusdt@kline_1s")


def play(
    session: SyntheticSession | RecordingSession, ticks: int, step_ns: int = 5_000_000
) -> Iterator[Item]:
    for stream in STREAMS:
        session.subscribe(stream)
    for tick in range(1, ticks + 1):
        yield from session.due(T0 + tick * step_ns)


def synthetic(seed: int, rate: float = 2_000.0) -> SyntheticSession:
    return SyntheticSession(make_venue("binance"), rate, seed)


def recorded() -> Path:
    path = shipped("binance")
    assert path is not None
    return path


def data_of(items: list[Item]) -> list[dict[str, Any]]:
    return [json.loads(item.payload)["data"] for item in items]


# synthetic


def test_the_same_seed_and_times_give_the_same_bytes_and_another_seed_others() -> None:
    first, again, other = (list(play(synthetic(seed), 200)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert len(first) > 1_500


def test_the_rate_is_kept_over_uneven_ticks_and_a_long_hold_up_is_not_made_up_for() -> None:
    session = synthetic(1, rate=1_000.0)
    session.subscribe("btcusdt@trade")
    session.due(T0)
    times = itertools.accumulate([3_000_000, 9_000_000, 1_000_000] * 100, initial=T0)
    assert sum(len(session.due(time)) for time in times) == pytest.approx(1_300, abs=2)
    assert len(session.due(T0 + 60 * SECOND)) == 1_000


def test_the_book_never_crosses_and_every_update_id_is_covered_once() -> None:
    changes = [d for d in data_of(list(play(synthetic(3), 2_000))) if d.get("e") == "depthUpdate"]
    assert all(b["U"] == a["u"] + 1 for a, b in itertools.pairwise(changes))
    book: dict[str, dict[float, float]] = {"b": {}, "a": {}}
    for change in changes:
        for side in book:
            for price, size in change[side]:
                book[side][float(price)] = float(size)
        bids = [price for price, size in book["b"].items() if size]
        asks = [price for price, size in book["a"].items() if size]
        assert not bids or not asks or max(bids) < min(asks)


def test_bars_are_made_of_the_trades_within_them() -> None:
    found = data_of(list(play(synthetic(4), 1_000)))
    trades = [d for d in found if d.get("e") == "trade"]
    bars = [d["k"] for d in found if d.get("e") == "kline" and d["k"]["x"]]
    assert len(bars) == 5
    for bar in bars:
        inside = [trade for trade in trades if bar["t"] <= trade["T"] <= bar["T"]]
        assert (bar["n"], bar["f"], bar["L"]) == (len(inside), inside[0]["t"], inside[-1]["t"])
        assert (bar["o"], bar["c"]) == (inside[0]["p"], inside[-1]["p"])
        assert (bar["h"], bar["l"]) == (max(t["p"] for t in inside), min(t["p"] for t in inside))
        assert f"{sum(int(t['q'].replace('.', '')) for t in inside)}" == bar["v"].replace(".", "").lstrip("0")


def test_a_second_without_a_trade_has_a_flat_bar_on_binance_and_none_on_polygon() -> None:
    binance = synthetic(1, rate=0.001)
    binance.subscribe("btcusdt@kline_1s")
    closed = [d["k"] for tick in range(20) for d in data_of(binance.due(T0 + tick * SECOND // 2))]
    assert closed
    assert all((bar["n"], bar["v"], bar["f"]) == (0, "0.00000000", -1) for bar in closed)
    polygon = SyntheticSession(make_venue("polygon"), 0.001, 1)
    polygon.subscribe("A.AAPL")
    assert [item for tick in range(20) for item in polygon.due(T0 + tick * SECOND // 2)] == []


def test_a_market_near_zero_turns_around() -> None:
    import random

    listing = Listing(Instrument("X", "X", 2, 0, 110), random.Random(1), 1)
    for tick in range(5_000):
        listing.top(tick)
        listing.change(tick)
        assert min(listing.bids) > 0
        assert max(listing.bids) < min(listing.asks)


@pytest.mark.parametrize(
    ("units", "digits", "full", "short"),
    [(6_183_763, 2, "61837.63", "61837.63"), (16_190, 2, "161.90", "161.9"), (5, 3, "0.005", "0.005"),
     (16_200, 2, "162.00", "162"), (7, 0, "7", "7"), (100, 0, "100", "100")],
)  # fmt: skip
def test_decimals_are_exact_text(units: int, digits: int, full: str, short: str) -> None:
    assert (decimal_text(units, digits), number_text(units, digits)) == (full, short)


def test_history_is_bounded_and_answers_in_order_even_after_the_clock_turned_back() -> None:
    history = History(entries_max=100)
    for number in range(1_000):
        history.add("X", "trade", Entry(number, number, None))
    assert [e.number for e in history.last("X", "trade", 1_000)] == list(range(900, 1_000))
    history.add("X", "trade", Entry(1_000, 950, None))
    assert [e.number for e in history.between("X", "trade", 950, 952, 0, 9)] == [950, 1_000, 951]
    assert [e.number for e in history.between("X", "trade", 950, 952, 1, 1)] == [1_000]
    assert [e.number for e in history.from_number("X", "trade", 998, 9)] == [998, 999, 1_000]


# recorded


def test_a_recording_is_served_once_exactly_and_then_there_is_silence() -> None:
    session = RecordingSession(make_venue("binance"), recorded(), rate=0)
    items = list(play(session, 100))
    assert [item.payload for item in items] == list(frames(recorded()))
    assert [identity(item.event) for item in items] == parsed_all("binance", frames(recorded()))
    assert session.finished
    assert session.due(T0 + 900 * SECOND) == []


def test_a_recording_keeps_its_pace_unless_told_otherwise() -> None:
    receive_ns = [line.receive_time_ns for line in lines(recorded())]
    session = RecordingSession(make_venue("binance"), recorded())
    session.due(T0)
    got = sum(len(session.due(T0 + tick * 10_000_000)) for tick in range(1, 1_001))
    expected = sum(time - receive_ns[0] <= 10 * SECOND for time in receive_ns)
    assert got == pytest.approx(expected, abs=2)
    paced = RecordingSession(make_venue("binance"), recorded(), rate=100.0)
    paced.due(T0)
    assert sum(len(paced.due(T0 + n * SECOND // 10)) for n in range(1, 51)) == pytest.approx(500, abs=2)


def test_the_recorded_snapshot_is_given_at_its_moment_and_later_ones_are_the_book_of_then() -> None:
    session = RecordingSession(make_venue("binance"), recorded(), rate=100.0)
    assert session.snapshot("BTCUSDT", T0) is None
    items = list(play(session, 100))
    answers = [line.frame for line in lines(recorded()) if line.kind == "rest"]
    last_id = json.loads(answers[0])["lastUpdateId"]
    event = TruthEvent("book", "BTC-USDT", f"depth/s/{last_id}")
    assert session.snapshot("BTCUSDT", T0) == RecordedResponse(answers[0].encode(), event)
    items += list(play(session, 4_000, 100_000_000))
    answer = session.snapshot("BTCUSDT", T0)
    assert answer is not None
    later = json.loads(answer.payload)
    assert answer.event.record_key == f"depth/s/{later['lastUpdateId']}"
    changes = [d for d in data_of(items) if d.get("e") == "depthUpdate"]
    book = {"b": dict(json.loads(answers[0])["bids"]), "a": dict(json.loads(answers[0])["asks"])}
    for change in changes:
        if change["u"] > json.loads(answers[0])["lastUpdateId"]:
            for side, levels in book.items():
                levels.update(dict(change[side]))
    alive = {side: {p: q for p, q in levels.items() if float(q)} for side, levels in book.items()}
    assert later["lastUpdateId"] == changes[-1]["u"]
    assert (dict(later["bids"]), dict(later["asks"])) == (alive["b"], alive["a"])
    assert float(later["bids"][0][0]) < float(later["asks"][0][0])


def test_a_loop_moves_ids_and_times_on_and_joins_the_books() -> None:
    session = RecordingSession(make_venue("binance"), recorded(), rate=0, loop=True)
    items = list(play(session, 60))
    found = data_of(items)
    assert len(items) > 3 * 8_000
    identities = [identity(item.event) for item in items]
    assert identities == parsed_all("binance", [item.payload for item in items])
    assert len(set(identities)) == len(items)
    trades = [d["t"] for d in found if d.get("e") == "trade"]
    assert trades == list(range(trades[0], trades[0] + len(trades)))
    changes = [d for d in found if d.get("e") == "depthUpdate"]
    assert all(b["U"] == a["u"] + 1 for a, b in itertools.pairwise(changes))
    quotes = [d["u"] for d in found if "A" in d]
    assert all(a < b for a, b in itertools.pairwise(quotes))
    assert all(T0 // 1_000_000 <= d["E"] <= T0 // 1_000_000 + 300 for d in found if "E" in d)
    answer = [session.snapshot("BTCUSDT", T0) for _ in range(3)][-1]
    assert answer is not None
    book = json.loads(answer.payload)
    assert float(book["bids"][0][0]) < float(book["asks"][0][0])


def test_history_of_a_recording_gives_its_trades() -> None:
    session = RecordingSession(make_venue("binance"), recorded(), rate=0)
    trades = [d for d in data_of(list(play(session, 100))) if d.get("e") == "trade"]
    venue = make_venue("binance")
    query = {"symbol": "BTCUSDT", "fromId": str(trades[5]["t"]), "limit": "3"}
    answer = venue.answer("/api/v3/historicalTrades", query, session, T0)
    assert answer is not None
    rows = json.loads(answer.body)
    assert [(r["id"], r["price"], r["qty"], r["time"], r["isBuyerMaker"]) for r in rows] == [
        (t["t"], t["p"], t["q"], t["T"], t["m"]) for t in trades[5:8]
    ]


def test_only_a_file_with_receive_times_is_a_session(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "polygon.examples.jsonl.gz", "wt") as file:
        file.write('{"kind":"ws","frame":"[]"}\n')
    (tmp_path / "binance.a_b.jsonl").write_text('{"receive_time_ns":1,"kind":"ws","frame":"[]"}\n')
    assert find(tmp_path, "polygon") is None
    assert find(tmp_path, "binance_usdm") is None
    assert find(tmp_path, "binance") == tmp_path / "binance.a_b.jsonl"


# truth and resumption


def options(tmp_path: Path, **values: Any) -> Options:
    return Options(exchanges=("binance",), state_path=tmp_path, rate=0, **values)


class Client(Connection):
    """A client that takes everything."""

    def write(self, payloads: Any) -> None:
        pass


def run_feed(chosen: Options, ticks: int) -> None:
    feed = make_feed(chosen, "binance")
    client = Client()
    feed.opened(client, T0)
    client.streams = {f"btcusdt@{name}" for name in ("trade", "bookTicker", "depth")}
    feed.note_streams(client, T0)
    for tick in range(ticks):
        feed.tick(T0 + tick * 5_000_000)


def all_events(tmp_path: Path) -> list[TruthEvent]:
    return [e for line in truth.read(truth.path_of(tmp_path, "binance")) for e in line.events]


def test_a_recording_that_was_killed_goes_on_after_the_last_line_it_sent(tmp_path: Path) -> None:
    run_feed(options(tmp_path, session=str(recorded())), ticks=3)
    run_feed(options(tmp_path, session=str(recorded())), ticks=200)
    sent = [(e.kind, e.record_key) for e in all_events(tmp_path)]
    assert sent == [(kind, key) for kind, _, key in parsed_all("binance", frames(recorded()))]
    digests = [line.digest for line in truth.read(truth.path_of(tmp_path, "binance")) if line.position]
    assert digests == [digest_of(frame) for frame in frames(recorded())]


@pytest.mark.parametrize("session", ["synthetic", "shipped"])
def test_no_identity_is_given_twice_by_a_simulator_that_was_killed(tmp_path: Path, session: str) -> None:
    for _ in range(3):
        run_feed(options(tmp_path, session=session), ticks=20)
    sent = [(e.kind, e.record_key) for e in all_events(tmp_path)]
    assert len(set(sent)) == len(sent) > 10_000


def test_a_line_torn_by_a_kill_is_cut_and_the_rest_stays(tmp_path: Path) -> None:
    path = truth.path_of(tmp_path, "binance")
    line = TruthLine(1, STREAM, SENT, [TruthEvent("trade", "BTC-USDT", "1", 5)], 7)
    file = TruthFile(path)
    file.write([line, line])
    file.close()
    whole = path.read_bytes()
    for size in range(len(whole) // 2 + 1, len(whole)):
        path.write_bytes(whole[:size])
        assert list(truth.read(path)) == [line]
        TruthFile(path).close()
        assert path.read_bytes() == whole[: len(whole) // 2]


@pytest.mark.parametrize(
    ("values", "message"),
    [({"session": "nowhere.jsonl"}, "no such file"), ({"recordings": Path("nowhere")}, "no such directory")],
)
def test_a_missing_recording_is_one_clear_line(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_feed(options(tmp_path, **values), "binance")
    with pytest.raises(UsageError, match="no such venue"):
        make_venue("nasdaq")


@pytest.mark.parametrize(
    ("exchange", "streams", "requests"),
    [
        (
            "binance",
            STREAMS,
            ["/api/v3/historicalTrades?symbol=BTCUSDT&limit=100", "/api/v3/klines?symbol=BTCUSDT"],
        ),
        ("polygon", ("T.AAPL", "Q.AAPL", "A.AAPL"), ["/v3/trades/AAPL", "/v3/quotes/AAPL"]),
        (
            "alpaca",
            ("trades.AAPL", "quotes.AAPL"),
            ["/v2/stocks/quotes?symbols=AAPL", "/v2/stocks/trades?symbols=AAPL"],
        ),
    ],
)
def test_the_history_of_a_venue_that_ended_in_order_outlives_it(
    tmp_path: Path, exchange: str, streams: tuple[str, ...], requests: list[str]
) -> None:
    chosen = Options(exchanges=(exchange,), state_path=tmp_path, session="synthetic", rate=200.0)
    first = make_feed(chosen, exchange)
    for stream in streams:
        first.session.subscribe(stream)
    for tick in range(1, 400):
        first.session.due(T0 + tick * 10_000_000)
    keep_histories(chosen, {exchange: first})
    second = make_feed(chosen, exchange)
    for request in requests:
        path, _, query = request.partition("?")
        parameters = dict(pair.split("=") for pair in query.split("&") if pair)
        answers = [feed.venue.answer(path, parameters, feed.session, T0) for feed in (first, second)]
        assert answers[0] is not None
        assert len(answers[0].body) > 500
        assert answers[0] == answers[1]
