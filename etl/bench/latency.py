"""``etl bench latency``: from an event's receipt to Kafka's acknowledgement, and to a ClickHouse query that sees it.

Starts Kafka, ClickHouse, a worker and a sink on free ports, as ``etl up`` does, and a feed of recorded Binance frames
at a fixed rate. ``queryable_ms`` is exact, over every row of the measured time: ``stored_time`` - ``receive_time``.
``polled_ms`` is what a client sees: one that asks again and again for the newest trades of one symbol, to the moment
of its answer. ``ack_ms`` is read off what the worker's own histogram, whose bounds lie a quarter apart, gained in the
measured time.
"""

# ruff: noqa: S608  (queries are put together from the names of tables)

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import Struct, structs

from etl.bench.feed.paced import CHANNELS, SYMBOLS, paced_part
from etl.bench.report import percentiles, print_result, say, spread
from etl.bench.rig import READY_WITHIN_S, all_connected, free_settings, require_no_restart, samples_of
from etl.embedded.part import Part
from etl.embedded.supervisor import Supervisor
from etl.monitoring import processes
from etl.settings import Settings, changed, value_of
from etl.stores.clickhouse_http import connect, internal_database
from etl.up.plan import child_environment, parts

app = typer.Typer()

POLLED_SYMBOL = "BTC-USDT"
LEFT_OUT = ("timescale", "mailbox")
TABLES = ("trades", "quotes", "books")
ACKS = "etl_ack_latency_seconds"
WARM_UP_S = 10.0
POLL_EVERY_S = 0.1
"""Stands in ``polled_ms``; asked more often, the questions themselves take the store's time on a small machine."""
COUNT_EVERY_S = 1.0
POLL_BEFORE_NS = 60_000_000_000
"""How far back the newest trade is looked for at first: further than the store may be behind."""
POLL_OVERLAP_NS = 1_000_000_000
"""So far behind the newest event seen is asked for again: partitions are not stored in the order of receipt."""
PERCENTILES = (("p50", 0.5), ("p99", 0.99), ("p99_9", 0.999))


@app.command()
def main(
    as_json: Annotated[bool, typer.Option("--json")] = False,
    minutes: Annotated[float, typer.Option(min=0.1, help="Measured; a warm-up comes before.")] = 1.0,
    rate: Annotated[float, typer.Option(min=100.0, help="Events a second, offered.")] = 10_000.0,
    symbols: Annotated[int, typer.Option(min=1, max=len(SYMBOLS))] = len(SYMBOLS),
    linger_ms: Annotated[
        int | None, typer.Option(help="ETL_SINK_LINGER_MS; longer makes fewer parts.")
    ] = None,
    partitions: Annotated[
        int, typer.Option(min=1, help="ETL_TOPIC_PARTITIONS")
    ] = Settings().topics.partitions,
) -> None:
    with tempfile.TemporaryDirectory(prefix="etl-bench-") as folder:
        settings = free_settings(Path(folder), "binance", rate)
        changes = {"sink_linger_ms": linger_ms, "topic_partitions": partitions}
        settings = changed(settings, **{k: v for k, v in changes.items() if v is not None})
        result = asyncio.run(LatencyRun(settings, rate, SYMBOLS[:symbols], minutes * 60).result())
    print_result("latency", result, as_json)


