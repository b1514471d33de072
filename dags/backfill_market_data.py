"""History of a venue for any range: by the Backfill dialog day by day, or by the Trigger form."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, TaskGroup, dag, task
from deadlines import late
from policy import policy, usage_errors_fail_at_once

from etl.exchanges import with_history

FEEDS = with_history()
"""A venue file has a branch and a pool of its own."""


@dag(
    deadline=late("backfill_market_data"),
    tags=["backfill", "history"],
    params={
        "venue": Param(
            "binance",
            type="string",
            enum=[feed for feeds in FEEDS.values() for feed in feeds],
            title="Venue",
        ),
        "symbols": Param(
            [],
            type="array",
            items={"type": "string"},
            title="Symbols",
            description="BTCUSDT as the venue writes it, or BTC-USDT; none = the venue's default ones",
        ),
        "kinds": Param(
            ["trade", "bar"],
            type="array",
            items={"type": "string"},
            examples=["trade", "quote", "bar", "agg_trade", "book"],
            title="Kinds",
        ),
        "start": Param(
            None,
            type=["null", "string"],
            title="From",
            description="Day or time, ISO 8601, UTC; empty = the run's data interval",
        ),
        "end": Param(None, type=["null", "string"], title="To", description="Exclusive"),
        "archive": Param(
            False, type="boolean", title="From the archive", description="The venue's daily files, whole days"
        ),
        "bulk": Param(
            False,
            type="boolean",
            title="In bulk",
            description="Bars of an archive by whole columns, straight into the stores: polygon, bar, from the archive",
        ),
        "dry_run": Param(
            False,
            type="boolean",
            title="Estimate only",
            description="Tells what it would take, in plan's log",
        ),
    },
    **policy("backfill_market_data"),
    doc_md="""
### Backfill market data

Fetches what the venue's history (or its archive of daily files) has of a range and sends it the way of live data, so
that all stores get it; what is there already is not stored twice. **Range:** the run's data interval (the Backfill
dialog), or From and To (the Trigger form). *plan* logs the estimate, *fetch* runs once a symbol and day, within the
venue's pool and request budget, *check* compares ids and bars and puts what the venue leaves out into the gap ledger.
The daily scheduled run fetches what the setting `backfill_daily_kinds` names: nothing by default. **In the Backfill
dialog tick *Override parameters on existing runs*:** without it Airflow 3.3.2 leaves out what the form says, and the
default venue, symbols and kinds are fetched.

**When it fails**

- *no instrument …, no history of …, the range lies in the future*: the form asks for what the venue does not have.
  *plan* fails at once, without retries. Trigger again.
- *status 4xx, authentication, entitlement*: the key, or its plan. Mend it and clear the task.
- *the venue takes no request for … s*: a ban or a limit; the retries wait for it.
- *… is not done*: a mapped *fetch* failed. Clear it; done chunks are not fetched again.
- A killed task or scheduler: nothing to do, the retry goes on behind the last finished chunk.
""",
)
def backfill_market_data() -> None:
    @task.branch(pool="topics")
    @usage_errors_fail_at_once()
    def choose(params: dict[str, Any] | None = None, dag_run: Any = None) -> list[str]:
        """The venue's own branch; none for a scheduled run that has nothing to do."""
        from etl import settings

        if dag_run.run_type == "scheduled" and not settings.load().backfill.daily_kinds:
            return []
        venue = (params or {})["venue"].strip()
        return [f"{file}.plan" for file, feeds in FEEDS.items() if venue in feeds]

    @task
    @usage_errors_fail_at_once()
    def plan(
        params: dict[str, Any] | None = None,
        dag_run: Any = None,
        data_interval_start: Any = None,
        data_interval_end: Any = None,
        run_id: Any = None,
    ) -> list[dict[str, Any]]:
        """A job for each symbol and day; none for a dry run."""
        import msgspec

        from etl import settings
        from etl.ingest.backfill_form import plan_run
        from etl.model.times import NS_PER_S

        form = params or {}
        interval_ns = (
            int(data_interval_start.timestamp()) * NS_PER_S,
            int(data_interval_end.timestamp()) * NS_PER_S,
        )
        loaded = settings.load()
        daily = loaded.backfill.daily_kinds
        kinds = daily if dag_run.run_type == "scheduled" else form["kinds"]
        jobs = plan_run(loaded, form, interval_ns, kinds, run_id)
        return [msgspec.to_builtins(job) for job in jobs]

    @task(map_index_template="{{ label }}")
    @usage_errors_fail_at_once()
    def fetch(job: dict[str, Any], params: dict[str, Any] | None = None, run_id: Any = None) -> None:
        """The chunks of one symbol, or several together, and day that are not done yet."""
        import msgspec
        from airflow.sdk import get_current_context

        from etl import settings
        from etl.adapter.carried import apart
        from etl.ingest import backfill, bulk
        from etl.ingest.backfill_jobs import Job, label, shown

        one = msgspec.convert(job, Job)
        get_current_context()["label"] = label(one)  # type: ignore[typeddict-unknown-key]

        def progress(chunk: Any, fetched: Any) -> None:
            print(f"{shown(apart(chunk.symbol))} {chunk.name}: {fetched.rows} rows, {fetched.pages} pages")

        fetch = bulk.fetch if (params or {})["bulk"] else backfill.fetch
        fetch(settings.load(), one, run_id, progress)

    @task
    @usage_errors_fail_at_once()
    def check(jobs: list[dict[str, Any]], run_id: Any = None) -> dict[str, Any]:
        """Coverage: chunks, pages, rows, and holes at the source; nothing after a dry run."""
        import msgspec

        from etl import settings
        from etl.ingest.backfill_coverage import check
        from etl.ingest.backfill_jobs import Job

        if not jobs:
            return {}
        summary = check(settings.load(), [msgspec.convert(job, Job) for job in jobs], run_id)
        found: dict[str, Any] = msgspec.to_builtins(summary)
        return found

    chosen = choose()
    for file in FEEDS:
        pool = f"venue_{file}"
        with TaskGroup(file):
            planned = plan.override(pool=pool)()
            fetched = fetch.override(pool=pool).partial().expand(job=planned)
            # a day that failed keeps no other from being judged; check fails then too, and is cleared with the day
            checked = check.override(pool=pool, trigger_rule="all_done_min_one_success")(planned)  # type: ignore[arg-type]
            chosen >> planned
            fetched >> checked


backfill_market_data()
