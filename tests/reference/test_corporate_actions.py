"""Corporate actions from the vendors' answers to adjusted bars, whose truth is computed here with Decimal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from etl.errors import VenueError
from etl.exchanges import load
from etl.model.records import Bar
from etl.model.reference import CORPORATE_ACTIONS, SYMBOL_NAMES, CorporateAction, SymbolName
from etl.reference import corporate_actions
from etl.reference.corporate_actions import differences, known
from etl.reference.recorded import record
from etl.reference.symbol_statistics import compute
from etl.settings import Settings, changed
from etl.simulator.splits import DIVIDENDS, MERGERS, SPIN_OFFS, SPLITS
from etl.sources import history
from etl.stores import timescale
from etl.stores.clickhouse_http import connect
from etl.stores.migrate import migrate_clickhouse, migrate_timescale
from tests.reference.test_symbol_statistics import CLOSES, DAY_NS, daily_bars, day_before, moments, store
from tests.support.access import access_at
from tests.support.lake import export_records, query
from tests.support.serving import simulator
from tests.support.venue_server import venue_server

NOW_NS = time.time_ns()
DAY = date(2020, 8, 31)


def action(venue: str, key: str, symbol: str, kind: str, day: date, **facts: object) -> CorporateAction:
    return CorporateAction(venue, key, symbol, kind, day, **facts)  # type: ignore[arg-type]


def split(before: str, after: str, venue: str = "polygon", day: date = DAY, key: str = "") -> CorporateAction:
    shares = {"shares_before": Decimal(before), "shares_after": Decimal(after)}
    return action(venue, key or f"split/A/{day}", "A", "split", day, **shares)


def cash(amount: str, venue: str = "polygon", day: date = DAY, key: str = "D") -> CorporateAction:
    return action(venue, key, "A", "cash_dividend", day, cash_amount=Decimal(amount), currency="USD")


@pytest.mark.parametrize(
    ("venue", "payload", "expected"),
    [
        (
            "polygon",
            b'{"results":[{"execution_date":"2020-08-31","id":"E36","split_from":1,"split_to":4,"ticker":"A"},'
            b'{"execution_date":"2020-08-31","split_from":3,"split_to":2,"ticker":"A"},'
            b'{"execution_date":"2020-08-31","id":"E37","split_from":1,"split_to":0.0333333333333333333,"ticker":"A"}]}',
            [split("1", "4", key="E36"), split("3", "2"), split("1", "0.0333333333333333333", key="E37")],
        ),
        (
            "polygon",
            b'{"results":[{"id":"D","cash_amount":0.205,"currency":"USD","dividend_type":"CD",'
            b'"ex_dividend_date":"2020-08-31","frequency":4,"ticker":"A"}]}',
            [cash("0.205")],
        ),
        (
            "alpaca",
            b'{"corporate_actions":{"reverse_splits":[{"symbol":"A","new_rate":1,"old_rate":30,"ex_date":"2020-08-31",'
            b'"process_date":"2020-08-31"}],"forward_splits":[{"id":"F","symbol":"A","new_rate":4,"old_rate":1,'
            b'"ex_date":"2020-08-31"}],"cash_dividends":[{"id":"D","symbol":"A","rate":0.205,"ex_date":"2020-08-31"}],'
            b'"name_changes":[{"id":"N","old_symbol":"FB","new_symbol":"META","process_date":"2022-06-09"}],'
            b'"stock_dividends":[{"id":"S","symbol":"A","rate":0.05,"ex_date":"2020-08-31"}],'
            b'"stock_mergers":[{"id":"M","acquiree_symbol":"A","acquirer_symbol":"B","acquiree_rate":1,'
            b'"acquirer_rate":0.5,"effective_date":"2020-08-31"}],'
            b'"spin_offs":[{"id":"O","source_symbol":"A","new_symbol":"C","source_rate":4,"new_rate":1,'
            b'"ex_date":"2020-08-31"},{"source_symbol":"A","new_symbol":"D","source_rate":1,"new_rate":1,'
            b'"ex_date":"2020-08-31"}],'
            b'"cash_mergers":[{"id":"Q","acquiree_symbol":"E","acquirer_symbol":"A","rate":65.2,'
            b'"effective_date":"2020-08-31"}],'
            b'"redemptions":[{"id":"P","symbol":"A","rate":10.02,"process_date":"2020-08-31"}],'
            b'"rights_distributions":[{"id":"T","source_symbol":"A","new_symbol":"A.RT","rate":0.25,'
            b'"process_date":"2020-09-02","ex_date":"2020-08-31","payable_date":"2020-09-02"}],'
            b'"worthless_removals":[{"id":"W","symbol":"G","process_date":"2020-08-31"}]},"next_page_token":null}',
            [
                cash("0.205", "alpaca"),
                action("alpaca", "Q", "E", "cash_merger", DAY, cash_amount=Decimal("65.2"), currency="USD",
                       new_symbol="A"),
                split("1", "4", "alpaca", key="F"),
                action("alpaca", "N", "FB", "name_change", date(2022, 6, 9), new_symbol="META"),
                action("alpaca", "P", "A", "redemption", DAY, cash_amount=Decimal("10.02"), currency="USD"),
                split("30", "1", "alpaca"),
                action("alpaca", "T", "A", "rights_distribution", DAY, shares_before=Decimal(1),
                       shares_after=Decimal("0.25"), new_symbol="A.RT", pay_day=date(2020, 9, 2)),
                action("alpaca", "O", "A", "spin_off", DAY, shares_before=Decimal(4), shares_after=Decimal(1),
                       new_symbol="C"),
                action("alpaca", f"spin_off/A/{DAY}/D", "A", "spin_off", DAY, shares_before=Decimal(1),
                       shares_after=Decimal(1), new_symbol="D"),
                action("alpaca", "S", "A", "stock_dividend", DAY, shares_before=Decimal(1),
                       shares_after=Decimal("1.05")),
                action("alpaca", "M", "A", "stock_merger", DAY, shares_before=Decimal(1),
                       shares_after=Decimal("0.5"), new_symbol="B"),
                action("alpaca", "W", "G", "worthless_removal", DAY),
            ],
        ),
    ],
)  # fmt: skip
def test_a_page_gives_exact_actions(venue: str, payload: bytes, expected: list[CorporateAction]) -> None:
    assert list(load(venue).read_actions(payload)) == expected


@pytest.mark.parametrize(
    ("venue", "payload"),
    [
        ("polygon", b"{}"),
        ("polygon", b'{"results":[{"ticker":"A","execution_date":"2020-08-31"}]}'),
        (
            "polygon",
            b'{"results":[{"ticker":"A","execution_date":"2020-08-31","split_from":0,"split_to":4}]}',
        ),
        ("polygon", b"<html>"),
        ("alpaca", b"{}"),
        ("alpaca", b'{"corporate_actions":{"forward_splits":[{"symbol":"A","ex_date":"2020-08-31"}]}}'),
        ("alpaca", b'{"corporate_actions":{"cash_dividends":[{"symbol":"A","rate":1}]}}'),
    ],
)
def test_an_answer_that_is_no_list_of_actions_is_refused(
    settings: Settings, venue: str, payload: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "BACK_OFF_FIRST_S", 0.001)
    with venue_server() as server:
        for path in load(venue).actions_paths:
            server.answers[path.partition("?")[0]] = (200, payload.decode())
        complaint = "no JSON" if payload == b"<html>" else "not a list of corporate actions"
        with pytest.raises(VenueError, match=complaint):
            refresh(settings, venue, f"http://127.0.0.1:{server.port}")


def test_vendors_that_disagree_are_reported_and_those_that_agree_are_not() -> None:
    told = [
        split("1", "4"), split("0.5", "2", "alpaca"),  # the same
        split("1", "2", day=date(2021, 1, 4)), split("1", "3", "alpaca", date(2021, 1, 4)),
        cash("0.20"), cash("0.2", "alpaca"),
        cash("0.30", day=date(2021, 2, 1)),
    ]  # fmt: skip
    assert [
        (one.effective_day, one.action_kind, one.said) for one in differences(told, "polygon", "alpaca")
    ] == [
        (date(2021, 1, 4), "split", {"polygon": "1:2", "alpaca": "1:3"}),
        (date(2021, 2, 1), "cash_dividend", {"polygon": "0.30 USD", "alpaca": ""}),
    ]


def refresh(settings: Settings, venue: str, base_url: str) -> dict[str, int]:
    today = datetime.fromtimestamp(NOW_NS // 1_000_000_000, UTC).date()
    access = access_at(base_url, load(venue), settings.state_path)
    return corporate_actions.refresh(settings, access, today, time.time_ns())


async def refresh_from_simulators(settings: Settings, state_path: Path) -> list[dict[str, int]]:
    async with simulator(state_path, "polygon", "alpaca") as simulated:
        return [
            await asyncio.to_thread(refresh, settings, venue, f"http://{simulated.address}/{venue}")
            for venue in ("polygon", "alpaca", "polygon")
        ]


@pytest.mark.integration
def test_actions_reach_every_store_once_and_a_split_is_no_return(
    settings_with: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = changed(settings_with(clickhouse=True, timescale=True), venues="polygon,alpaca")
    migrate_clickhouse(settings)
    migrate_timescale(settings)
    count = len(SPLITS) + len(DIVIDENDS)
    added = asyncio.run(refresh_from_simulators(settings, tmp_path))
    more = len(SPIN_OFFS) + len(MERGERS)  # which Polygon does not tell
    assert [set(of_store.values()) for of_store in added] == [{count}, {count + more}, {0}]
    assert {*added[0]} == {"clickhouse", "timescale", "lake"}
    told = known(settings, ["polygon", "alpaca"])
    assert differences(told, "polygon", "alpaca") == []
    assert {
        (row.exchange, row.symbol, row.action_kind, row.shares_before, row.shares_after, row.new_symbol)
        for row in told
        if row.new_symbol
    } == {
        ("alpaca", "PRNT", "spin_off", Decimal(4), Decimal(1), "CHLD"),
        ("alpaca", "TRGT", "stock_merger", Decimal(1), Decimal("0.5"), "PRNT"),
    }

    monkeypatch.setattr("tests.reference.test_symbol_statistics.AS_OF_NS", NOW_NS)
    planted = SPLITS[0]
    split_ns = NOW_NS // DAY_NS * DAY_NS - planted.age_days * DAY_NS
    closes = (CLOSES * 3)[:20]
    as_told = [
        close * planted.before / planted.after if day_before(20 - i) >= split_ns else close
        for i, close in enumerate(closes)
    ]
    with connect(settings, internal=True) as client:
        bars = list(daily_bars(planted.symbol, as_told))
        store(client, [*bars, *(msgspec.structs.replace(bar, exchange="alpaca") for bar in bars)])
    mean, deviation = moments(closes)
    for item in compute(settings, NOW_NS):
        assert item.return_mean == pytest.approx(
            mean, rel=1e-2
        )  # a quarter of a price is rounded to the cent
        assert item.return_deviation == pytest.approx(deviation, rel=1e-2)


# bars of five days from Monday 2026-06-01 on: a dividend on Wednesday, a split on Thursday, told in two steps
DAYS = [date(2026, 6, day) for day in (1, 2, 3, 4, 5)]
CLOSE_TEXTS = ["100.00", "102.50", "101.25", "50.60", "51.00"]
DIVIDEND_DAY, SPLIT_DAY = DAYS[2], DAYS[3]
MONDAY_NS = 1_780_272_000_000_000_000
WRONG_TOLD_NS, RIGHT_TOLD_NS = MONDAY_NS, MONDAY_NS + 10 * DAY_NS


def truth(split_of_day: Decimal, until: date) -> list[tuple[str, Decimal, Decimal]]:
    """Day, close adjusted for splits, and for dividends too: every later day's factor multiplied, one by one."""
    paid, close_before = Decimal("0.41"), Decimal(CLOSE_TEXTS[1])
    of_day = {DIVIDEND_DAY: (Decimal(1), 1 - paid / close_before), SPLIT_DAY: (split_of_day, split_of_day)}
    found = []
    for day, text in zip(DAYS, CLOSE_TEXTS, strict=True):
        by_split = by_return = Decimal(text)
        for effective, (split_factor, return_factor) in of_day.items():
            if day < effective <= until:
                by_split, by_return = by_split * split_factor, by_return * return_factor
        if day <= until:
            found.append((f"{day}", by_split, by_return))
    return found


