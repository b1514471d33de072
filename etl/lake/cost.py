"""What keeping the lake costs a month in each kind of store, and what it will: from the tables' logs alone. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from msgspec import Struct

from etl.lake.catalog import File

BYTES_PER_GB = 1_000_000_000
"""As the stores bill."""
GROWTH_DAYS_MAX = 30
"""Of the last whole days, the mean of whose bytes is the growth of a day."""


class Price(Struct, frozen=True):
    """US dollars for a GB and month, without requests and traffic. ``source`` is the page of the list price, ``as_of``
    the month in which it was so."""

    store: str
    usd_gb_month: float
    source: str
    as_of: str


PRICES = (
    Price("Amazon S3 Standard, us-east-1, first 50 TB", 0.023, "https://aws.amazon.com/s3/pricing/", "2026-04"),
    Price("Google Cloud Storage Standard, us-central1", 0.020, "https://cloud.google.com/storage/pricing", "2026-04"),
    Price("Azure Blob Hot LRS, East US", 0.018, "https://azure.microsoft.com/pricing/details/storage/", "2026-04"),
    Price("Cloudflare R2", 0.015, "https://developers.cloudflare.com/r2/pricing/", "2026-04"),
    Price("Backblaze B2", 0.006, "https://www.backblaze.com/cloud-storage/pricing", "2026-04"),
    Price("Amazon EBS gp3, us-east-1, for a folder", 0.08, "https://aws.amazon.com/ebs/pricing/", "2026-04"),
)  # fmt: skip
OWN = "ETL_LAKE_USD_GB_MONTH"


class Growth(Struct, frozen=True):
    """``bytes`` now, and what a day adds: the mean of ``days`` whole days, 0 where there are none yet."""

    bytes: int
    bytes_a_day: int
    days: int


class Cost(Struct, frozen=True):
    """US dollars a month: now, and in 30 and 365 days at the growth of today."""

    store: str
    usd_gb_month: float
    usd_month: float
    usd_month_in_30_days: float
    usd_month_in_365_days: float
    source: str
    as_of: str


def growth(files: Sequence[File], today: date) -> Growth:
    """By the dates of the data: what a backfill brings of years ago is no growth."""
    whole = [file for file in files if file.date < today.isoformat()]
    earliest = (today - timedelta(days=GROWTH_DAYS_MAX)).isoformat()
    recent = [file for file in whole if file.date >= earliest]
    first = min((file.date for file in recent), default="")
    days = (today - date.fromisoformat(first)).days if first else 0
    a_day = sum(file.bytes for file in recent) // days if days else 0
    return Growth(sum(file.bytes for file in files), a_day, days)


def costs(grown: Growth, own_usd_gb_month: float = 0.0) -> list[Cost]:
    """At each of ``PRICES``, and at ``own_usd_gb_month`` first, where it is not 0."""
    own = [Price(OWN, own_usd_gb_month, "settings", "")] if own_usd_gb_month else []
    return [_cost(price, grown) for price in (*own, *PRICES)]


def _cost(price: Price, grown: Growth) -> Cost:
    def month(ahead_days: int) -> float:
        size = grown.bytes + ahead_days * grown.bytes_a_day
        return round(size / BYTES_PER_GB * price.usd_gb_month, 4)

    return Cost(price.store, price.usd_gb_month, month(0), month(30), month(365), price.source, price.as_of)
