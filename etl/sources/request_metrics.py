"""Prometheus metrics of the requests to a venue's history."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate

from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from etl.sources.limiter import SECONDS_BOUNDS, Account
from etl.telemetry.serve import counter, gauge


class RequestMetrics(Collector):
    """What all processes of this machine asked of a venue with one key: the worker, its repairs, backfills, DAGs."""

    def __init__(self, exchange: str, account: Callable[[], Account]) -> None:
        self._exchange = exchange
        self._account = account

    def collect(self) -> Iterator[Metric]:
        account, exchange = self._account(), self._exchange
        yield counter(
            "etl_rest_requests",
            "Requests to the venue by the status of their answer; 0 = none came",
            ["exchange", "status"],
            {(exchange, str(status)): n for status, n in account.statuses.items()},
        )
        seconds = HistogramMetricFamily("etl_rest_seconds", "Request to whole answer", labels=["exchange"])
        bounds = [*map(str, SECONDS_BOUNDS), "+Inf"]
        counts = accumulate(account.classes)
        seconds.add_metric([exchange], list(zip(bounds, counts, strict=True)), account.seconds)
        yield seconds
        yield gauge(
            "etl_rest_budget_ratio",
            "Share of the venue's budget of requests that may be spent at once",
            ["exchange"],
            {(exchange,): account.budget},
        )
        yield gauge(
            "etl_rest_shut_seconds",
            "Until the venue takes requests again after a refusal",
            ["exchange"],
            {(exchange,): account.shut_s},
        )
