-- What the report counts, row by row.

CREATE VIEW normalized_sent AS
    SELECT * FROM normalized_once SEMI JOIN sent_once USING (exchange, kind, symbol, key);
CREATE VIEW quarantined_sent AS
    SELECT * FROM quarantined_once SEMI JOIN sent_once USING (exchange, kind, symbol, key)
    SEMI JOIN arrived USING (exchange, kind, symbol, key) ANTI JOIN normalized_once USING (exchange, kind, symbol, key);
CREATE VIEW unexpected AS
    SELECT * FROM normalized_once ANTI JOIN sent_once USING (exchange, kind, symbol, key)
    ANTI JOIN late_once USING (exchange, kind, symbol, key);

-- What has no identity is counted: control messages and broken frames, and frames that nothing was made of.
CREATE VIEW ignored_sent AS
    SELECT exchange FROM told JOIN line USING (exchange, line) WHERE kind = 'ignored' AND fate = 'sent';
CREATE VIEW ignored_arrived AS SELECT exchange FROM raw_events WHERE kind = 'ignored';
CREATE VIEW invalid_sent AS
    SELECT exchange FROM told JOIN line USING (exchange, line) WHERE kind = 'invalid' AND fate = 'sent';
CREATE VIEW invalid_arrived AS SELECT * FROM raw_events WHERE kind = 'invalid';
CREATE VIEW invalid_kept AS
    SELECT * FROM invalid_arrived SEMI JOIN quarantine USING (exchange, connection_id, frame_sequence, frame_index);
CREATE VIEW frames_ignored AS
    SELECT * FROM arrived ANTI JOIN quarantined_once USING (exchange, kind, symbol, key) WHERE kind = 'frame';

CREATE MACRO held_in(a_store) AS TABLE
    SELECT exchange, kind, symbol, key, count(*) AS copies
    FROM held ANTI JOIN late_once USING (exchange, kind, symbol, key) WHERE store = a_store GROUP BY ALL;
CREATE MACRO doubled_in(a_store) AS TABLE SELECT * FROM held_in(a_store) WHERE copies > 1;
CREATE MACRO lost_in(a_store, kinds) AS TABLE
    SELECT * FROM (SELECT * FROM arrived WHERE list_contains(kinds, kind))
    ANTI JOIN held_in(a_store) USING (exchange, kind, symbol, key)
    ANTI JOIN quarantined_once USING (exchange, kind, symbol, key);

-- What was missed on a stream, and when the last event before it of its kind and symbol was received.
CREATE VIEW unseen AS
    SELECT m.exchange, m.kind, m.symbol, m.key, m.time_ns, m.sent_ns, coalesce(s.receive_ns, 0) AS previous_ns
    FROM missed m ASOF LEFT JOIN (
        SELECT exchange, kind, symbol, sent_ns, receive_ns
        FROM sent_once SEMI JOIN (SELECT DISTINCT exchange, kind, symbol FROM missed) USING (exchange, kind, symbol)
        JOIN on_raw USING (exchange, kind, symbol, key)
    ) s ON m.exchange = s.exchange AND m.kind = s.kind AND m.symbol = s.symbol AND m.sent_ns >= s.sent_ns
    WHERE m.streamed ORDER BY m.sent_ns;

CREATE VIEW missed_trade_ids AS
    SELECT * FROM missed WHERE kind IN ('trade', 'agg_trade') AND regexp_full_match(key, '\d+');
-- Ids of a book's changes that a gap declares missing and that came.
CREATE VIEW book_excess AS
    SELECT g.exchange, sum(least(g.last_id, n.last_id) - greatest(g.first_id, n.first_id) + 1) AS ids
    FROM book_gaps g JOIN (SELECT DISTINCT exchange, symbol, first_id, last_id FROM normalized WHERE kind = 'book') n
      ON g.exchange = n.exchange AND g.symbol = n.symbol AND n.first_id <= g.last_id AND n.last_id >= g.first_id
    GROUP BY g.exchange;