def bar_of(number: int, price: str, symbol: str = "A") -> Bar:
    """Of the day ``number`` of ``DAYS``, which begins at midnight in New York."""
    time_ns = MONDAY_NS + number * DAY_NS + 4 * 3_600_000_000_000
    (bar,) = daily_bars(symbol, [1.0])
    times = {"event_time_ns": time_ns, "key_time_ns": time_ns, "record_key": f"1d/{time_ns}"}
    prices = dict.fromkeys(("open", "high", "low", "close"), price)
    return msgspec.structs.replace(bar, receive_time_ns=time_ns + DAY_NS, **times, **prices)


def store_everywhere(settings: Settings, bars: Sequence[Bar]) -> None:
    with connect(settings, internal=True) as client:
        store(client, [*bars])
    export_records(settings, bars)
    with timescale.session(settings) as connection:
        for bar in bars:
            connection.execute(
                "INSERT INTO bars (key_time, time, exchange, symbol, record_key, receive_time_ns, parser_version,"
                " event_time_ns, interval, open, close, bar_state)"
                " VALUES (time_of_ns(%(ns)s), time_of_ns(%(ns)s), %(exchange)s, %(symbol)s, %(key)s, %(ns)s, 1,"
                " %(ns)s, '1d', %(open)s, %(close)s, 'closed')",
                {
                    "ns": bar.event_time_ns,
                    "exchange": bar.exchange,
                    "symbol": bar.symbol,
                    "key": bar.record_key,
                    "open": Decimal(bar.open or "0"),
                    "close": Decimal(bar.close or "0"),
                },
            )


