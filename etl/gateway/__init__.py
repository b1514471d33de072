"""The gateway: records out of the topics and the stores, over websocket and HTTP, for engines, backtests and pages.

topic ─▶ Pump (one thread) ─▶ Hub ─┬▶ Ring: the newest messages, for who comes back
                                   ├▶ Latest: the last trade, quote, … of each instrument
                                   └▶ Session, one a client ─▶ Outbox, bounded ─▶ websocket
topic ─▶ Past, one a client that asks for what was ──▶ Outbox, until it reaches the ring
"""
