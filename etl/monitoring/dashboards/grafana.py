"""The form of Grafana's dashboards: panels of expressions, placed in rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

DATASOURCE = {"type": "prometheus", "uid": "prometheus"}
SCHEMA_VERSION = 41
WIDTH = 24
"""Of Grafana's grid, in its units."""
HEIGHT_CHART, HEIGHT_NUMBER = 8, 4
RATE = "$__rate_interval"


class Panel(Struct, frozen=True):
    """``series``: (expression, legend) each. ``bad_from``: from there on the value is shown as bad; with ``bad_below``
    below it. ``is_number``: the newest value alone."""

    title: str
    unit: str
    series: Sequence[tuple[str, str]]
    width: int = 8
    is_number: bool = False
    stacked: bool = False
    bad_from: float | None = None
    bad_below: float | None = None
    text: str = ""


class Dashboard(Struct, frozen=True):
    """``rows``: (title, panels) each. ``variable``: (label, metric) by whose values it is chosen from."""

    uid: str
    title: str
    rows: Sequence[tuple[str, Sequence[Panel]]]
    variable: tuple[str, str] | None = None


def number(title: str, unit: str, expression: str, **values: Any) -> Panel:
    return Panel(title, unit, [(expression, "")], **{"width": 4, "is_number": True, **values})


def quantiles(
    metric: str, by: str = "", where: str = "", legend: str = "", window: str = RATE
) -> list[tuple[str, str]]:
    """The median and the 99th percentile of a histogram; without a ``window`` since its process's start, for what is
    rare."""
    grouped = f"le, {by}" if by else "le"
    counted = f"rate({metric}_bucket{where}[{window}])" if window else f"{metric}_bucket{where}"
    return [
        (
            f"histogram_quantile({q}, sum by ({grouped}) ({counted}))",
            f"{legend} {name}".strip(),
        )
        for q, name in ((0.5, "p50"), (0.99, "p99"))
    ]


def text_of(dashboard: Dashboard) -> str:
    """The file's content, which says the same at each making."""
    variables = [_variable(*dashboard.variable)] if dashboard.variable else []
    content = {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "tags": ["market-data"],
        "links": [
            {
                "type": "dashboards",
                "tags": ["market-data"],
                "title": "Others",
                "asDropdown": False,
                "keepTime": True,
            }
        ],
        "templating": {"list": variables},
        "panels": list(_placed(dashboard.rows)),
    }
    return msgspec.json.format(msgspec.json.encode(content), indent=1).decode() + "\n"


def _placed(rows: Sequence[tuple[str, Sequence[Panel]]]) -> Iterator[dict[str, Any]]:
    """Panels from left to right, a new line where one does not fit; each row under its title."""
    panel_id, y = 0, 0
    for title, panels in rows:
        panel_id += 1
        yield {
            "id": panel_id,
            "type": "row",
            "title": title,
            "collapsed": False,
            "panels": [],
            "gridPos": _at(0, y, WIDTH, 1),
        }
        x, y, height = 0, y + 1, 0
        for panel in panels:
            wanted = HEIGHT_NUMBER if panel.is_number else HEIGHT_CHART
            if x + panel.width > WIDTH or (height and wanted != height):
                x, y = 0, y + height
            panel_id, height = panel_id + 1, wanted
            yield _panel(panel, panel_id, _at(x, y, panel.width, height))
            x += panel.width
        y += height


def _at(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _panel(panel: Panel, panel_id: int, place: dict[str, int]) -> dict[str, Any]:
    options: dict[str, Any] = (
        {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "background_solid",
        }
        if panel.is_number
        else {
            "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    )
    custom = (
        {"fillOpacity": 20, "stacking": {"mode": "normal", "group": "A"}}
        if panel.stacked
        else {"fillOpacity": 0}
    )
    return {
        "id": panel_id,
        "type": "stat" if panel.is_number else "timeseries",
        "title": panel.title,
        "description": panel.text,
        "datasource": DATASOURCE,
        "gridPos": place,
        "options": options,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "thresholds": _thresholds(panel)}
            | ({} if panel.is_number else {"custom": custom}),
            "overrides": [],
        },
        "targets": [
            {"refId": chr(ord("A") + n), "expr": expression, "legendFormat": legend, "datasource": DATASOURCE}
            for n, (expression, legend) in enumerate(panel.series)
        ],
    }


def _thresholds(panel: Panel) -> dict[str, Any]:
    if panel.bad_below is not None:
        steps = [{"color": "red", "value": None}, {"color": "green", "value": panel.bad_below}]
    else:
        steps = [{"color": "green", "value": None}]
        if panel.bad_from is not None:
            steps.append({"color": "red", "value": panel.bad_from})
    return {"mode": "absolute", "steps": steps}


def _variable(label: str, metric: str) -> dict[str, Any]:
    query = f"label_values({metric}, {label})"
    return {
        "name": label,
        "type": "query",
        "label": "venue",
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": label},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }
