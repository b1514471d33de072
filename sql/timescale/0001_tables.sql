-- One hypertable per kind (etl/model/tables.py), its columns named as in market_data.proto. TimescaleDB >= 2.20.
--
-- Identity is (exchange, symbol, record_key). A unique index of a hypertable must hold its time column, so the
-- tables are partitioned by key_time: key_time_ns floored to the microsecond, equal for every source of one fact.
-- `time` is the event time, or the receive time where the venue sent none, floored to the microsecond; the exact
-- nanoseconds stand beside it. Decimals are numeric without a scale: nothing is ever rounded.

CREATE TYPE source AS ENUM ('stream', 'replay', 'repair', 'backfill');
CREATE TYPE side AS ENUM ('buy', 'sell');
CREATE TYPE size_unit AS ENUM ('base', 'quote', 'contract', 'share', 'round_lot');
CREATE TYPE book_action AS ENUM ('snapshot', 'absolute', 'relative');
CREATE TYPE bar_state AS ENUM ('open', 'closed', 'revised');
CREATE TYPE correction_kind AS ENUM ('correct', 'cancel', 'error');
CREATE TYPE gap_kind AS ENUM ('disconnect', 'sequence', 'checksum', 'stale', 'overflow', 'source_hole', 'start',
                              'reset', 'join', 'quarantine');
CREATE TYPE gap_state AS ENUM ('open', 'repaired', 'source_hole', 'unrepairable');
CREATE TYPE trading_status AS ENUM ('trading', 'halted', 'paused', 'auction', 'closed');

-- What every record carries; a template, dropped below.
CREATE TABLE record_columns (
    key_time             timestamptz NOT NULL,
    time                 timestamptz NOT NULL,
    exchange             text        NOT NULL,
    symbol               text        NOT NULL,
    record_key           text        NOT NULL,
    venue_symbol         text,
    channel              text,
    event_time_ns        bigint,
    receive_time_ns      bigint      NOT NULL,
    publish_time_ns      bigint,
    participant_time_ns  bigint,
    source               source,
    connection_id        text,
    frame_sequence       bigint,
    frame_index          integer,
    parser_version       integer     NOT NULL,
    sequence             bigint,
    first_sequence       bigint,
    previous_sequence    bigint,
    flags                text[]
);

CREATE TABLE trades (
    LIKE record_columns INCLUDING ALL,
    last_price     numeric,
    volume         numeric,
    side           side,
    size_unit      size_unit,
    trade_id       text,
    market_center  text,
    trf_id         text,
    conditions     text[],
    tape           text
);

CREATE TABLE agg_trades (
    LIKE record_columns INCLUDING ALL,
    last_price      numeric,
    volume          numeric,
    side            side,
    size_unit       size_unit,
    trade_id        text,
    first_trade_id  text,
    last_trade_id   text,
    trade_count     bigint,
    conditions      text[]
);

CREATE TABLE quotes (
    LIKE record_columns INCLUDING ALL,
    bid            numeric,
    bid_size       numeric,
    ask            numeric,
    ask_size       numeric,
    size_unit      size_unit,
    bid_exchange   text,
    ask_exchange   text,
    conditions     text[],
    indicators     text[],
    tape           text,
    market_center  text
);

-- One row a message; filled only when the setting load_books is on.
CREATE TABLE book_updates (
    LIKE record_columns INCLUDING ALL,
    book_action  book_action,
    bid_prices   numeric[],
    bid_sizes    numeric[],
    ask_prices   numeric[],
    ask_sizes    numeric[],
    bid_orders   bigint[],
    ask_orders   bigint[],
    size_unit    size_unit,
    depth        integer
);

CREATE TABLE bars (
    LIKE record_columns INCLUDING ALL,
    interval          text,
    open              numeric,
    high              numeric,
    low               numeric,
    close             numeric,
    volume            numeric,
    size_unit         size_unit,
    vwap              numeric,
    quote_volume      numeric,
    taker_buy_volume  numeric,
    trade_count       bigint,
    bar_state         bar_state
);