class LatencyRun:
    """``rate`` events a second of ``symbols`` together, for ``seconds``."""

    def __init__(self, settings: Settings, rate: float, symbols: Sequence[str], seconds: float) -> None:
        self._settings = settings
        self._rate = rate
        self._symbols = symbols
        self._seconds = seconds

    async def result(self) -> dict[str, Any]:
        """Raises ``EtlError``."""
        settings = self._settings
        planned = [self._adapted(part) for part in parts(settings, False) if part.name not in LEFT_OUT]
        with closing(Store(settings)) as store:
            async with Supervisor(planned, child_environment(settings), settings.state_path) as supervisor:
                await asyncio.wait_for(supervisor.all_ready(), READY_WITHIN_S)
                await all_connected(settings, supervisor)
                stop = threading.Event()
                async with asyncio.timeout(READY_WITHIN_S):
                    while not await asyncio.to_thread(store.active_parts):  # noqa: ASYNC110  a store sets no event
                        await asyncio.sleep(POLL_EVERY_S)
                say("everything runs; warming up")
                await asyncio.sleep(WARM_UP_S)
                samples = await asyncio.to_thread(samples_of, settings.bind_host, supervisor)
                began_ns, inserted = time.time_ns(), await asyncio.to_thread(store.inserted_parts)
                with ThreadPoolExecutor(2) as pool:
                    polling, counting = (
                        pool.submit(poll, settings, stop),
                        pool.submit(count_parts, settings, stop),
                    )
                    await asyncio.sleep(self._seconds)
                    stop.set()
                    polled_ms, active = polling.result(), counting.result()
                ended_ns, inserted = time.time_ns(), await asyncio.to_thread(store.inserted_parts) - inserted
                await asyncio.sleep(WARM_UP_S / 2)  # what was received by the end is stored by now
                seconds = (ended_ns - began_ns) / 1e9
                figures = await asyncio.to_thread(store.latencies, began_ns, ended_ns)
                samples = gained(samples, await asyncio.to_thread(samples_of, settings.bind_host, supervisor))
                require_no_restart(supervisor)
        return {
            "offered_per_s": self._rate,
            "stored_per_s": round(figures.rows / seconds),
            "seconds": round(seconds, 1),
            "ack_ms": {
                name: round(1e3 * (processes.quantile(samples, ACKS, share) or 0.0), 2)
                for name, share in PERCENTILES
            },
            "queryable_ms": figures.whole_ms,
            "queryable_ms_by_minute": {
                name: spread([minute[name] for minute in figures.minutes_ms], 1) for name, _ in PERCENTILES
            },
            "polled_ms": percentiles(polled_ms, 1),
            "polled_events": len(polled_ms),
            "parts_per_minute": round(inserted * 60 / seconds),
            "active_parts_max": max(active.values(), default=0),
            "active_parts_max_by_table": active,
            "settings": {
                name: value_of(settings, name)
                for name in (
                    "topic_partitions",
                    "sink_linger_ms",
                    "sink_inserts_parallel_max",
                    "producer_linger_ms",
                )
            },
            "symbols": len(self._symbols),
        }

    def _adapted(self, part: Part) -> Part:
        if part.name == "migrate":
            return structs.replace(part, command=(*part.command, "clickhouse"), depends_on=("clickhouse",))
        if part.name == "stream-binance":
            words = ("--symbols", ",".join(self._symbols), "--channels", CHANNELS)
            return structs.replace(part, command=(*part.command, *words))
        if part.name == "simulate-binance":
            port = self._settings.simulator_port_of("binance")
            return paced_part(part.name, self._settings.bind_host, port, self._symbols, self._rate)
        return part


def gained(before: processes.Samples, now: processes.Samples) -> processes.Samples:
    """What the histogram of acknowledgements counted between two readings."""
    name = f"{ACKS}_bucket"
    counted = {frozenset(sample.labels.items()): sample.value for sample in before.get(name, ())}
    return {
        name: [
            sample._replace(value=sample.value - counted.get(frozenset(sample.labels.items()), 0.0))
            for sample in now.get(name, ())
        ]
    }


class Latencies(Struct, frozen=True):
    """Of all rows received in a time, and of each minute of it."""

    rows: int
    whole_ms: dict[str, float]
    minutes_ms: list[dict[str, float]]


