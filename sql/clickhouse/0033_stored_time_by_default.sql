-- The sink sends trades, quotes and books as ready blocks to their stored tables, past the landing table whose views say
-- when a row was stored: now the table says it itself. Why: docs/decisions/ready_blocks.md.
ALTER TABLE market_internal.trades_stored MODIFY COLUMN stored_time DEFAULT now64(9, 'UTC');
ALTER TABLE market_internal.quotes_stored MODIFY COLUMN stored_time DEFAULT now64(9, 'UTC');
ALTER TABLE market_internal.books_stored MODIFY COLUMN stored_time DEFAULT now64(9, 'UTC');