-- The ledger of what is known to be missing. The last three columns belong to the repair, not to the load.
CREATE TABLE gaps (
    LIKE record_columns INCLUDING ALL,
    gap_kind           gap_kind,
    gap_state          gap_state,
    from_sequence      bigint,
    to_sequence        bigint,
    from_time_ns       bigint,
    to_time_ns         bigint,
    reason             text,
    attempts           integer     NOT NULL DEFAULT 0,
    repaired_rows      bigint      NOT NULL DEFAULT 0,
    last_attempt_time  timestamptz
);

CREATE TABLE corrections (
    LIKE record_columns INCLUDING ALL,
    original_trade_id  text,
    correction         correction_kind,
    trade_id           text,
    last_price         numeric,
    volume             numeric,
    size_unit          size_unit,
    market_center      text,
    conditions         text[],
    tape               text
);

CREATE TABLE statuses (
    LIKE record_columns INCLUDING ALL,
    status       trading_status,
    status_code  text,
    limit_down   numeric,
    limit_up     numeric,
    reason       text,
    indicators   text[],
    tape         text
);

CREATE TABLE stats (
    LIKE record_columns INCLUDING ALL,
    mark_price            numeric,
    index_price           numeric,
    open_interest         numeric,
    funding_rate          numeric,
    next_funding_time_ns  bigint
);

CREATE TABLE liquidations (
    LIKE record_columns INCLUDING ALL,
    last_price  numeric,
    volume      numeric,
    side        side,
    size_unit   size_unit
);

DROP TABLE record_columns;

SELECT create_hypertable('trades', by_range('key_time', INTERVAL '1 day'), create_default_indexes => false);
SELECT create_hypertable('agg_trades', by_range('key_time', INTERVAL '1 day'), create_default_indexes => false);
SELECT create_hypertable('quotes', by_range('key_time', INTERVAL '1 day'), create_default_indexes => false);
SELECT create_hypertable('book_updates', by_range('key_time', INTERVAL '1 day'), create_default_indexes => false);
SELECT create_hypertable('bars', by_range('key_time', INTERVAL '7 days'), create_default_indexes => false);
SELECT create_hypertable('gaps', by_range('key_time', INTERVAL '30 days'), create_default_indexes => false);
SELECT create_hypertable('corrections', by_range('key_time', INTERVAL '30 days'), create_default_indexes => false);
SELECT create_hypertable('statuses', by_range('key_time', INTERVAL '30 days'), create_default_indexes => false);
SELECT create_hypertable('stats', by_range('key_time', INTERVAL '7 days'), create_default_indexes => false);
SELECT create_hypertable('liquidations', by_range('key_time', INTERVAL '7 days'), create_default_indexes => false);

-- The identity, in the order that also serves "this symbol, this time range".
CREATE UNIQUE INDEX trades_identity ON trades (exchange, symbol, key_time, record_key);
CREATE UNIQUE INDEX agg_trades_identity ON agg_trades (exchange, symbol, key_time, record_key);
CREATE UNIQUE INDEX quotes_identity ON quotes (exchange, symbol, key_time, record_key);
CREATE UNIQUE INDEX book_updates_identity ON book_updates (exchange, symbol, key_time, record_key);
CREATE UNIQUE INDEX bars_identity ON bars (exchange, symbol, key_time, record_key);
CREATE UNIQUE INDEX gaps_identity ON gaps (exchange, symbol, key_time, record_key);
CREATE UNIQUE INDEX corrections_identity ON corrections (exchange, symbol, key_time, record_key);
CREATE UNIQUE INDEX statuses_identity ON statuses (exchange, symbol, key_time, record_key);
CREATE UNIQUE INDEX stats_identity ON stats (exchange, symbol, key_time, record_key);
CREATE UNIQUE INDEX liquidations_identity ON liquidations (exchange, symbol, key_time, record_key);

-- Quotes may have no event time; their key_time is then the day alone.
CREATE INDEX quotes_time ON quotes (exchange, symbol, time DESC);
CREATE INDEX gaps_open ON gaps (gap_state, exchange, symbol);
