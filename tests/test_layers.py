"""Imports point downwards, pure modules stay pure, and nothing in etl knows Airflow: read from the sources."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(
    path
    for path in (ROOT / "etl").rglob("*.py")
    if "node_modules" not in path.parts and path.name != "market_data_pb2.py"
)
LAYERS: tuple[tuple[str, ...], ...] = (
    (
        "etl.model.records",
        "etl.adapter.contract",
        "etl.errors",
        "etl.model.codes",
        "etl.model.decimals",
        "etl.model.instruments",
        "etl.model.tables",
    ),
    ("etl.exchanges", "etl.validation", "etl.sequencing", "etl.adapter.faults", "etl.wire"),
    ("etl.settings",),
    ("etl.transports",),
    ("etl.sources", "etl.sinks", "etl.telemetry.worker"),
    ("etl.ingest.intake",),
    ("etl.ingest.recovery", "etl.ingest.repair"),
    ("etl.ingest.worker",),
    ("etl.commands", "etl.cli", "etl.__main__"),
)
"""From the bottom up. A module may import its own layer and those above it in this list."""
PURE = {name for layer in LAYERS[:2] for name in layer}
IMPURE_MODULES = {
    "asyncio", "time", "os", "socket", "ssl", "select", "threading", "subprocess", "multiprocessing", "logging",
    "signal", "random", "urllib.request", "http", "requests", "aiohttp", "picows", "uvloop", "confluent_kafka",
    "psycopg", "clickhouse_connect", "redis", "sqlalchemy", "chdb", "duckdb", "structlog", "prometheus_client",
}  # fmt: skip


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    """Modules that the file imports, within functions too; not those for type checking alone."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def belongs(module: str, name: str) -> bool:
    return module == name or module.startswith(f"{name}.")


def layer_of(module: str) -> int | None:
    """The layer of the longest name in ``LAYERS`` that ``module`` lies under."""
    found = [
        (len(name), number) for number, layer in enumerate(LAYERS) for name in layer if belongs(module, name)
    ]
    return max(found)[1] if found else None


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if layer_of(module_of(path)) is not None], ids=module_of
)
def test_imports_point_downwards(path: Path) -> None:
    own = layer_of(module_of(path)) or 0
    upward = {name for name in imports(path) if (layer_of(name) or 0) > own}
    assert upward == set()


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if any(belongs(module_of(path), name) for name in PURE)], ids=module_of
)
def test_pure_modules_touch_no_clock_no_network_and_no_log(path: Path) -> None:
    touched = {name for name in imports(path) for impure in IMPURE_MODULES if belongs(name, impure)}
    assert touched == set()


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_nothing_in_etl_imports_airflow_or_the_dags(path: Path) -> None:
    assert not [name for name in imports(path) if belongs(name, "airflow") or belongs(name, "dags")]


def test_simulated_venues_share_no_code_with_the_parsers_they_judge() -> None:
    shared = {
        (module_of(path), name)
        for path in SOURCES
        if belongs(module_of(path), "etl.simulator")
        for name in imports(path)
        if belongs(name, "etl.exchanges")
    }
    assert shared == set()
