from __future__ import annotations

import pytest

from etl.errors import EtlError, UsageError
from etl.model.addresses import shown
from etl.monitoring import mail
from etl.settings import make
from etl.stores import timescale
from etl.stores.clickhouse_http import parse_address


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
