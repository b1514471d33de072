-- The ledger's columns of the repair (attempts, repaired_rows) now come with the gap itself; so does when it was first
-- declared. The time of the last attempt is the receive time of the gap's newest state.
ALTER TABLE gaps DROP COLUMN last_attempt_time;
ALTER TABLE gaps ADD COLUMN detected_time_ns bigint;
