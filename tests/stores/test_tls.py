"""The stores over TLS: each client, through a front that ends it before the embedded server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from etl.audit.expectations import run_expectations
from etl.errors import StoreUnavailable, UsageError
from etl.lake.bucket import ObjectStorage
from etl.lake.storage import open_storage
from etl.settings import Settings, changed, make
from etl.sinks.load import load_timescale
from etl.stores import timescale
from etl.stores.migrate import migrate_clickhouse, migrate_timescale
from etl.stores.query import query
from tests.support import stream
from tests.support.bucket import running_bucket
from tests.support.certificates import Authority
from tests.support.lake import export_records
from tests.support.tls_front import tls_front

pytestmark = pytest.mark.integration


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "stranger")


@pytest.fixture
def clickhouse(settings_with: Callable[..., Settings], authority: Authority) -> Iterator[Settings]:
    """Its address lacks the authority."""
    plain = settings_with(clickhouse=True)
    parts = urlsplit(plain.clickhouse.url)
    with tls_front(parts.port or 0, authority.identity()) as port:
        place = parts.netloc.replace(f":{parts.port}", f":{port}")
        yield changed(plain, clickhouse_url=f"https://{place}{parts.path}")


def test_clickhouse_is_reached_over_tls(clickhouse: Settings, authority: Authority) -> None:
    settings = changed(clickhouse, clickhouse_url=f"{clickhouse.clickhouse.url}?ca_file={authority.ca_file}")
    assert migrate_clickhouse(settings)
    assert query(settings, "clickhouse", "SELECT count() AS n FROM trades").rows == [(0,)]


def test_a_clickhouse_that_cannot_prove_who_it_is_hears_no_password(
    clickhouse: Settings, authority: Authority, stranger: Authority
) -> None:
    url = clickhouse.clickhouse.url
    for refused in (
        url,
        f"{url}?ca_file={stranger.ca_file}",
        f"{url}?ca_file={authority.ca_file}".replace("127.0.0.1", "localhost"),
    ):
        with pytest.raises(StoreUnavailable, match="certificate verify failed"):
            query(changed(clickhouse, clickhouse_url=refused), "clickhouse", "SELECT 1")
    with pytest.raises(UsageError, match=r"^clickhouse_url: ca_file /nowhere\.pem: .*No such file"):
        query(changed(clickhouse, clickhouse_url=f"{url}?ca_file=/nowhere.pem"), "clickhouse", "SELECT 1")
    with pytest.raises(StoreUnavailable):
        query(changed(clickhouse, clickhouse_url=url.replace("https", "http")), "clickhouse", "SELECT 1")


@pytest.fixture
def front(settings_with: Callable[..., Settings], authority: Authority) -> Iterator[tuple[Settings, int]]:
    """The front's port, and settings that know only the server behind it."""
    plain = settings_with(timescale=True, kafka=True)
    with tls_front(urlsplit(plain.timescale.url).port or 0, authority.identity(), postgres=True) as port:
        yield plain, port


@pytest.mark.parametrize("form", ["url", "pairs"])
def test_every_client_of_timescaledb_goes_over_tls(
    front: tuple[Settings, int], authority: Authority, form: str
) -> None:
    plain, port = front
    by_form = {
        "url": f"postgresql://postgres:p$w%40d@127.0.0.1:{port}/postgres?sslmode=verify-full&sslrootcert={authority.ca_file}",
        "pairs": f"host=127.0.0.1 port={port} user=postgres dbname=postgres sslmode=verify-full "
        f"sslrootcert={authority.ca_file}",
    }
    settings = changed(plain, timescale_url=by_form[form])
    migrate_timescale(settings)
    stream.publish(settings, stream.trade(1))
    load_timescale(settings)
    with timescale.session(settings) as connection:
        assert connection.pgconn.ssl_in_use
        assert connection.execute("SELECT count(*) FROM trades").fetchall() == [(1,)]
        connection.execute("DELETE FROM trades")
    assert list(run_expectations(settings, date(2026, 6, 1))) == []


def test_a_timescaledb_that_cannot_prove_who_it_is_is_refused(
    front: tuple[Settings, int], authority: Authority, stranger: Authority
) -> None:
    plain, port = front
    strict = f"postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=verify-full&sslrootcert="
    for url, reason in (
        (f"{strict}{stranger.ca_file}", "certificate verify failed"),
        (f"{strict}{authority.ca_file}".replace("@127.0.0.1", "@localhost"), "does not match host name"),
        (f"{strict}/nowhere.pem", "nowhere.pem"),
        (f"postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=disable", "closed"),
    ):
        with pytest.raises(StoreUnavailable, match=reason):
            timescale.connect(changed(plain, timescale_url=url))


@pytest.fixture
def bucket(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The lake's address, without the authority."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with (
        running_bucket() as (address, _),
        tls_front(int(address.rpartition(":")[2]), authority.identity()) as port,
    ):
        yield f"s3://lake/prefix?endpoint_override=127.0.0.1:{port}&region=us-east-1"


def test_a_bucket_is_written_and_read_over_tls(bucket: str, authority: Authority, settings: Settings) -> None:
    safe = changed(settings, lake_url=f"{bucket}&tls_ca_file_path={authority.ca_file}")
    export_records(safe, [stream.trade(1)])
    assert query(safe, "lake", "SELECT count(*) AS n FROM trades").rows == [(1,)]


def test_a_bucket_that_cannot_prove_who_it_is_is_refused(bucket: str, stranger: Authority) -> None:
    for refused in (bucket, f"{bucket}&tls_ca_file_path={stranger.ca_file}"):
        storage = open_storage(make(lake_url=refused))
        assert isinstance(storage, ObjectStorage)
        with pytest.raises(StoreUnavailable, match=r"(?i)ssl|certificate|network"):
            storage.put("a", b"x")
