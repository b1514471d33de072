from __future__ import annotations

from pathlib import Path

import pytest

from etl.adapter.contract import Request
from etl.adapter.paging import next_url
from etl.embedded import airflow
from etl.errors import EtlError, UsageError, VenueError
from etl.lake.storage import open_storage
from etl.model.addresses import shown
from etl.model.records import Kind
from etl.monitoring import mail
from etl.settings import load, make
from etl.stores import timescale
from etl.stores.clickhouse_http import parse_address
from etl.stores.query import query
from etl.transports.kafka_backlogs import backlogs


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://h:8123/market", "http://h:8123/market"),
        ("https://ann:s3cret@h:8443/market?verify=false", "https://ann:…@h:8443/market"),
        ("http://h/market?user=ann&password=s3cret", "http://h/market"),
        ("http://ann:s3%40cret@[::1]:8123/m", "http://ann:…@[::1]:8123/m"),
        ("postgresql://ann:s3cret@a:1,b:2/db?sslmode=require", "postgresql://ann:…@a:1,b:2/db"),
        ("postgresql:///db?host=h&user=ann&password=s3cret", "postgresql:///db"),
        ("postgresql://:s3cret@h/db", "postgresql://:…@h/db"),
        ("host=h port=5432 user=ann password=s3cret dbname=db", "host=h port=5432 user=ann dbname=db"),
        ("host = h password = 's3cret'", "…"),
        ("password=s3cret", "…"),
        ("smtp://ann:s3cret@h:587/?disable_ssl=true", "smtp://ann:…@h:587/"),
        ("s3://bucket/lake?access_key=a&secret_key=s3cret", "s3://bucket/lake"),
        ("s3://key:s3cret@bucket/lake?region=x", "s3://key:…@bucket/lake"),
        ("file:///data/lake", "file:///data/lake"),
        ("/data/lake", "/data/lake"),
        ("var/lake", "var/lake"),
        ("kafka:9092,other:9092", "kafka:9092,other:9092"),
        ("sqlite:////state/airflow.db", "sqlite:////state/airflow.db"),
        ("postgresql+psycopg://ann:s3cret@h/db", "postgresql+psycopg://ann:…@h/db"),
        # mistyped
        ("postgresql//ann:s3cret@h/db", "…"),
        ("postgres:/ann:s3cret@h/db", "…"),
        ("ann:s3cret@h:5432/db", "…"),
        ("http://ann:s3/cret@h/db", "…"),
        ("http://ann:s3?cret@h/db", "…"),
        ("http://ann:s3#cret@h/db", "…"),
        ("http://ann:s3@cret@h/db", "http://…"),
        ("http://h:s3cret/db", "…"),
        ("http ://ann:s3cret@h", "…"),
        ("host=h password=s3 cret", "host=h"),
        ("host=ann:s3cret@h", "…"),
    ],
)
def test_an_address_is_shown_without_its_password(address: str, expected: str) -> None:
    assert shown(address) == expected
    assert "s3" not in expected.replace("s3://", "")


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://ann:s3cret@127.0.0.1:1/db",
        "postgresql://127.0.0.1:1/db?user=ann&password=s3cret",
        "host=127.0.0.1 port=1 user=ann password=s3cret",
        "host=127.0.0.1 port=1 password=x s3cret",
        "postgresql://ann:s3cret@127.0.0.1:1x/db",
        "postgresql//ann:s3cret@h/db",
        "ann:s3cret@h:5432/db",
        "postgresql://ann:s3cret@127.0.0.1:1/db?s3cret",
    ],
)
def test_an_error_of_timescaledb_repeats_no_password(address: str) -> None:
    with pytest.raises(EtlError) as raised:
        timescale.connect(make(timescale_url=address))
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    "place", ["ann:s3cret/x@h/db", "h:s3cret/db", "ann@h/s3cret-x", "h/db?s3cret=1", "[s3cret/db"]
)
def test_an_address_that_is_none_is_refused_without_being_repeated(place: str) -> None:
    for parse, scheme in ((parse_address, "http"), (mail._parse, "smtp")):
        try:
            parse(f"{scheme}://{place}")
            text = ""
        except UsageError as error:
            text = str(error)
        assert "s3cret" not in text


