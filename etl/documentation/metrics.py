"""Every metric that a process serves, read from the sources: the call that makes one has its name, help and labels."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from etl.documentation.tables import table

ROOT = Path(__file__).resolve().parents[2]
MAKERS = {
    "counter": "counter", "gauge": "gauge", "histogram": "histogram", "Counter": "counter", "Gauge": "gauge",
    "Histogram": "histogram", "Summary": "summary", "CounterMetricFamily": "counter", "GaugeMetricFamily": "gauge",
    "HistogramMetricFamily": "histogram",
}  # fmt: skip
PREFIX = "etl_"
WORKERS = "_Family"
"""A line of ``etl/telemetry/worker.py``: a maker and what it is given; all are by exchange."""
LEFT_OUT = ("bench", "simulator")

_HEAD = """\
# Metrics

{made}

Prometheus text, on `ETL_METRICS_PORT` of each process; `etl up` gives each part a port of its own, and `etl_part_info`
on the first of them leads to all. A histogram has `_bucket`, `_sum` and `_count` behind its name.
"""


class MetricLine(Struct, frozen=True, order=True):
    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str
    module: str


def page(made: str) -> str:
    rows = [
        (
            f"`{each.name}`",
            each.kind,
            ", ".join(f"`{label}`" for label in each.labels),
            each.meaning,
            f"`{each.module}`",
        )
        for each in sorted(set(metrics()))
    ]
    return "\n".join([_HEAD.format(made=made), *table(("metric", "", "labels", "", "made in"), rows)]) + "\n"


def metrics() -> Iterator[MetricLine]:
    for folder in ("etl", "plugins"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).parts
            if "node_modules" not in parts and not set(LEFT_OUT) & set(parts):
                yield from _of(path)


def _of(path: Path) -> Iterator[MetricLine]:
    module = path.relative_to(ROOT).as_posix()
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call) or len(node.args) < 2:
            continue
        common: tuple[str, ...] = ()
        maker, arguments = _name(node.func), node.args
        if maker == WORKERS:
            maker, arguments, common = _name(node.args[0]), node.args[1:], ("exchange",)
        name, meaning = (_text(argument) for argument in arguments[:2])
        if maker in MAKERS and name.startswith(PREFIX):
            kind = MAKERS[maker]
            counted = f"{name.removesuffix('_total')}_total" if kind == "counter" else name
            given = [keyword.value for keyword in node.keywords if keyword.arg in ("labels", "labelnames")]
            yield MetricLine(counted, kind, (*common, *_labels([*arguments[2:3], *given])), meaning, module)


def _labels(nodes: list[ast.expr]) -> tuple[str, ...]:
    for node in nodes:
        if isinstance(node, ast.List | ast.Tuple):
            return tuple(filter(None, map(_text, node.elts)))
    return ()


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
