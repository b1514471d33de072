"""``python -m etl.validation.documentation > docs/validation.md``: the page is made from the specs and codes."""

from __future__ import annotations

from etl.model.codes import Code
from etl.model.decimals import FRACTION_DIGITS_MAX, INTEGER_DIGITS_MAX
from etl.model.records import Kind, Severity, SizeUnit
from etl.validation.specs import SPECS, ValidationSpec

_HEAD = """\
# Validation

This page is generated: `python -m etl.validation.documentation > docs/validation.md`.

One definition of valid holds for every source and every writer. *Hard*: the record goes to the quarantine with its
code and reaches no store. *Soft*: the record is stored with the code in its `flags`, and goes to the quarantine too.
Nothing is dropped. `etl quarantine list`, `show` and `replay` work on what was held.

Times are judged against an estimate of the connection's clock offset (a running median of event time minus receive
time); `clock_skew` and `event_time_stale` are off for served recordings and history. A price is judged by the return
from the previous daily close, adjusted for splits, in standard deviations of 30 days of daily returns, with a floor
under the deviation; a symbol with fewer than 20 days is unknown and never hard. A level that several trades in a
row confirm is admitted, and what waited for it is published.
"""


def page() -> str:
    """The whole page, ending with a newline."""
    parts = [_HEAD, "## Codes\n", "| code | meaning |", "|---|---|"]
    parts += [f"| `{code}` | {code.meaning} |" for code in Code]
    for kind, spec in SPECS.items():
        if spec.rules:
            parts += ["", *_table_of(kind, spec)]
    return "\n".join(parts) + "\n"


def _table_of(kind: Kind, spec: ValidationSpec) -> list[str]:
    lines = [
        f"## {spec.table}",
        "",
        f"Decimals, of at most {INTEGER_DIGITS_MAX} digits before the point and {FRACTION_DIGITS_MAX} behind it: "
        f"{', '.join(f'`{name}`' for name in spec.decimals)}. "
        f"In the future beyond {_seconds(spec.future_hard_ns)} is hard; skew beyond "
        f"{_seconds(spec.skew_soft_ns)} and lateness beyond {_seconds(spec.stale_soft_ns)} are soft.",
    ]
    if spec.rules and kind in (Kind.TRADE, Kind.AGG_TRADE, Kind.LIQUIDATION):
        lines[-1] += (
            f" Deviation: soft from {spec.deviation_soft:g}, hard beyond {spec.deviation_hard:g}, floor "
            f"{spec.deviation_floor:g}; {spec.confirmations} trades within {spec.confirmation_share:.0%} confirm."
        )
    if spec.sizes:
        limits = "; ".join(
            f"{SizeUnit(unit).name.lower()} {limit.soft:g} / {limit.hard:g}"
            for unit, limit in enumerate(spec.sizes)
            if unit
        )
        lines += ["", f"Sizes, soft / hard above: {limits}."]
    lines += ["", "| rule | code | severity |", "|---|---|---|"]
    lines += [
        f"| `{rule.name}` | `{rule.code}` | {'hard' if rule.severity is Severity.HARD else 'soft'} |"
        for rule in spec.rules
    ]
    return lines


def _seconds(duration_ns: int) -> str:
    seconds = duration_ns // 1_000_000_000
    return f"{seconds // 86_400} d" if seconds >= 86_400 else f"{seconds} s"


if __name__ == "__main__":
    print(page(), end="")