SECRET = "s3cret"
LEGAL = {
    "clickhouse_url": [
        f"http://ann:{SECRET}@127.0.0.1:1/market",
        f"https://ann:{SECRET}%40x@127.0.0.1:1/market?verify=false",
        f"http://:{SECRET}@127.0.0.1:1",
    ],
    "timescale_url": [
        f"postgresql://ann:{SECRET}@127.0.0.1:1/db",
        f"postgres://ann:{SECRET}%2Fx@127.0.0.1:1/db?sslmode=prefer",
        f"postgresql://127.0.0.1:1/db?user=ann&password={SECRET}",
        f"postgresql:///db?host=127.0.0.1&port=1&password={SECRET}",
        f"host=127.0.0.1 port=1 user=ann password={SECRET}",
        f"host=127.0.0.1 port=1 user=ann password='{SECRET} x'",
        f"host = 127.0.0.1 port = 1 password = {SECRET}",
    ],
    "timescale_analyst_url": [f"postgresql://ann:{SECRET}@127.0.0.1:1/db"],
    "smtp_url": [
        f"smtp://ann:{SECRET}@127.0.0.1:1/?disable_ssl=true&disable_tls=true&from_email=a@b",
        f"smtp://ann:{SECRET}%40x@127.0.0.1:1",
    ],
    "airflow_url": [f"http://ann:{SECRET}@127.0.0.1:1", f"http://ann:{SECRET}%40x@127.0.0.1:1/air"],
    "lake_url": [f"s3://key:{SECRET}@bucket/lake?endpoint_override=127.0.0.1:1&scheme=http&region=x"],
    "kafka_url": ["127.0.0.1:1"],
}
"""Every setting that is an address: its legal forms, of a server that is down."""


def mistyped(setting: str) -> list[str]:
    schemes = {"kafka_url": "", "lake_url": "s3://", "smtp_url": "smtp://"}
    start = schemes.get(setting, "postgresql://" if setting.startswith("timescale") else "http://")
    place = "127.0.0.1:1/db"
    return [
        f"{start}ann:{SECRET}/x@{place}",
        f"{start}ann:x/{SECRET}@{place}",
        f"{start}ann:12/{SECRET}@{place}",
        f"{start}ann:12?{SECRET}@{place}",
        f"{start}ann:12#{SECRET}@{place}",
        f"{start}ann:x@{SECRET}@{place}",
        f"{start}ann:{SECRET}@x@{place}",
        f"{start}ann:{SECRET}%zz@{place}",
        f"{start}ann:{SECRET}\u00e9@{place}",
        f"{start}ann:{SECRET}%0Ax@{place}",
        f"{start}127.0.0.1:{SECRET}/db",
        f"{start}[{SECRET}/db",
        f"{start.replace(':', '')}ann:{SECRET}@{place}",
        f"{start.replace('//', '/')}ann:{SECRET}@{place}",
        f"{SECRET}@{place}",
        f"host=127.0.0.1 port=1 pasword={SECRET}",
        f"host=127.0.0.1 port=1 password=x {SECRET}",
        f"host=ann:{SECRET}@h port=1",
    ]


def use(setting: str, address: str) -> None:
    """Raises what the one who set it would read."""
    settings = load({f"ETL_{setting.upper()}": address})
    if setting == "clickhouse_url":
        query(settings, "clickhouse", "SELECT 1")
    elif setting == "timescale_url":
        timescale.connect(settings)
    elif setting == "timescale_analyst_url":
        query(settings, "timescale", "SELECT 1")
    elif setting == "smtp_url":
        mail.send(mail.Mail("s", "t"), settings)
    elif setting == "airflow_url":
        raise EtlError(airflow.url(settings))
    elif setting == "lake_url":
        open_storage(settings)
        raise EtlError(shown(settings.lake_path))
    else:
        backlogs(settings, 0.2)


@pytest.mark.parametrize(
    ("setting", "address"),
    [(setting, address) for setting, legal in LEGAL.items() for address in [*legal, *mistyped(setting)]],
)
def test_no_error_of_any_address_repeats_a_password(
    setting: str, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where a mistyped folder would be made
    monkeypatch.setattr(timescale, "CONNECT_TIMEOUT_S", 2)
    with pytest.raises(EtlError) as raised:
        use(setting, address)
    assert SECRET not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert [path for path in tmp_path.rglob("*") if SECRET in path.name] == []


def test_a_next_page_that_is_none_is_named_without_its_key() -> None:
    first = Request("/v3/trades", Kind.TRADE, "AAPL")
    for url in (
        f"https://h:1[x/v3?apiKey={SECRET}",
        f"https://ann:{SECRET}@h?apiKey={SECRET}",
        f"?apiKey={SECRET}",
    ):
        with pytest.raises(VenueError) as raised:
            next_url(first, url)
        assert SECRET not in str(raised.value)
