"""What the load and the export make of messages before their stores see them, by the compiled decoder and by the plain
one in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from etl.bench.report import spread
from etl.express.decoders import Decoder, decoder
from etl.lake.rows import to_arrow
from etl.sinks.collection import rare_collection
from etl.sinks.refusals import rows_check, screened
from etl.sinks.timescale import parameters
from etl.wire.columns import Rows, newest

BATCH_MESSAGES = 10_000
"""As the load reads them."""
US_PER_S = 1_000_000

_WORK: Mapping[str, Callable[[Rows], object]] = {
    "timescale": lambda rows: parameters(newest(rows)),
    "lake": to_arrow,
}
_WAYS = {"plain": False, "compiled": True}


def decoding(values: Sequence[bytes], repeats: int) -> dict[str, Any]:
    """CPU µs a message, by store and way: decoded, checked, made what the store takes. ``ratio``: plain by compiled."""
    rows_check()  # the first batch reads every venue's rules
    batches = [
        list(enumerate(values[start : start + BATCH_MESSAGES], start))
        for start in range(0, len(values), BATCH_MESSAGES)
    ]
    found: dict[str, Any] = {"decoder": decoder(True)[1]}
    for store, work in _WORK.items():
        us: dict[str, list[float]] = {way: [] for way in _WAYS}
        for _ in range(repeats):
            for way, is_compiled in _WAYS.items():
                us[way].append(US_PER_S * _cpu_s(decoder(is_compiled)[0], batches, work) / len(values))
        ratios = [plain / compiled for plain, compiled in zip(us["plain"], us["compiled"], strict=True)]
        found[store] = {
            **{f"{way}_us": spread(each, 2) for way, each in us.items()},
            "ratio": round(statistics.median(ratios), 1),
        }
    return found


@rare_collection()
def _cpu_s(
    decode: Decoder, batches: Sequence[Sequence[tuple[int, bytes]]], work: Callable[[Rows], object]
) -> float:
    began = time.process_time()
    for batch in batches:
        rows, refused = decode(batch, ())
        kept, broken = screened(rows)
        assert not refused
        assert not broken
        for each in kept:
            work(each)
    return time.process_time() - began