class Store:
    """What ClickHouse says of itself. A connection of its own: one object a thread."""

    def __init__(self, settings: Settings) -> None:
        self._client = connect(settings)
        self._internal = internal_database(settings)

    def close(self) -> None:
        self._client.close()

    def _rows(self, sql: str, **parameters: object) -> list[list[str]]:
        answer = self._client.execute(
            sql + " FORMAT TSV", parameters={k: str(v) for k, v in parameters.items()}
        )
        return [line.split("\t") for line in answer.decode().splitlines()]

    def inserted_parts(self) -> int:
        """Parts made by inserts so far: each takes the next block number of its table and month."""
        ((count,),) = self._rows(
            "SELECT sum(newest) FROM (SELECT max(max_block_number) AS newest FROM system.parts"
            " WHERE database = {internal:String} AND endsWith(table, '_stored') GROUP BY table, partition)",
            internal=self._internal,
        )
        return int(count)

    def active_parts(self) -> dict[str, int]:
        rows = self._rows(
            "SELECT table, count() FROM system.parts"
            " WHERE active AND database = {internal:String} AND endsWith(table, '_stored') GROUP BY table",
            internal=self._internal,
        )
        return {table: int(count) for table, count in rows}

    def newest_trades(self, after_ns: int) -> list[tuple[str, int]]:
        """(record key, receive time) of the polled symbol's trades whose event time is later than ``after_ns``."""
        rows = self._rows(
            "SELECT record_key, receive_time_ns FROM trades WHERE exchange = 'binance' AND symbol = {symbol:String}"
            " AND key_time > fromUnixTimestamp64Nano({after:Int64})",
            symbol=POLLED_SYMBOL,
            after=after_ns,
        )
        return [(key, int(receive_ns)) for key, receive_ns in rows]

    def latencies(self, from_ns: int, to_ns: int) -> Latencies:
        """Of every row received in [from, to)."""
        shares = ", ".join(str(share) for _, share in PERCENTILES)
        received = " UNION ALL ".join(
            "SELECT receive_time_ns, (toUnixTimestamp64Nano(stored_time) - receive_time_ns) / 1e6 AS ms"
            f" FROM {self._internal}.{table}_stored"
            " WHERE receive_time_ns >= {from:Int64} AND receive_time_ns < {to:Int64}"
            for table in TABLES
        )
        rows = self._rows(
            "SELECT intDiv(receive_time_ns - {from:Int64}, 60000000000) AS minute, count(),"
            f" arrayStringConcat(quantilesExact({shares})(ms), ',') FROM ({received})"
            " GROUP BY ROLLUP(minute) ORDER BY count() DESC",
            **{"from": from_ns, "to": to_ns},
        )
        made = [
            {name: round(float(ms), 1) for (name, _), ms in zip(PERCENTILES, text.split(","), strict=True)}
            for _, _, text in rows
        ]
        return Latencies(int(rows[0][1]), made[0], made[1:])


def poll(settings: Settings, stop: threading.Event) -> list[float]:
    """ms from the receipt of each trade of one symbol to the first answer that has it."""
    with closing(Store(settings)) as store:
        found: list[float] = []
        before = store.newest_trades(time.time_ns() - POLL_BEFORE_NS)
        seen = {key for key, _ in before}
        newest_ns = max((receive_ns for _, receive_ns in before), default=time.time_ns() - POLL_BEFORE_NS)
        while not stop.wait(POLL_EVERY_S):
            rows = store.newest_trades(newest_ns - POLL_OVERLAP_NS)
            now_ns = time.time_ns()
            found += [(now_ns - receive_ns) / 1e6 for key, receive_ns in rows if key not in seen]
            seen |= {key for key, _ in rows}
            newest_ns = max([newest_ns, *(receive_ns for _, receive_ns in rows)])
    return found


def count_parts(settings: Settings, stop: threading.Event) -> dict[str, int]:
    """The most active parts of each table at any reading."""
    with closing(Store(settings)) as store:
        most: dict[str, int] = {}
        while not stop.wait(COUNT_EVERY_S):
            for table, count in store.active_parts().items():
                most[table] = max(count, most.get(table, 0))
    return most
