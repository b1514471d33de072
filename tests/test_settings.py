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
)

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "settings.md"


def other_value(name: str) -> object:
    value = value_of(Settings(), name)
    if isinstance(value, bool):
        return not value
    if isinstance(value, tuple):
        return ("one", "two")
    return value + 1 if isinstance(value, int | float) else "other"


@pytest.mark.parametrize("name", NAMES)
def test_each_setting_goes_through_the_environment_and_back(name: str) -> None:
    settings = make(**{name: other_value(name)})
    environment = as_environment(settings)
    assert list(environment) == [f"ETL_{name.upper()}"]
    assert load(environment) == settings
    assert value_of(settings, name) == other_value(name)


@pytest.mark.parametrize("name", NAMES)
def test_each_setting_is_read_from_its_table_of_the_file(name: str, tmp_path: Path) -> None:
    section, field = NAMES[name]
    value = other_value(name)
    text = f"{list(value)}" if isinstance(value, tuple) else str(value).lower()
    if isinstance(value, str):
        text = f'"{value}"'
    file = tmp_path / "etl.toml"
    file.write_text(f"[{section}]\n{field} = {text}\n" if section else f"{field} = {text}\n")
    assert load({"ETL_CONFIG": str(file)}) == make(**{name: value})


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
