"""hftbacktest reads what ``etl convert`` wrote: the best prices at every second, an array of JSON a line.

Run by the Python that hftbacktest is installed in: ``hftbacktest_reader.py FILE.npz``. A line: time in ns, best bid and
ask, trades in that second.
"""

import json
import sys

import numpy as np
from hftbacktest import BacktestAsset, HashMapMarketDepthBacktest
from hftbacktest.data.validation import validate_event_order
from hftbacktest.types import event_dtype

SECOND_NS = 1_000_000_000
ORDER_NS = 10_000_000


def main(path: str) -> None:
    found = np.load(path)["data"]
    assert found.dtype == event_dtype
    validate_event_order(found)
    asset = (
        BacktestAsset()
        .data([path])
        .linear_asset(1.0)
        .constant_order_latency(ORDER_NS, ORDER_NS)
        .risk_adverse_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(0, 0)
        .tick_size(0.01)
        .lot_size(0.00001)
        .last_trades_capacity(1_000)
    )
    run = HashMapMarketDepthBacktest([asset])
    while run.elapse(SECOND_NS) == 0:
        depth = run.depth(0)
        print(
            json.dumps([int(run.current_timestamp), depth.best_bid, depth.best_ask, len(run.last_trades(0))])
        )
        run.clear_last_trades(0)


if __name__ == "__main__":
    main(sys.argv[1])
