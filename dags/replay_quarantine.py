"""What was quarantined, parsed and checked again by today's parser and rules. Triggered by hand."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, dag, task
from policy import policy, usage_errors_fail_at_once


@dag(
    tags=["validation", "replay"],
    params={
        "code": Param("", type="string", title="Code", description="Only this code; empty = any"),
        "exchange": Param("", type="string", title="Venue", description="Only this venue; empty = any"),
        "from": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="From",
            description="Received at or after",
        ),
        "to": Param(
            None, type=["null", "string"], format="date-time", title="To", description="Received before"
        ),
    },
    **policy("replay_quarantine"),
    doc_md="""
### Replay the quarantine

After a parser or a rule was mended: parses and checks again what was held, publishes what is good now under its old
identity, and notes each item's outcome. Running it twice publishes nothing twice.

**When it fails**

- *Kafka at …*: the broker is down; what was already published stays so, the retry goes on.
- Nothing fails for items that are still bad: they stay `still_bad` (`etl quarantine list`).
""",
)
def replay_quarantine() -> None:
    @task
    @usage_errors_fail_at_once()
    def replay(params: dict[str, Any] | None = None) -> dict[str, int]:
        """Items by outcome."""
        from etl.commands.quarantine import replay_selected

        asked = params or {}
        return replay_selected(
            exchange=(asked.get("exchange") or "").strip(),
            code=(asked.get("code") or "").strip(),
            from_=(asked.get("from") or "").strip(),
            to=(asked.get("to") or "").strip(),
        )

    replay()


replay_quarantine()
