from __future__ import annotations

from pathlib import Path

import pytest

from etl import settings as settings_module
from etl.commands.stream import stream
from etl.errors import UsageError
from etl.reconcile.reconcile import metrics_ports_max
from etl.settings import Settings, make
from etl.up.plan import child_environment, parts
from etl.up.profiles import with_profile

SERVERS = {"kafka", "clickhouse", "timescale", "mailbox"}


def names(settings: Settings, with_airflow: bool = False) -> list[str]:
    return [part.name for part in parts(settings, with_airflow)]


def test_everything_is_started_where_no_url_is_set(tmp_path: Path) -> None:
    settings = make(state_dir=str(tmp_path), venues="binance,polygon")
    assert names(settings, with_airflow=True) == [
        *("kafka", "clickhouse", "timescale", "mailbox", "topics", "migrate"),
        *("simulate-binance", "stream-binance", "simulate-polygon", "stream-polygon", "sink-clickhouse"),
        *("airflow-bootstrap", "airflow-api-server", "airflow-dag-processor"),
        *("airflow-scheduler", "airflow-triggerer"),
    ]


def test_a_venue_without_a_stream_has_no_worker(tmp_path: Path) -> None:
    settings = make(state_dir=str(tmp_path), venues="alpaca,openfigi,fred")
    assert [name for name in names(settings) if name.startswith(("simulate-", "stream-"))] == [
        "simulate-alpaca", "stream-alpaca", "simulate-openfigi", "simulate-fred",
    ]  # fmt: skip
    files = make(state_dir=str(tmp_path), venues="nse")
    assert not [name for name in names(files) if name.endswith("nse")]
    live = make(state_dir=str(tmp_path), venues="alpaca,nse", live=True)
    assert [name for name in names(live) if name.startswith(("simulate-", "stream-"))] == ["stream-alpaca"]
    with pytest.raises(UsageError, match="openfigi has no stream"):
        stream("openfigi")


def test_the_gateway_is_ready_once_it_can_be_asked(tmp_path: Path) -> None:
    settings = make(state_dir=str(tmp_path), gateway_port=8061)
    gateway = parts(settings, False, with_gateway=True)[-1]
    assert gateway.name == "gateway"
    assert gateway.ports == {"metrics_port": gateway.metrics_port, "gateway_port": 8061}
    assert set(gateway.depends_on) == {"topics", "migrate", "kafka", "clickhouse"}


@pytest.mark.parametrize(
    ("setting", "url", "part"),
    [
        ("kafka_url", "kafka.example:9092", "kafka"),
        ("clickhouse_url", "http://clickhouse.example:8123/market", "clickhouse"),
        ("timescale_url", "postgresql://timescale.example/market", "timescale"),
        ("smtp_url", "smtp://mail.example", "mailbox"),
    ],
)
def test_nothing_is_started_for_a_server_whose_url_is_set(
    tmp_path: Path, setting: str, url: str, part: str
) -> None:
    settings = settings_module.load({"ETL_STATE_DIR": str(tmp_path), f"ETL_{setting.upper()}": url})
    planned = parts(settings, with_airflow=False)
    assert SERVERS - {planned_part.name for planned_part in planned} == {part}
    assert all(part not in planned_part.depends_on for planned_part in planned)


@pytest.mark.parametrize(
    ("url", "servers"),
    [
        ("redis", {"valkey"}),
        ("redis://redis.example", set()),
        ("kafka://kafka.example:9092", set()),
    ],
)
def test_the_transport_decides_which_broker_is_started(tmp_path: Path, url: str, servers: set[str]) -> None:
    planned = {part.name: part for part in parts(make(state_dir=str(tmp_path), transport_url=url), False)}
    assert {"kafka", "valkey"} & set(planned) == servers
    assert servers <= set(planned["topics"].depends_on)


