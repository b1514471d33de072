"""Imports point downwards, pure packages stay pure, and nothing in etl knows Airflow: read from the sources."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ORDER = (
    "errors", "resources", "settings", "lazy", "crash",
    "model", "wire", "client", "adapter", "exchanges", "sequencing", "validation", "express", "telemetry",
    "transports", "sources", "lake", "stores", "reference", "sinks", "ingest",
    "embedded", "monitoring", "gateway", "simulator", "reconcile", "audit", "jobs", "backup", "up",
    "bench", "commands", "cli", "documentation", "__main__",
)  # fmt: skip
"""The packages of ``etl`` and the modules at its root, from the bottom up: each may import those before it. DAGs
and plugins stand above all of them."""
PURE = {"errors", "model", "wire", "adapter", "exchanges", "sequencing", "validation", "express"}
IMPURE_MODULES = {
    "asyncio", "time", "os", "socket", "ssl", "select", "threading", "subprocess", "multiprocessing", "logging",
    "signal", "random", "urllib.request", "http", "requests", "aiohttp", "picows", "uvloop", "confluent_kafka",
    "psycopg", "clickhouse_connect", "redis", "sqlalchemy", "chdb", "duckdb", "structlog", "prometheus_client",
}  # fmt: skip
CLIENTS = {"confluent_kafka", "redis", "hiredis"}
"""Of the transports."""

SOURCES = sorted(path for path in (ROOT / "etl").rglob("*.py") if "node_modules" not in path.parts)
GLUE = sorted(path for folder in ("dags", "plugins") for path in (ROOT / folder).rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports(path: Path) -> set[str]:
    """Modules that the file imports, within functions too, and what it takes from them."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{path}: a relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def belongs(module: str, name: str) -> bool:
    return module == name or module.startswith(f"{name}.")


def room_of(module: str) -> str:
    """``etl.model.records`` → ``model``; "" outside of ``etl`` and for ``etl`` itself."""
    package, _, rest = module.partition(".")
    return rest.partition(".")[0] if package == "etl" else ""


def rooms_imported(path: Path) -> set[str]:
    return {room for name in imports(path) if (room := room_of(name)) in ORDER}


def test_the_order_names_every_room_and_no_other() -> None:
    rooms = {room for path in SOURCES if (room := room_of(module_of(path)))}
    assert rooms == set(ORDER)


def test_at_the_root_of_etl_nothing_lies_loose() -> None:
    loose = {path.stem for path in (ROOT / "etl").glob("*.py")}
    assert loose == {"errors", "resources", "crash", "lazy", "cli", "__init__", "__main__"}


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_imports_point_downwards(path: Path) -> None:
    """An order in which every import points down has no circle either."""
    room = room_of(module_of(path))
    if not room:
        return
    upward = {other for other in rooms_imported(path) if ORDER.index(other) > ORDER.index(room)}
    assert upward == set()


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_pure_packages_touch_no_clock_no_network_and_no_log(path: Path) -> None:
    if room_of(module_of(path)) not in PURE:
        return
    touched = {name for name in imports(path) for impure in IMPURE_MODULES if belongs(name, impure)}
    assert touched == set()


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_a_transports_client_is_known_to_the_transports_and_to_its_server_alone(path: Path) -> None:
    if room_of(module_of(path)) in {"transports", "embedded"}:
        return
    clients = {name for name in imports(path) for client in CLIENTS if belongs(name, client)}
    assert clients == set()


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_nothing_in_etl_imports_airflow_or_what_stands_above_it(path: Path) -> None:
    above = ("airflow", "dags", "plugins", "tests")
    assert not [name for name in imports(path) if any(belongs(name, top) for top in above)]


@pytest.mark.parametrize("path", GLUE, ids=module_of)
def test_a_dag_imports_etl_and_plugins_and_a_plugin_imports_etl(path: Path) -> None:
    barred = {file.stem for file in GLUE if file.parent.name == "dags" or path.parent.name == "plugins"}
    imported = {name.partition(".")[0] for name in imports(path)}
    assert not imported & (barred - {path.stem})


def test_simulated_venues_share_no_code_with_the_parsers_they_judge() -> None:
    shared = {
        (module_of(path), name)
        for path in SOURCES
        if room_of(module_of(path)) == "simulator"
        for name in imports(path)
        if belongs(name, "etl.exchanges")
    }
    assert shared == set()
