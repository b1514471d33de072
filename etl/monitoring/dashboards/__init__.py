"""Grafana's dashboards, made here: ``python -m etl.monitoring.dashboards docker/grafana/dashboards`` writes them.

Expressions count over all processes that serve the same metric, so that they hold for one machine and for many.
"""

from __future__ import annotations

from etl.monitoring.dashboards.overview import OVERVIEW
from etl.monitoring.dashboards.stores import STORES
from etl.monitoring.dashboards.venue import VENUE_PAGE

DASHBOARDS = {"overview": OVERVIEW, "venue": VENUE_PAGE, "stores": STORES}
"""By the name of its file."""
