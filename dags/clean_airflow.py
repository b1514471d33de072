"""Airflow's own logs and metadata: three thousand runs a day leave both growing for ever."""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag, task
from policy import policy, usage_errors_fail_at_once


@dag(
    tags=["retention"],
    **policy("clean_airflow"),
    doc_md="""
### Clean Airflow

*logs* deletes logs of tasks, of callbacks and of the DAG processor that were last written to `airflow_log_days` ago
(30; 0 = never). A run with a task that is not done keeps its logs, however old; files that Airflow did not write stay.

*metadata* deletes runs, task instances, XComs, events and what hangs on them that began more than
`airflow_metadata_days` ago, by `airflow db clean`, without an archive. **It is off (0) by default:** what is deleted is
gone, from grids, durations and the audit log. The newest scheduled run of each DAG is kept, so that schedules go on
where they were. Give it more days than your longest run takes: Airflow's command does not ask whether a run is done.

**When it fails**

- *airflow db clean: exit code …*: its own words stand above. *database is locked*: others wrote; the retry mends it.
- *Permission denied*: another user wrote the logs. Mend their owner; the next run deletes them.
""",
)
def clean_airflow() -> None:
    @task
    @usage_errors_fail_at_once()
    def logs(ti: Any = None) -> dict[str, int]:
        """Deleted files and bytes, and runs that keep theirs."""
        from datetime import UTC, datetime
        from pathlib import Path

        import msgspec
        from airflow.configuration import conf
        from airflow.utils.state import State

        from etl import settings
        from etl.embedded.airflow_cleaning import delete_logs

        states = [str(state) for state in State.unfinished if state]

        def unfinished(dag_id: str, run_ids: list[str]) -> int:
            count: int = ti.get_ti_count(dag_id=dag_id, run_ids=run_ids, states=states)
            return count

        folder = Path(conf.get("logging", "base_log_folder"))
        deleted: dict[str, int] = msgspec.to_builtins(
            delete_logs(settings.load(), folder, datetime.now(UTC), unfinished)
        )
        return deleted

    @task
    @usage_errors_fail_at_once()
    def metadata() -> bool:
        """Whether anything was to be deleted; what was stands in the log."""
        from datetime import UTC, datetime

        from etl import settings
        from etl.embedded.airflow_cleaning import clean_metadata

        return clean_metadata(settings.load(), datetime.now(UTC))

    logs() >> metadata()  # whether a task is done stands in the metadata


clean_airflow()
