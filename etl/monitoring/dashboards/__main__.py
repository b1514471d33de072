"""``python -m etl.monitoring.dashboards FOLDER`` writes every dashboard there."""

from __future__ import annotations

import sys
from pathlib import Path

from etl.monitoring.dashboards import DASHBOARDS
from etl.monitoring.dashboards.grafana import text_of

if __name__ == "__main__":
    for name, dashboard in DASHBOARDS.items():
        (Path(sys.argv[1]) / f"{name}.json").write_text(text_of(dashboard))