@pytest.mark.parametrize(
    ("stores", "left_out"),
    [
        ("clickhouse,timescale,lake", set()),
        ("clickhouse,lake", {"timescale"}),
        ("timescale", {"clickhouse", "sink-clickhouse"}),
        ("lake", {"clickhouse", "sink-clickhouse", "timescale", "migrate"}),
    ],
)
def test_what_a_store_needs_is_started_where_it_is_kept(
    tmp_path: Path, stores: str, left_out: set[str]
) -> None:
    everything = parts(make(state_dir=str(tmp_path)), False, with_schedule=True)
    planned = parts(make(state_dir=str(tmp_path), stores=stores), False, with_schedule=True)
    names_planned = [part.name for part in planned]
    assert names_planned == [part.name for part in everything if part.name not in left_out]
    assert all(set(part.depends_on) <= set(names_planned) for part in planned)
    assert names_planned[-1] == "schedule"


def test_a_profile_stands_behind_ones_own_settings() -> None:
    light = with_profile(make(), "light")
    assert (light.transport.url, light.stores) == ("redis", ("clickhouse", "lake"))
    own = with_profile(make(stores="lake", topic_retention_h=48), "light")
    assert (own.transport.url, own.stores, own.topics.retention_h) == ("redis", ("lake",), 48)
    assert with_profile(make(), "") == make()
    with pytest.raises(UsageError, match="--profile small: there is light"):
        with_profile(make(), "small")


def test_no_airflow_is_started_where_its_url_is_set(tmp_path: Path) -> None:
    settings = make(state_dir=str(tmp_path), airflow_url="https://airflow.example")
    assert not [name for name in names(settings, with_airflow=True) if name.startswith("airflow")]


def test_no_simulator_is_started_for_live_venues(tmp_path: Path) -> None:
    settings = make(state_dir=str(tmp_path), venues="binance", live=True)
    planned = {part.name: part for part in parts(settings, with_airflow=False)}
    assert "simulate-binance" not in planned
    assert planned["stream-binance"].depends_on == ("topics", "kafka")


def test_every_dependency_is_planned_and_no_port_is_given_twice(tmp_path: Path) -> None:
    planned = parts(make(state_dir=str(tmp_path)), with_airflow=True)
    known = {part.name for part in planned}
    assert all(set(part.depends_on) <= known for part in planned)
    ports = [port for part in planned for port in part.ports.values()]
    assert len(ports) == len(set(ports))


def test_the_simulators_share_the_rate(tmp_path: Path) -> None:
    settings = make(state_dir=str(tmp_path), venues="binance,polygon", simulator_rate=3000.0)
    (simulator,) = [part for part in parts(settings, False) if part.name == "simulate-polygon"]
    assert simulator.command[-2:] == ("--rate", "1500.000")


def test_a_child_sees_the_settings_and_none_of_our_own_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETL_VENUES", "kraken")
    monkeypatch.setenv("ETL_CONFIG", "/nowhere.toml")
    monkeypatch.chdir(tmp_path)
    settings = make(state_dir="here", kafka_port=19092)
    seen = {name: text for name, text in child_environment(settings).items() if name.startswith("ETL_")}
    assert {name: text for name, text in seen.items() if not name.startswith("ETL_TEST_")} == {
        "ETL_STATE_DIR": str(tmp_path / "here"),
        "ETL_KAFKA_PORT": "19092",
    }


def test_a_supervised_sink_keeps_one_name_in_its_group_and_shares_it_with_no_other(tmp_path: Path) -> None:
    def name(settings: Settings) -> str | None:
        (sink,) = [part for part in parts(settings, False) if part.name == "sink-clickhouse"]
        return sink.environment.get("ETL_SINK_INSTANCE")

    here, there = (make(state_dir=str(tmp_path / place)) for place in ("here", "there"))
    assert name(here) == name(here) != name(there)
    assert name(make(state_dir=str(tmp_path), sink_instance="chosen")) is None


@pytest.mark.parametrize("count", [1, 8, 20])
def test_a_reconciliation_asks_the_metrics_port_of_every_part_of_all_venues(
    tmp_path: Path, count: int
) -> None:
    settings = make(state_dir=str(tmp_path), venues=",".join(f"venue{n}" for n in range(count)))
    ports = {part.metrics_port - settings.metrics.port for part in parts(settings, True)}
    assert max(ports) < metrics_ports_max(count) < 2 * count + 10
