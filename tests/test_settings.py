"""The settings: sections, their names in the environment and the TOML file, and that nothing else reads it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from etl.errors import UsageError
from etl.settings import (
    NAMES,
    Settings,
    as_environment,
    changed,
    load,
    make,
    value_of,
    venue_key,
)

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "settings.md"


ACCESS: dict[str, object] = {
    "kafka_url": "broker:9093", "kafka_security_protocol": "SASL_SSL", "kafka_sasl_mechanism": "PLAIN",
    "kafka_user": "one", "kafka_password": "two", "kafka_ca_file": "ca.pem", "kafka_certificate_file": "c.pem",
    "kafka_key_file": "k.pem", "kafka_key_password": "three", "kafka_verify_host": False,
}  # fmt: skip
"""Settings of which few go without the others."""

CERTIFICATE: dict[str, object] = {"gateway_certificate_file": "c.pem", "gateway_key_file": "k.pem"}


def other_values(name: str) -> dict[str, object]:
    """Another than the default for this setting, and for those that it needs."""
    if name in ACCESS:
        return ACCESS
    if name in CERTIFICATE:
        return CERTIFICATE
    if name == "transport_url":
        return {name: "redis"}
    if name == "stores":
        return {name: ("lake", "clickhouse")}
    value = value_of(Settings(), name)
    if isinstance(value, bool):
        return {name: not value}
    if isinstance(value, tuple):
        return {name: ("one", "two")}
    return {name: value + 1 if isinstance(value, int | float) else "other"}


@pytest.mark.parametrize("name", NAMES)
def test_each_setting_goes_through_the_environment_and_back(name: str) -> None:
    values = other_values(name)
    settings = make(**values)
    environment = as_environment(settings)
    assert set(environment) == {f"ETL_{each.upper()}" for each in values}
    assert load(environment) == settings
    assert value_of(settings, name) == values[name]


@pytest.mark.parametrize("name", NAMES)
def test_each_setting_is_read_from_its_table_of_the_file(name: str, tmp_path: Path) -> None:
    values = other_values(name)
    section, _ = NAMES[name]
    lines = [f"[{section}]"] if section else []
    for each, value in values.items():
        text = f"{list(value)}" if isinstance(value, tuple) else str(value).lower()
        lines.append(f"{NAMES[each][1]} = " + (f'"{value}"' if isinstance(value, str) else text))
    file = tmp_path / "etl.toml"
    file.write_text("\n".join(lines))
    assert load({"ETL_CONFIG": str(file)}) == make(**values)


def test_only_stores_that_there_are_can_be_kept() -> None:
    assert make(stores="lake").keeps("lake")
    assert not make(stores="lake").keeps("lake", "timescale")
    for text in ("", "lake,tape"):
        with pytest.raises(UsageError, match="stores must be of clickhouse, timescale, lake"):
            load({"ETL_STORES": text})


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "etl.toml"
    file.write_text('live = true\n[kafka]\nurl = "file:1"\nport = 7\n')
    settings = load({"ETL_CONFIG": str(file), "ETL_KAFKA_URL": "environment:2"})
    assert settings == make(kafka_url="environment:2", kafka_port=7, live=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[kafka]\nprot = 1\n", "[kafka] prot: no such setting"),
        ("[cafka]\nport = 1\n", "[cafka] port: no such setting"),
        ("kafka_prot = 1\n", "kafka_prot: no such setting"),
        ('[kafka]\nport = "many"\n', "settings: kafka_port: "),
        ("[kafka\n", "Expected"),
    ],
)
def test_a_bad_file_is_refused_in_one_line_that_names_the_key(
    text: str, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "etl.toml"
    file.write_text(text)
    with pytest.raises(UsageError) as refused:
        load({"ETL_CONFIG": str(file)})
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_unknown_variable_is_refused_and_those_of_the_tests_are_passed_over() -> None:
    with pytest.raises(UsageError, match=r"^ETL_KAFKA_PROT: no such setting"):
        load({"ETL_KAFKA_PROT": "1"})
    assert load({"ETL_TEST_KAFKA": "1", "KAFKA_PORT": "2"}) == Settings()


def test_lists_are_stripped() -> None:
    settings = load({"ETL_VENUES": " binance , polygon,", "ETL_BACKFILL_DAILY_KINDS": "trade, bar"})
    assert settings.venues.names == ("binance", "polygon")
    assert settings.backfill.daily_kinds == ("trade", "bar")


def test_spaces_around_a_value_mean_nothing_wherever_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('venues = [" binance ", "", "polygon"]\nstate_dir = " var/x\\n"\n')
    settings = load(
        {"ETL_CONFIG": str(file), "ETL_LIVE": " true ", "ETL_METRICS_PORT": "9000 ", "ETL_MAIL_TO": " a@b\n"}
    )
    assert settings.venues.names == ("binance", "polygon")
    assert (settings.state_dir, settings.mail.to) == ("var/x", "a@b")
    assert (settings.venues.live, settings.metrics.port) == (True, 9000)
    assert make(kafka_password=" kept ").kafka.password == " kept "
    with pytest.raises(UsageError, match="settings: venues: Expected `array`, got `int`"):
        make(venues=5)


def test_every_text_and_list_of_the_settings_is_stripped() -> None:
    texts = [name for name in NAMES if isinstance(value_of(Settings(), name), str) and "password" not in name]
    lists = [name for name in NAMES if isinstance(value_of(Settings(), name), tuple)]
    settings = make(**dict.fromkeys(texts, " a "), **dict.fromkeys(lists, (" a ", " ")))
    assert {name: value_of(settings, name) for name in texts} == dict.fromkeys(texts, "a")
    assert {name: value_of(settings, name) for name in lists} == dict.fromkeys(lists, ("a",))


def test_a_venues_key_is_the_first_that_is_more_than_spaces() -> None:
    assert venue_key(("A", "B", "C"), {"A": " ", "B": " key\n", "C": "c"}) == "key"
    assert venue_key(("A", "D"), {"A": " "}) is None


def test_changing_one_setting_leaves_the_others() -> None:
    settings = make(sink_linger_ms=7, live=True)
    assert changed(settings, sink_instance="a") == make(sink_linger_ms=7, live=True, sink_instance="a")
    with pytest.raises(KeyError):
        changed(settings, sink_lingers=1)


def test_the_names_that_people_use_stay() -> None:
    kept = {
        "kafka_url", "clickhouse_url", "timescale_url", "smtp_url", "lake_url", "airflow_url", "bind_host",
        "state_dir", "venues", "live", "metrics_port", "dag_metrics_port", "mail_to", "mail_from", "sink_instance",
        "topic_partitions", "load_deadline_s", "raw_topic", "kafka_port",
    }  # fmt: skip
    assert kept <= set(NAMES)


def test_the_document_lists_every_setting_with_its_default() -> None:
    text = DOCUMENT.read_text()
    for name, (section, field) in NAMES.items():
        default = value_of(Settings(), name)
        shown = ",".join(default) if isinstance(default, tuple) else default
        shown = str(shown).lower() if isinstance(shown, bool) else str(shown)
        key = f"{section}.{field}" if section else field
        assert f"| `ETL_{name.upper()}` | `{key}` | {f'`{shown}`' if shown else ''} |" in text


def test_nothing_but_the_settings_reads_the_environment() -> None:
    readers = set()
    for folder in ("etl", "dags", "plugins"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
                if name in {"environ", "getenv"}:
                    readers.add(path.relative_to(ROOT).as_posix())
    # two libraries of the stores are told something before they start
    told = {"etl/embedded/clickhouse.py", "etl/audit/expectations.py"}
    assert readers - told == {"etl/settings/__init__.py"}


def test_a_file_of_the_secrets_folder_counts_as_the_variable_of_its_name(tmp_path: Path) -> None:
    """As Kubernetes mounts a Secret: links to files of a folder that begins with a dot."""
    (tmp_path / "..2026_11_30").mkdir()
    (tmp_path / "..2026_11_30" / "ETL_CLICKHOUSE_URL").write_text("http://etl:word@host:8123/market\n")
    (tmp_path / "ETL_CLICKHOUSE_URL").symlink_to("..2026_11_30/ETL_CLICKHOUSE_URL")
    (tmp_path / "POLYGON_API_KEY").write_text("key\n")
    (tmp_path / "ETL_LOG_LEVEL").write_text("DEBUG")
    (tmp_path / "notes.txt").write_text("none")
    environment = {"ETL_SECRETS_DIR": str(tmp_path), "ETL_LOG_LEVEL": "WARNING"}
    settings = load(environment)
    assert settings.clickhouse.url == "http://etl:word@host:8123/market"
    assert settings.log_level == "WARNING"
    assert venue_key(("MASSIVE_API_KEY", "POLYGON_API_KEY"), environment) == "key"


def test_a_secrets_folder_that_cannot_be_read_or_has_an_unknown_setting_is_said_to_without_its_text(
    tmp_path: Path,
) -> None:
    with pytest.raises(UsageError, match="ETL_SECRETS_DIR=/nowhere: No such file or directory"):
        load({"ETL_SECRETS_DIR": "/nowhere"})
    (tmp_path / "ETL_CLICKHOUSE_ULR").write_text("http://etl:word@host:8123/market")
    with pytest.raises(UsageError, match="ETL_CLICKHOUSE_ULR: no such setting") as caught:
        load({"ETL_SECRETS_DIR": str(tmp_path)})
    assert "word" not in str(caught.value)
    (tmp_path / "ETL_CLICKHOUSE_ULR").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="not UTF-8"):
        load({"ETL_SECRETS_DIR": str(tmp_path)})
