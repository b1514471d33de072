"""One venue, or several: chosen at the top of the page."""

from __future__ import annotations

from etl.monitoring.dashboards.grafana import RATE, Dashboard, Panel, number, quantiles

VENUE = 'exchange=~"$exchange"'


def _venue(metric: str, by: str, window: str = RATE, function: str = "rate") -> str:
    return f"sum by ({by}) ({function}({metric}{{{VENUE}}}[{window}]))"


VENUE_PAGE = Dashboard(
    "market-data-venue",
    "Market data: a venue",
    [
        (
            "Now",
            [
                number("Connections up", "short", f"sum(etl_connection_up{{{VENUE}}})", bad_below=1),
                number("Market open", "short", f"min(etl_market_open{{{VENUE}}})"),
                number("Events", "ops", f"sum(rate(etl_events_total{{{VENUE}}}[{RATE}]))"),
                number(
                    "Age of the last event",
                    "s",
                    f"time() - max(etl_last_receive_timestamp_seconds{{{VENUE}}})",
                    bad_from=60,
                ),
                number("Repairs waiting", "short", f"sum(etl_repairs_pending{{{VENUE}}})", bad_from=1_000),
                number(
                    "Not acknowledged",
                    "short",
                    f"sum(etl_publisher_pending_messages{{{VENUE}}})",
                    bad_from=25_000,
                ),
            ],
        ),
        (
            "What comes",
            [
                Panel(
                    "Events by kind", "ops", [(_venue("etl_events_total", "kind"), "{{kind}}")], stacked=True
                ),
                Panel("Frames", "ops", [(_venue("etl_frames_total", "exchange"), "{{exchange}}")]),
                Panel(
                    "Age by channel",
                    "s",
                    [
                        (
                            f"time() - max by (channel) (etl_last_receive_timestamp_seconds{{{VENUE}}})",
                            "{{channel}}",
                        )
                    ],
                ),
                Panel(
                    "Receipt to the broker's acknowledgement",
                    "s",
                    quantiles("etl_ack_latency_seconds", "", f"{{{VENUE}}}"),
                    bad_from=1,
                ),
                Panel("Left aside on purpose", "ops", [(_venue("etl_ignored_total", "name"), "{{name}}")]),
                Panel(
                    "Reading paused",
                    "short",
                    [(_venue("etl_reads_paused_total", "exchange", "10m", "increase"), "{{exchange}}")],
                    text="In ten minutes each.",
                ),
            ],
        ),
        (
            "What is missing or wrong, and why",
            [
                Panel(
                    "Gaps by kind",
                    "short",
                    [(_venue("etl_gaps_total", "gap_kind", "10m", "increase"), "{{gap_kind}}")],
                    text="In ten minutes each. start: at the worker's start.",
                ),
                Panel(
                    "What became of gaps",
                    "short",
                    [(_venue("etl_gap_states_total", "gap_state", "10m", "increase"), "{{gap_state}}")],
                    text="In ten minutes each.",
                ),
                Panel(
                    "Records that repairs gave",
                    "ops",
                    [(_venue("etl_repaired_rows_total", "exchange"), "{{exchange}}")],
                ),
                Panel(
                    "Quarantined by code",
                    "short",
                    [
                        (
                            _venue("etl_quarantined_total", "code, severity", "10m", "increase"),
                            "{{code}} ({{severity}})",
                        )
                    ],
                    text="In ten minutes each.",
                ),
                Panel(
                    "Connections ended by reason",
                    "short",
                    [(_venue("etl_reconnects_total", "reason", "10m", "increase"), "{{reason}}")],
                    text="In ten minutes each.",
                ),
                Panel(
                    "From the loss of a connection to the next",
                    "s",
                    quantiles("etl_reconnect_seconds", "", f"{{{VENUE}}}", window=""),
                    text="Since the worker's start.",
                ),
                Panel(
                    "Silences by what was found",
                    "short",
                    [
                        (
                            f"sum by (verdict) (etl_silences_total{{{VENUE}}}) or sum(etl_frames_total{{{VENUE}}}) * 0",
                            "{{verdict}}",
                        )
                    ],
                ),
                Panel(
                    "Requests by status",
                    "reqps",
                    [(_venue("etl_rest_requests_total", "status"), "{{status}}")],
                ),
                Panel(
                    "Request budget left",
                    "percentunit",
                    [(f"min by (exchange) (etl_rest_budget_ratio{{{VENUE}}})", "{{exchange}}")],
                    bad_below=0.1,
                ),
            ],
        ),
    ],
    ("exchange", "etl_frames_total"),
)
