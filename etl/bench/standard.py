"""How each benchmark is run for docs/benchmarks.md, and which of its figures stand there, beside which goals."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from etl.ingest.bulk_rates import FILE as BULK_RATES


class Figure(Struct, frozen=True):
    """A line of the document: what it is, where it stands in the result, and the goal."""

    label: str
    paths: tuple[str, ...]
    goal: str = ""


class Standard(Struct, frozen=True):
    """How a benchmark is run for the document, and what of its result stands there. ``told``: a file of the platform's
    own that has ``told_names`` of the last result, for estimates."""

    options: tuple[str, ...]
    figures: tuple[Figure, ...]
    takes_recordings: bool = False
    told: Path | None = None
    told_names: tuple[str, ...] = ()


STANDARD: dict[str, Standard] = {
    "ingest": Standard(
        ("--peer", "cryptofeed"),
        (
            Figure("events/s, trades and quotes", ("trades_and_quotes.events_per_s",), "100,000"),
            Figure("CPU s per million of these", ("trades_and_quotes.cpu_s_per_million",), "10"),
            Figure("events/s, books as recorded among them", ("events_per_s",)),
            Figure("CPU s per million of these", ("cpu_s_per_million",)),
            Figure(
                "the plain way's: events/s / CPU s per million, trades and quotes",
                ("trades_and_quotes.plain.events_per_s", "trades_and_quotes.plain.cpu_s_per_million"),
            ),
            Figure(
                "the express way to it, in turns: events/s / CPU an event",
                (
                    "trades_and_quotes.plain.ratios.events_per_s",
                    "trades_and_quotes.plain.ratios.cpu_per_event",
                ),
                "CPU 4",
            ),
            Figure("memory, MiB", ("rss_mib",)),
            Figure("aggregate trades/s: ours", ("peer.ours.events_per_s",)),
            Figure("the same, cryptofeed into its Kafka back-end", ("peer.kafka.events_per_s",)),
            Figure("the same, cryptofeed into nothing", ("peer.no_op.events_per_s",)),
            Figure("ours to cryptofeed with Kafka", ("peer_ratio",), "40"),
            Figure("ours to cryptofeed into nothing", ("peer.ratio_to_no_op",), "1"),
        ),
        takes_recordings=True,
    ),
    "start": Standard(
        (),
        (
            Figure(
                "all venues stream after, s: median / longest",
                ("sqlite.ready_s.all venues stream", "sqlite.ready_s_max.all venues stream"),
                "10",
            ),
            Figure(
                "Airflow is ready after, s: median / longest",
                ("sqlite.ready_s.Airflow ready", "sqlite.ready_s_max.Airflow ready"),
                "25",
            ),
        ),
    ),
    "scale": Standard(
        ("--events", "100000"),
        (
            Figure("workers side by side, as many as cores", ("workers_max",)),
            Figure("events/s of one / of all", ("one.events_per_s", "all.events_per_s")),
            Figure(
                "CPU s per million events: one / all",
                ("one.cpu_s_per_million", "all.cpu_s_per_million"),
            ),
            Figure("events/s of all to those of one", ("growth",)),
            Figure("what an event costs, all to one", ("cost_ratio",), "1"),
        ),
    ),
    "gateway": Standard(
        (),
        (
            Figure("offered records/s, to 100 clients", ("live.offered_per_s",)),
            Figure(
                "what the gateway adds, ms: p50 / p99",
                ("live.added_ms.p50", "live.added_ms.p99"),
                "p50 5, p99 25",
            ),
            Figure("lost / doubled", ("live.lost", "live.doubled"), "0 / 0"),
            Figure("its cores", ("live.gateway_cores",), "1"),
            Figure("1,000 idle clients, MiB", ("idle.added_mib",), "200"),
            Figure("the past to one client, records/s", ("replay.per_s",), "150,000"),
            Figure("its CPU, µs a record", ("replay.gateway_us_per_record",)),
            Figure(
                "a day of 10 million trades of the lake to Arrow in a client, rows/s",
                ("day.arrow.rows_per_s",),
                "1,000,000",
            ),
            Figure(
                "CPU of the gateway / of the client, µs a row",
                ("day.arrow.gateway_us_per_row", "day.arrow.client_us_per_row"),
            ),
            Figure("to Polars with exact decimals, rows/s", ("day.polars.rows_per_s",)),
        ),
    ),
    "latency": Standard(
        ("--minutes", "10"),
        (
            Figure("offered events/s", ("offered_per_s",)),
            Figure("receive → Kafka acknowledged, ms: p50 / p99", ("ack_ms.p50", "ack_ms.p99"), "p99 10"),
            Figure(
                "receive → queryable in ClickHouse, ms: p50 / p99 / p99.9",
                ("queryable_ms.p50", "queryable_ms.p99", "queryable_ms.p99_9"),
                "p50 50, p99 250",
            ),
            Figure("as a polling client sees it, ms: p50 / p99", ("polled_ms.p50", "polled_ms.p99")),
            Figure("parts a minute / active at most", ("parts_per_minute", "active_parts_max"), "100 active"),
        ),
    ),
    "sink": Standard(
        (),
        (
            Figure("messages/s into ClickHouse in the recorded mix", ("messages_per_s",), "200,000"),
            *(
                Figure(
                    f"insert of {rows:,} {of}, ms: p50 of ready blocks / of the landing tables",
                    (f"insert_{name}_ms.{rows}.blocks.p50", f"insert_{name}_ms.{rows}.landing.p50"),
                    "25" if rows == 10_000 else "",
                )
                for name, of in (("mix", "in that mix"), ("quotes", "quotes"))
                for rows in (1, 100, 1_000, 10_000)
            ),
            Figure("the sink's own CPU, µs a message", ("sink_cpu_us_per_message",)),
        ),
        takes_recordings=True,
    ),
    "storage": Standard(
        (),
        (
            Figure("bytes a row, venue columns: trades", ("bytes_per_row.trades",), "5.0"),
            Figure("quotes", ("bytes_per_row.quotes",), "8.0"),
            Figure("book levels", ("bytes_per_row.book_levels",), "3.5"),
            Figure(
                "the whole row: trades / quotes / book levels",
                ("whole_row.trades", "whole_row.quotes", "whole_row.book_levels"),
            ),
            Figure(
                "Float64, default compression",
                ("float64_default.trades", "float64_default.quotes", "float64_default.book_levels"),
            ),
            Figure(
                "Parquet, venue columns",
                ("parquet.trades", "parquet.quotes", "parquet.book_levels"),
                "6.7 / 10.3 / 4.3",
            ),
        ),
        takes_recordings=True,
    ),
    "load": Standard(
        (),
        (
            Figure("TimescaleDB rows/s through Kafka", ("rows_per_s",)),
            Figure("lake rows/s through Kafka", ("lake_rows_per_s",)),
            Figure(
                "columnstore ratio: trades / quotes",
                ("compression_ratio.trades.ratio", "compression_ratio.quotes.ratio"),
            ),
        ),
    ),
    "bulk": Standard(
        (),
        (
            Figure("bars of the archive", ("rows",)),
            Figure(
                "rows/s: ClickHouse / TimescaleDB / lake",
                ("rows_per_s.clickhouse", "rows_per_s.timescale", "rows_per_s.lake"),
            ),
            Figure(
                "bytes a row, merged and compressed",
                ("bytes_per_row.clickhouse", "bytes_per_row.timescale", "bytes_per_row.lake"),
            ),
            Figure(
                "own CPU, µs a row",
                ("own_cpu_us_per_row.clickhouse", "own_cpu_us_per_row.timescale", "own_cpu_us_per_row.lake"),
            ),
            Figure("line by line into the topic, rows/s", ("line_by_line_rows_per_s",)),
            Figure(
                "a billion bars, hours",
                ("projected.hours.clickhouse", "projected.hours.timescale", "projected.hours.lake"),
            ),
            Figure(
                "a billion bars, GiB",
                ("projected.gib.clickhouse", "projected.gib.timescale", "projected.gib.lake"),
            ),
        ),
        told=BULK_RATES,
        told_names=("rows_per_s", "bytes_per_row", "line_by_line_rows_per_s"),
    ),
    "together": Standard(
        ("--rows", "300000"),
        (
            Figure("bars, of a hundred stocks a request / requests", ("rows", "requests")),
            Figure("from a simulated Alpaca into the topic, rows/s", ("rows_per_s",)),
            Figure("own CPU of the backfill, µs a row", ("own_cpu_us_per_row",)),
            Figure(
                "from there, rows/s: ClickHouse / TimescaleDB / lake",
                ("store_rows_per_s.clickhouse", "store_rows_per_s.timescale", "store_rows_per_s.lake"),
            ),
            Figure(
                "bytes a row, merged and compressed",
                ("bytes_per_row.clickhouse", "bytes_per_row.timescale", "bytes_per_row.lake"),
            ),
        ),
    ),
    "lake": Standard(
        (),
        (
            Figure("rows a second of CPU from messages into tables", ("write.rows_per_cpu_s",), "100,000"),
            Figure(
                "10,000 symbols, 2 million rows: CPU s / bytes a row / one symbol, ms",
                ("symbols.write_cpu_s", "symbols.bytes_per_row", "symbols.one_symbol_ms"),
                "3 / 40 / 10",
            ),
            Figure(
                "a symbol's day of 10 million rows, ms: all / an hour",
                ("day.sum_ms", "day.hour_ms"),
                "150 / 30",
            ),
            Figure(
                "100,000 files: read, s / look-up, ms / commit, ms",
                ("log.read_s", "log.look_up_ms", "log.commit_ms"),
                "1 / 1 / 5",
            ),
        ),
    ),
    "validation": Standard(
        (),
        (
            Figure("10,000 clean records as a batch, ms", ("batch_ms_per_10k",), "0.8"),
            Figure("their typed columns from text, ms", ("cast_ms_per_10k",)),
            Figure("one by one, ms: the plain way", ("record_ms_per_10k",)),
            Figure("the express lane's proofs", ("proof_ms_per_10k",), "1"),
        ),
    ),
    "isolation": Standard(
        (),
        (
            Figure("workers / events a second of each / times in a flood", ("workers", "rate", "flood")),
            Figure(
                "receive → topic of the others, ms: p50 / p95 / p99, all quiet",
                ("latency_ms.quiet.p50", "latency_ms.quiet.p95", "latency_ms.quiet.p99"),
            ),
            Figure(
                "one blocked, one flooded, one garbling",
                ("latency_ms.troubled.p50", "latency_ms.troubled.p95", "latency_ms.troubled.p99"),
            ),
            Figure("ratio of a round: p50 / p95 / p99", ("ratio.p50", "ratio.p95", "ratio.p99"), "1"),
            Figure(
                "lost / duplicated / missing undeclared", ("lost", "duplicated", "missed_undeclared"), "0"
            ),
            Figure(
                "of one worker: memory, MiB / open files / threads",
                ("worker.memory_mib", "worker.open_files", "worker.threads"),
            ),
            Figure("cores of all processes: quiet / troubled", ("cpu_cores.quiet", "cpu_cores.troubled")),
        ),
    ),
    "audit": Standard(
        (),
        (
            Figure("a night over 100 million rows, s: ClickHouse", ("clickhouse.night_s",)),
            Figure("lake", ("lake.night_s",)),
            Figure("TimescaleDB, 5 million rows, s", ("timescale.night_s",)),
            Figure("seconds = a × rows^b: b", ("timescale.growth.audit.b",)),
        ),
    ),
    "faults": Standard(
        ("--venues", "binance,polygon,alpaca,okx,kraken,coinbase,bybit,kalshi", "--disconnects", "47"),
        (
            Figure("events / disconnects", ("events_sent", "disconnects")),
            Figure(
                "lost / duplicated / missing undeclared / missing with history",
                ("lost", "duplicated", "missed_undeclared", "missing_with_history"),
                "0",
            ),
            Figure(
                "gaps repaired / source hole / unrepairable / open",
                ("gaps_repaired", "gaps_source_hole", "gaps_unrepairable", "gaps_open"),
            ),
            Figure("reconnect, s: p50", ("reconnect_s.p50",), "3.2"),
            Figure("worker's memory growth, MiB", ("rss_growth_mib",)),
        ),
    ),
    "kill": Standard(
        ("--times", "100"),
        (
            Figure("kills / rebalances", ("kills", "rebalances")),
            Figure("events / offered a second", ("events", "offered_per_s")),
            Figure(
                "lost / duplicated / missing undeclared", ("lost", "duplicated", "missed_undeclared"), "0"
            ),
        ),
    ),
    "chaos": Standard(
        ("--minutes", "30"),
        (
            Figure("acts", ("acts",)),
            Figure("events / offered a second", ("events", "offered_per_s")),
            Figure(
                "lost / duplicated / missing undeclared", ("lost", "duplicated", "missed_undeclared"), "0"
            ),
        ),
    ),
    "soak": Standard(("--minutes", "30"), (Figure("verdict", ("verdict",), "flat"),)),
    "transport": Standard(
        (),
        (
            Figure(
                "appended messages/s: Kafka / Redis", ("kafka.append_per_s", "redis.append_per_s"), "400,000"
            ),
            Figure("CPU µs of a client's message", ("kafka.append_client_us", "redis.append_client_us"), "2"),
            Figure("of the server's", ("kafka.append_server_us", "redis.append_server_us")),
            Figure("one alone, ms: p50", ("kafka.alone_p50_ms", "redis.alone_p50_ms"), "0.5"),
            Figure("read, CPU µs of the client", ("kafka.read_client_us", "redis.read_client_us")),
            Figure("a worker's p99, ms", ("kafka.worker_ack_p99_ms", "redis.worker_ack_p99_ms"), "no worse"),
            Figure(
                "a worker's CPU s per million",
                ("kafka.worker_cpu_s_per_million", "redis.worker_cpu_s_per_million"),
            ),
        ),
    ),
    "footprint": Standard(
        ("--profile", "light", "--stores", "lake"),
        (
            Figure(
                "memory, MiB: median / most, with an export",
                ("memory_mib", "memory_mib_max_with_export"),
                "700",
            ),
            Figure("CPU, of a core", ("cpu_cores",)),
        ),
    ),
}