@pytest.mark.integration
def test_adjusted_bars_as_known_at_a_time_are_what_decimal_says(
    settings_with: Callable[..., Settings],
) -> None:
    settings = settings_with(clickhouse=True, timescale=True)
    migrate_clickhouse(settings)
    migrate_timescale(settings)
    paid = cash("0.41", day=DIVIDEND_DAY)
    for split_told, told_ns in ((("1", "3"), WRONG_TOLD_NS), (("1", "2"), RIGHT_TOLD_NS)):
        rows = [paid, split(*split_told, day=SPLIT_DAY)]
        record(settings, CORPORATE_ACTIONS, rows, ["polygon"], told_ns)
    bars = [bar_of(number, text) for number, text in enumerate(CLOSE_TEXTS)]
    bars += [bar_of(number, f"{close}", "WAS") for number, close in enumerate(WAS_CLOSES)]
    store_everywhere(settings, bars)
    cases = [
        ("bars_adjusted", truth(Decimal("0.5"), DAYS[-1])),
        ("bars_adjusted_at(known_time = '2026-06-06 00:00:00')", truth(1 / Decimal(3), DAYS[-1])),
        # Tuesday evening in New York: no bar of Wednesday, and nothing has taken effect
        ("bars_adjusted_at(known_time = '2026-06-03 03:00:00')", truth(Decimal("0.5"), DAYS[1])),
    ]
    require_adjusted(settings, cases, "symbol = 'A'")

    record(settings, SYMBOL_NAMES, NAMES, ["polygon"], RENAMED_TOLD_NS)
    require_adjusted(settings, cases[1:], "symbol = 'A'")  # nobody had told of names then
    by_todays_name = split("1", "4", day=DAYS[1])  # of a day on which nobody was called A
    record(settings, CORPORATE_ACTIONS, [by_todays_name], ["polygon"], RENAMED_TOLD_NS, lambda row: False)
    require_adjusted(
        settings, [("bars_adjusted", renamed_truth())], "instrument_id = 'BBG01' AND current_symbol = 'A'"
    )
    others = [(f"{DAYS[0]}", Decimal(CLOSE_TEXTS[0]), Decimal(CLOSE_TEXTS[0]))]
    require_adjusted(settings, [("bars_adjusted", others)], "symbol = 'A' AND current_symbol <> 'A'")


