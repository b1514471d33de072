"""What each job does when its time has come: the functions that the tasks of its DAG call, one after another.

Each takes the interval of its run, [start, end) in Unix ns, and returns what it did. Raises ``EtlError``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any

import msgspec

from etl.model.times import NS_PER_S
from etl.settings import Settings

# what a job needs is loaded where it runs: the table of them is read by a scheduler that stays small

Step = Callable[[Settings, int, int], Any]


def load_timescale(settings: Settings, start_ns: int, end_ns: int) -> Any:
    from etl.sinks.load import load_timescale

    return load_timescale(settings)


def export_parquet(settings: Settings, start_ns: int, end_ns: int) -> Any:
    from etl.sinks.export import export

    return export(settings, end_ns)


def compact_lake(settings: Settings, start_ns: int, end_ns: int) -> Any:
    import time

    from etl.lake.compaction import compact

    return compact(settings, time.time_ns())


def expire_data(settings: Settings, start_ns: int, end_ns: int) -> Any:
    from etl.stores.expiry import expire

    return [one for store in settings.stores for one in expire(settings, store)]


def monitor_freshness(settings: Settings, start_ns: int, end_ns: int) -> Any:
    import time

    from etl.monitoring.loop import run_round

    return run_round(settings, time.time_ns())


def refresh_instruments(settings: Settings, start_ns: int, end_ns: int) -> Any:
    return {"sessions": refresh_sessions(settings, end_ns), "instruments": refresh_lists(settings)}


def refresh_corporate_actions(settings: Settings, start_ns: int, end_ns: int) -> Any:
    """Rows added by store, by venue; of both tables. Raises ``VenueError`` at the end for names that two instruments
    would have."""
    import time

    from etl.reference import corporate_actions, symbol_names

    added = corporate_actions.refresh_all(settings, _day(end_ns), time.time_ns())
    return {"corporate_actions": added, "symbol_names": symbol_names.refresh_all(settings, time.time_ns())}


def refresh_lists(settings: Settings) -> dict[str, int]:
    """Instruments by venue, and FIGIs; what is told anew goes into every store. Raises ``VenueError`` at the end for
    unified symbols that two instruments would have, and for questions that were answered with a fault: all else is done
    by then."""
    import time

    from etl.errors import VenueError
    from etl.reference.instrument_states import collisions
    from etl.reference.instruments import refresh_all
    from etl.reference.refreshed import FAULTS_SHOWN_MAX, refresh_instruments

    found, refused = refresh_all(settings), collisions(settings)
    if settings.stores:
        done = refresh_instruments(settings, time.time_ns())
        found, refused = found | done.told, refused + done.faults
    if refused:
        raise VenueError("; ".join(refused[:FAULTS_SHOWN_MAX]))
    return found


def refresh_sessions(settings: Settings, end_ns: int) -> dict[str, int]:
    """Rows of ``sessions`` added, by store."""
    import time

    from etl.reference.sessions import refresh

    return refresh(settings, _day(end_ns), time.time_ns())


def refresh_symbol_stats(settings: Settings, start_ns: int, end_ns: int) -> Any:
    import time

    from etl.reference.symbol_statistics import refresh

    return {"symbols": refresh(settings, time.time_ns())}


def refresh_observations(settings: Settings, start_ns: int, end_ns: int) -> Any:
    import time

    from etl.ingest.release_calendar import refresh

    return refresh(settings, time.time_ns())


def repair_gaps(settings: Settings, start_ns: int, end_ns: int) -> Any:
    """The ledger lies in ClickHouse: without it the workers' own repairs are all, and what was not published yet."""
    from etl.ingest.gap_rounds import look_again_round, repair_round

    found = {"look_again": look_again_round(settings, "", "", "", any_time=False)}
    if settings.keeps("clickhouse"):
        found["repair"] = repair_round(settings, "", "", "", any_age=False)
    return found


def audit_data(settings: Settings, start_ns: int, end_ns: int) -> Any:
    from etl.audit.nightly import audit_and_tell

    return audit_and_tell(settings, _day(start_ns))


def publish_quality(settings: Settings, start_ns: int, end_ns: int) -> Any:
    from etl.monitoring.quality_publish import publish, scores

    return scores(publish(settings, _day(start_ns)))


def backfill_market_data(settings: Settings, start_ns: int, end_ns: int) -> Any:
    """Each venue that has a past, for the kinds that are fetched daily."""
    return list(_backfilled(settings, start_ns, end_ns)) if settings.backfill.daily_kinds else []


def _backfilled(settings: Settings, start_ns: int, end_ns: int) -> Iterator[Any]:
    from etl.exchanges import load as load_exchange
    from etl.ingest.backfill import fetch
    from etl.ingest.backfill_coverage import check
    from etl.ingest.backfill_form import plan_run

    for venue in settings.venues.names:
        names = {kind.name.lower() for kind in load_exchange(venue).history}
        kinds = [kind for kind in settings.backfill.daily_kinds if kind in names]
        if not kinds:
            continue
        name = f"scheduled__{venue}__{_day(start_ns)}"
        form = {"venue": venue, "symbols": [], "start": "", "end": "", "archive": False}
        form |= {"bulk": False, "dry_run": False}
        jobs = plan_run(settings, form, (start_ns, end_ns), kinds, name)
        for job in jobs:
            fetch(settings, job, name)
        yield check(settings, jobs, name)


def _day(time_ns: int) -> date:
    return datetime.fromtimestamp(time_ns // NS_PER_S, UTC).date()


STEPS: Mapping[str, Step] = {
    step.__name__: step
    for step in (
        load_timescale,
        export_parquet,
        compact_lake,
        expire_data,
        monitor_freshness,
        refresh_instruments,
        refresh_corporate_actions,
        refresh_symbol_stats,
        refresh_observations,
        repair_gaps,
        audit_data,
        publish_quality,
        backfill_market_data,
    )
}
"""By the name of the job."""


def run_step(name: str, settings: Settings, start_ns: int, end_ns: int) -> str:
    """What it did, as JSON."""
    return msgspec.json.encode(STEPS[name](settings, start_ns, end_ns)).decode()
