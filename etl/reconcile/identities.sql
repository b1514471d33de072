-- Which frame of the raw topic is which line of the truth, and from there on: identities.

-- The n-th frame of a content on a connection is the n-th that was sent of it, or the last: a frame that went to two
-- connections was told once.
CREATE TABLE given AS
    SELECT exchange, digest, line,
           row_number() OVER (PARTITION BY exchange, digest ORDER BY line) AS nth,
           count(*) OVER (PARTITION BY exchange, digest) AS copies
    FROM line WHERE fate <> 'withheld';
CREATE TABLE arrived_frames AS
    SELECT t.exchange, t.connection_id, t.frame_sequence, t.part, t.receive_ns, g.line
    FROM (
        SELECT *, row_number() OVER (
            PARTITION BY exchange, connection_id, digest ORDER BY frame_sequence, part) AS nth
        FROM (SELECT DISTINCT * FROM raw_frames)
    ) t
    JOIN given g ON g.exchange = t.exchange AND g.digest = t.digest AND g.nth = least(t.nth, g.copies);
CREATE VIEW unknown_frames AS SELECT * FROM raw_frames ANTI JOIN given USING (exchange, digest);

CREATE TABLE raw_events AS
    SELECT f.exchange, e.kind, e.symbol, e.key, f.receive_ns, f.connection_id, f.frame_sequence,
           f.part + e.part AS frame_index, f.line
    FROM arrived_frames f JOIN told e USING (exchange, line);

-- A frame of a recording that nobody told anything of is known by its line, and by what the parser made of it; so is an
-- event that has no key but its place on a connection (@).
CREATE MACRO is_placed(kind, key) AS kind = 'frame' OR key = '@';
CREATE TABLE made AS
    SELECT DISTINCT r.exchange, r.line, r.receive_ns, n.kind, n.symbol, n.key
    FROM raw_events r JOIN normalized n USING (exchange, connection_id, frame_sequence)
    WHERE r.kind = 'frame' OR (r.key = '@' AND n.kind = r.kind AND n.symbol = r.symbol);

CREATE TABLE sent_once AS
    SELECT exchange, kind, symbol, key, min(time_ns) AS time_ns, min(sent_ns) AS sent_ns, bool_or(streamed) AS streamed
    FROM (
        SELECT exchange, kind, symbol, if(is_placed(kind, key), line::TEXT, key) AS key, time_ns, sent_ns, streamed
        FROM told JOIN line USING (exchange, line) ANTI JOIN made USING (exchange, line)
        WHERE fate <> 'late' AND kind NOT IN ('ignored', 'invalid')
        UNION ALL
        SELECT exchange, made.kind, made.symbol, made.key, sent_ns, sent_ns, streamed
        FROM made JOIN line USING (exchange, line) WHERE fate <> 'late'
    )
    GROUP BY ALL;
CREATE TABLE late_once AS
    SELECT DISTINCT exchange, kind, symbol, key
    FROM told JOIN line USING (exchange, line) ANTI JOIN sent_once USING (exchange, kind, symbol, key)
    WHERE fate = 'late' AND kind NOT IN ('ignored', 'invalid') AND NOT is_placed(kind, key);
CREATE TABLE normalized_once AS SELECT DISTINCT exchange, kind, symbol, key FROM normalized;
CREATE TABLE on_raw AS
    SELECT exchange, kind, symbol, key, min(receive_ns) AS receive_ns
    FROM (
        SELECT exchange, kind, symbol, if(is_placed(kind, key), line::TEXT, key) AS key, receive_ns FROM raw_events
        UNION ALL
        SELECT exchange, kind, symbol, key, receive_ns FROM made
    )
    SEMI JOIN sent_once USING (exchange, kind, symbol, key)
    GROUP BY ALL;
CREATE TABLE ahead_of_raw AS
    SELECT exchange, kind, symbol, key FROM normalized_once
    SEMI JOIN sent_once USING (exchange, kind, symbol, key) ANTI JOIN on_raw USING (exchange, kind, symbol, key);
CREATE TABLE arrived AS
    SELECT * FROM on_raw UNION ALL SELECT exchange, kind, symbol, key, 0 FROM ahead_of_raw;
CREATE TABLE quarantined_once AS
    SELECT DISTINCT exchange, kind, symbol, key FROM (
        SELECT exchange, kind, symbol, key FROM quarantine WHERE key <> ''
        UNION ALL
        SELECT r.exchange, r.kind, r.symbol, r.key
        FROM raw_events r SEMI JOIN quarantine q USING (exchange, connection_id, frame_sequence, frame_index)
        WHERE r.kind NOT IN ('ignored', 'invalid') AND NOT is_placed(r.kind, r.key)
        UNION ALL
        SELECT r.exchange, r.kind, r.symbol, r.line::TEXT
        FROM raw_events r SEMI JOIN quarantine q USING (exchange, connection_id, frame_sequence)
        WHERE is_placed(r.kind, r.key));
CREATE TABLE missed AS SELECT * FROM sent_once ANTI JOIN arrived USING (exchange, kind, symbol, key);
