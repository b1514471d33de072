"""What is written where, by whom, and how much room is left."""

from __future__ import annotations

from etl.monitoring.dashboards.grafana import RATE, Dashboard, Panel, number, quantiles

DRAINS = 'dag_id=~"load_timescale|export_parquet|compact_lake"'

STORES = Dashboard(
    "market-data-stores",
    "Market data: sinks, stores and gateway",
    [
        (
            "Sinks",
            [
                number(
                    "Stores that take writes", "short", "sum(etl_sink_store_up) or vector(0)", bad_below=1
                ),
                number("Backlog", "short", "sum(etl_sink_backlog_messages) or vector(0)", bad_from=500_000),
                number("Rows", "ops", f"sum(rate(etl_sink_rows_total[{RATE}]))"),
                number("Refused", "short", "sum(etl_sink_rejected_total)", bad_from=1),
                number("Writes sent again", "short", "sum(etl_sink_retries_total)"),
                number("Disk free", "bytes", "min(etl_disk_free_bytes)", bad_below=1 << 30),
                Panel(
                    "Rows by sink",
                    "ops",
                    [(f"sum by (sink) (rate(etl_sink_rows_total[{RATE}]))", "{{sink}}")],
                ),
                Panel(
                    "Backlog by partition",
                    "short",
                    [("sum by (sink, partition) (etl_sink_backlog_messages)", "{{sink}} {{partition}}")],
                ),
                Panel("One write", "s", quantiles("etl_sink_write_seconds", "sink", legend="{{sink}}")),
            ],
        ),
        (
            "Stores",
            [
                Panel("Size", "bytes", [("sum by (folder) (etl_state_bytes)", "{{folder}}")], stacked=True),
                Panel(
                    "Days until the disk is full",
                    "d",
                    [
                        (
                            "min(etl_disk_free_bytes / clamp_min(-deriv(etl_disk_free_bytes[1h]), 1)) / 86400",
                            "at the pace of an hour",
                        )
                    ],
                    bad_below=3,
                ),
                Panel(
                    "Memory of the servers",
                    "bytes",
                    [
                        (
                            'sum by (part) (etl_part_memory_bytes{part=~"kafka|valkey|clickhouse|timescale"})',
                            "{{part}}",
                        )
                    ],
                    stacked=True,
                ),
                Panel(
                    "Parts that came back",
                    "short",
                    [("sum by (part) (increase(etl_part_restarts_total[1h]))", "{{part}}")],
                    text="In an hour each.",
                ),
                Panel(
                    "Loads and exports, p99",
                    "s",
                    [
                        quantiles(
                            "etl_dag_run_seconds",
                            "dag_id",
                            f"{{{DRAINS}}}",
                            "{{dag_id}}",
                            "1h",
                        )[1]
                    ],
                ),
                Panel(
                    "Loads and exports: age of the last success",
                    "s",
                    [
                        (
                            f"time() - max by (dag_id) (etl_dag_last_success_timestamp_seconds{{{DRAINS}}})",
                            "{{dag_id}}",
                        )
                    ],
                ),
            ],
        ),
        (
            "Gateway",
            [
                Panel("Streams open", "short", [("sum(etl_gateway_clients)", "clients")]),
                Panel(
                    "Records handed out",
                    "ops",
                    [
                        (f"sum(rate(etl_gateway_delivered_records_total[{RATE}]))", "delivered"),
                        (f"sum(rate(etl_gateway_read_messages_total[{RATE}]))", "read"),
                    ],
                ),
                Panel("Waiting to be sent", "bytes", [("sum(etl_gateway_buffered_bytes)", "buffered")]),
                Panel(
                    "Clients cut off",
                    "short",
                    [("sum(increase(etl_gateway_cut_off_total[10m]))", "in ten minutes")],
                ),
                Panel(
                    "One answer by table, p99",
                    "s",
                    [quantiles("etl_gateway_request_seconds", "table", legend="{{table}}")[1]],
                ),
                Panel(
                    "Answers by status",
                    "reqps",
                    [(f"sum by (status) (rate(etl_gateway_request_seconds_count[{RATE}]))", "{{status}}")],
                ),
            ],
        ),
    ],
)