# the same stock was called WAS until Tuesday, and on Monday A was another one's
WAS_CLOSES = [Decimal("200.00"), Decimal("205.00")]
NAMES = [
    SymbolName("polygon", "BBG01", date(2020, 1, 2), "WAS"),
    SymbolName("polygon", "BBG01", DIVIDEND_DAY, "A"),
    SymbolName("polygon", "BBG02", date(2019, 1, 2), "A"),
    SymbolName("polygon", "BBG02", DAYS[1], ""),
]
RENAMED_TOLD_NS = MONDAY_NS + 20 * DAY_NS


def renamed_truth() -> list[tuple[str, Decimal, Decimal]]:
    half, paid = Decimal("0.5"), 1 - Decimal("0.41") / WAS_CLOSES[1]
    by_split = [WAS_CLOSES[0] * half / 4, WAS_CLOSES[1] * half]
    own = [(f"{day}", close, close * paid) for day, close in zip(DAYS, by_split, strict=False)]
    return own + truth(half, DAYS[-1])[2:]


def require_adjusted(
    settings: Settings, cases: Sequence[tuple[str, list[tuple[str, Decimal, Decimal]]]], where: str
) -> None:
    sql = f"SELECT {{day}}, close_split, close_return FROM {{relation}} WHERE {where} ORDER BY time"
    for relation, expected in cases:
        for name, found in adjusted_in_each(settings, sql, relation).items():
            assert [row[0] for row in found] == [row[0] for row in expected], (name, relation)
            for row, (_, by_split, by_return) in zip(found, expected, strict=True):
                assert row[1:] == pytest.approx((float(by_split), float(by_return)), rel=1e-12), (
                    name,
                    relation,
                )


def adjusted_in_each(
    settings: Settings, sql: str, relation: str
) -> dict[str, list[tuple[str, float, float]]]:
    with connect(settings) as client:
        text = client.execute(sql.format(day="toDate(time)", relation=relation) + " FORMAT TSV").decode()
    elsewhere = sql.format(day="time::date::text", relation=relation.replace("known_time = ", ""))
    with timescale.session(settings) as connection:
        rows = connection.execute(elsewhere.encode()).fetchall()
    of_lake = query(settings, elsewhere)
    lines = (line.split("\t") for line in text.splitlines())
    return {
        "clickhouse": [(day, float(by_split), float(by_return)) for day, by_split, by_return in lines],
        "timescale": [(str(day), float(by_split), float(by_return)) for day, by_split, by_return in rows],
        "lake": [(str(day), float(by_split), float(by_return)) for day, by_split, by_return in of_lake],
    }
