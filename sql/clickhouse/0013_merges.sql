-- Merge sixteen parts at once instead of five. ClickHouse takes parts under 5 MiB, here half a million rows, for equal in
-- size, so that each handful of small inserts had the newest large part written again: at 10,000 events/s 23 rows were
-- merged for each one inserted, now 9. Some twenty parts of a table stay unmerged instead of ten.
ALTER TABLE trades_stored MODIFY SETTING merge_selector_base = 16;
ALTER TABLE quotes_stored MODIFY SETTING merge_selector_base = 16;
ALTER TABLE books_stored  MODIFY SETTING merge_selector_base = 16;
ALTER TABLE others_stored MODIFY SETTING merge_selector_base = 16;
