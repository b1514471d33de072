-- A view that MODIFY QUERY changed gives the blocks that it writes other names until the server is started again (26.9): a
-- batch whose answer a kill took was stored a second time by the first start after 0017, 0019 or 0020. A view that is
-- renamed gives them the names that every later start gives. Landing tables are closed meanwhile, as in 0020.

ALTER TABLE market_internal.market_data ADD COLUMN IF NOT EXISTS closed UInt8 DEFAULT intDiv(1, frame_sequence * 0);
ALTER TABLE market_internal.frequent_market_data ADD COLUMN IF NOT EXISTS closed UInt8 DEFAULT intDiv(1, frame_sequence * 0);
ALTER TABLE market_internal.quarantined ADD COLUMN IF NOT EXISTS closed UInt8 DEFAULT intDiv(1, frame_sequence * 0);

RENAME TABLE IF EXISTS market_internal.trades_fan_out TO market_internal.trades_fan_out_renamed;
RENAME TABLE IF EXISTS market_internal.trades_fan_out_renamed TO market_internal.trades_fan_out;
RENAME TABLE IF EXISTS market_internal.quotes_fan_out TO market_internal.quotes_fan_out_renamed;
RENAME TABLE IF EXISTS market_internal.quotes_fan_out_renamed TO market_internal.quotes_fan_out;
RENAME TABLE IF EXISTS market_internal.books_fan_out TO market_internal.books_fan_out_renamed;
RENAME TABLE IF EXISTS market_internal.books_fan_out_renamed TO market_internal.books_fan_out;
RENAME TABLE IF EXISTS market_internal.others_fan_out TO market_internal.others_fan_out_renamed;
RENAME TABLE IF EXISTS market_internal.others_fan_out_renamed TO market_internal.others_fan_out;
RENAME TABLE IF EXISTS market_internal.quarantine_fan_out TO market_internal.quarantine_fan_out_renamed;
RENAME TABLE IF EXISTS market_internal.quarantine_fan_out_renamed TO market_internal.quarantine_fan_out;
RENAME TABLE IF EXISTS market_internal.frequent_trades_fan_out TO market_internal.frequent_trades_fan_out_renamed;
RENAME TABLE IF EXISTS market_internal.frequent_trades_fan_out_renamed TO market_internal.frequent_trades_fan_out;
RENAME TABLE IF EXISTS market_internal.frequent_quotes_fan_out TO market_internal.frequent_quotes_fan_out_renamed;
RENAME TABLE IF EXISTS market_internal.frequent_quotes_fan_out_renamed TO market_internal.frequent_quotes_fan_out;
RENAME TABLE IF EXISTS market_internal.frequent_books_fan_out TO market_internal.frequent_books_fan_out_renamed;
RENAME TABLE IF EXISTS market_internal.frequent_books_fan_out_renamed TO market_internal.frequent_books_fan_out;

ALTER TABLE market_internal.market_data DROP COLUMN IF EXISTS closed;
ALTER TABLE market_internal.frequent_market_data DROP COLUMN IF EXISTS closed;
ALTER TABLE market_internal.quarantined DROP COLUMN IF EXISTS closed;
