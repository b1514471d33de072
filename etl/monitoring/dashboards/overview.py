"""The whole platform on one page."""

from __future__ import annotations

from etl.monitoring.dashboards.grafana import RATE, Dashboard, Panel, number, quantiles

EVENTS = f"rate(etl_events_total[{RATE}])"
CPU = f"sum(rate(process_cpu_seconds_total[{RATE}]))"

OVERVIEW = Dashboard(
    "market-data",
    "Market data: overview",
    [
        (
            "Now",
            [
                number("Processes down", "short", "count(up == 0) or vector(0)", bad_from=1),
                number(
                    "Venues connected",
                    "short",
                    "count(max by (exchange) (etl_connection_up) == 1) or vector(0)",
                ),
                number("Events", "ops", f"sum({EVENTS})"),
                number(
                    "Oldest of the venues' last events",
                    "s",
                    "max(time() - max by (exchange) (etl_last_receive_timestamp_seconds))",
                    bad_from=60,
                ),
                number(
                    "Backlog of the sinks",
                    "short",
                    "sum(etl_sink_backlog_messages) or vector(0)",
                    bad_from=500_000,
                ),
                number(
                    "Disk free", "percentunit", "min(etl_disk_free_bytes / etl_disk_bytes)", bad_below=0.05
                ),
            ],
        ),
        (
            "Data",
            [
                Panel(
                    "Events by venue",
                    "ops",
                    [(f"sum by (exchange) ({EVENTS})", "{{exchange}}")],
                    stacked=True,
                ),
                Panel("Events by kind", "ops", [(f"sum by (kind) ({EVENTS})", "{{kind}}")], stacked=True),
                Panel(
                    "Age of the last event",
                    "s",
                    [("time() - max by (exchange) (etl_last_receive_timestamp_seconds)", "{{exchange}}")],
                    bad_from=60,
                ),
                Panel(
                    "Receipt to the broker's acknowledgement, p99",
                    "s",
                    [quantiles("etl_ack_latency_seconds", "exchange", legend="{{exchange}}")[1]],
                    bad_from=1,
                ),
                Panel(
                    "Gaps declared, starts aside",
                    "short",
                    [
                        (
                            'sum by (exchange, gap_kind) (increase(etl_gaps_total{gap_kind!="start"}[10m]))',
                            "{{exchange}} {{gap_kind}}",
                        )
                    ],
                    text="In ten minutes each.",
                ),
                Panel(
                    "Quarantined",
                    "short",
                    [
                        (
                            "sum by (exchange, code) (increase(etl_quarantined_total[10m]))",
                            "{{exchange}} {{code}}",
                        )
                    ],
                    text="In ten minutes each.",
                ),
            ],
        ),
        (
            "API and jobs",
            [
                Panel("Gateway: one answer", "s", quantiles("etl_gateway_request_seconds", "")),
                Panel(
                    "Gateway: answers by status",
                    "reqps",
                    [(f"sum by (status) (rate(etl_gateway_request_seconds_count[{RATE}]))", "{{status}}")],
                ),
                Panel(
                    "Venues' history: one request",
                    "s",
                    quantiles("etl_rest_seconds", "exchange", legend="{{exchange}}", window=""),
                    text="Since the worker's start.",
                ),
                Panel(
                    "Runs of DAGs that failed",
                    "short",
                    [
                        (
                            'sum by (dag_id) (increase(etl_dag_runs_total{state="failed"}[1h]))'
                            " or 0 * sum by (dag_id) (etl_dag_runs_total)",
                            "{{dag_id}}",
                        )
                    ],
                    text="In an hour each.",
                ),
                Panel(
                    "Last success of a DAG",
                    "s",
                    [("time() - max by (dag_id) (etl_dag_last_success_timestamp_seconds)", "{{dag_id}}")],
                    text="Its age.",
                ),
                Panel(
                    "One run of a DAG, p99",
                    "s",
                    [quantiles("etl_dag_run_seconds", "dag_id", legend="{{dag_id}}", window="1h")[1]],
                ),
            ],
        ),
        (
            "Machine and cost",
            [
                Panel(
                    "Up since",
                    "s",
                    [("time() - process_start_time_seconds", "{{job}} {{process}}")],
                    text="Age of each process.",
                ),
                Panel(
                    "CPU, of a core",
                    "short",
                    [(f"sum by (job) (rate(process_cpu_seconds_total[{RATE}]))", "{{job}}")],
                    stacked=True,
                ),
                Panel(
                    "Memory", "bytes", [("sum by (part) (etl_part_memory_bytes)", "{{part}}")], stacked=True
                ),
                Panel(
                    "CPU seconds for a million events",
                    "s",
                    [(f"1e6 * {CPU} / sum({EVENTS})", "all processes")],
                    text="What an event costs, all processes that serve metrics together.",
                ),
                Panel(
                    "Size of the state",
                    "bytes",
                    [("sum by (folder) (etl_state_bytes)", "{{folder}}")],
                    stacked=True,
                ),
                Panel(
                    "Growth of the state in a day",
                    "bytes",
                    [("86400 * sum by (folder) (deriv(etl_state_bytes[1h]))", "{{folder}}")],
                    text="At the pace of the last hour.",
                ),
            ],
        ),
    ],
)
