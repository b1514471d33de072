"""The published quality as one static page, which needs no server and loads nothing."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from etl.monitoring.quality import Quality

GOOD, FAIR = 99.0, 95.0
"""From these scores on a day is shown as good, as fair; below as bad."""

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Data quality</title>
<style>
:root {{ color-scheme: light dark; --line: #8884; --good: #2a9d5c55; --fair: #e0a80066; --bad: #d6404077 }}
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 70rem; padding: 0 1rem }}
.wide {{ overflow-x: auto }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; margin-bottom: 2rem }}
th, td {{ border-bottom: 1px solid var(--line); padding: .25rem .7rem; text-align: right; white-space: nowrap }}
th:first-child, td:first-child {{ text-align: left; position: sticky; left: 0; background: Canvas }}
.good {{ background: var(--good) }} .fair {{ background: var(--fair) }} .bad {{ background: var(--bad) }}
</style>
<h1>Data quality</h1>
<p>Score of each venue and UTC day: 100 × coverage × share of events not held back × 1 / (1 + lasting gaps per million /
1,000). Lasting gaps are open or cannot be repaired; holes at the venue itself cost its coverage alone.</p>
<div class="wide"><table><caption>Score</caption><tr><th>day</th>{venues}</tr>{scores}</table></div>
<h2>{newest}</h2>
<div class="wide"><table><tr><th>venue</th><th>score</th><th>events</th><th>coverage</th><th>gaps per million</th>
<th>repaired</th><th>open</th><th>lost</th><th>lag p50 ms</th><th>lag p99 ms</th><th>quarantined</th>
<th>incidents</th></tr>
{details}</table></div>
</html>
"""


def page_of(rows: Sequence[Quality]) -> str:
    """HTML; a line a day, the newest first, a column a venue, and all numbers of the newest day."""
    venues = sorted({row.exchange for row in rows})
    by_place = {(row.day, row.exchange): row.score for row in rows}
    days = sorted({row.day for row in rows}, reverse=True)
    scores = "\n".join(
        f"<tr><td>{day}</td>{''.join(_score(by_place.get((day, venue))) for venue in venues)}</tr>"
        for day in days
    )
    newest = days[0] if days else None
    return _PAGE.format(
        venues="".join(f"<th>{escape(venue)}</th>" for venue in venues),
        scores=scores,
        newest=newest or "Nothing is published yet",
        details="\n".join(_details(row) for row in rows if row.day == newest),
    )


def _score(score: float | None) -> str:
    if score is None:
        return "<td>–</td>"
    name = "good" if score >= GOOD else "fair" if score >= FAIR else "bad"
    return f'<td class="{name}">{score:.2f}</td>'


def _details(row: Quality) -> str:
    cells = (
        f"{row.events:,}",
        f"{row.coverage:.3%}",
        f"{row.gaps_per_million:,.1f}",
        f"{row.share_repaired:.1%}",
        f"{row.open:,}",
        f"{row.unrepairable:,}",
        "–" if row.latency_p50_ms is None else f"{row.latency_p50_ms:,.1f}",
        "–" if row.latency_p99_ms is None else f"{row.latency_p99_ms:,.1f}",
        f"{row.quarantined:,}",
        f"{row.incidents:,}",
    )
    numbers = "".join(f"<td>{cell}</td>" for cell in cells)
    return f"<tr><td>{escape(row.exchange)}</td>{_score(row.score)}{numbers}</tr>"
