"""What the lake costs: bytes times price, and as many more as its last days had."""

from __future__ import annotations

from datetime import date

from etl.lake.catalog import File
from etl.lake.cost import OWN, PRICES, Cost, Growth, costs, growth

TODAY = date(2026, 3, 31)
GB = 1_000_000_000


def file(day: str, size: int) -> File:
    return File(day, "trades", "binance", day, "A", "Z", 1, size, 0, 0, 0, 0, 0, 0, 0)


def test_growth_is_the_mean_of_the_last_whole_days_by_the_dates_of_the_data() -> None:
    days = [
        file("2020-01-01", 500 * GB),
        file("2026-03-29", GB),
        file("2026-03-30", 2 * GB),
        file("2026-03-31", 7 * GB),
    ]
    assert growth(days, TODAY) == Growth(510 * GB, 3 * GB // 2, 2)
    assert growth([*days, file("2026-03-01", 57 * GB)], TODAY) == Growth(567 * GB, 2 * GB, 30)
    assert growth([file("2026-03-31", 5)], TODAY) == Growth(5, 0, 0)
    assert growth([], TODAY) == Growth(0, 0, 0)


def test_a_cost_is_bytes_times_price_now_and_as_the_lake_grows() -> None:
    own, *listed = costs(Growth(100 * GB, GB, 30), own_usd_gb_month=0.01)
    assert own == Cost(OWN, 0.01, 1.0, 1.3, 4.65, "settings", "")
    assert listed[0] == Cost(PRICES[0].store, 0.023, 2.3, 2.99, 10.695, PRICES[0].source, PRICES[0].as_of)
    assert [cost.store for cost in listed] == [price.store for price in PRICES]
    assert costs(Growth(0, 0, 0))[0].store == PRICES[0].store


def test_every_price_says_where_it_stands_and_when() -> None:
    assert all(price.usd_gb_month > 0 and price.source.startswith("https://") for price in PRICES)
    assert all(date.fromisoformat(f"{price.as_of}-01") for price in PRICES)
