-- What the load keeps beside the rows, written in the same transaction as they are.

-- The next offset to read of each partition. A topic that is deleted and created again has another topic_id.
CREATE TABLE load_offsets (
    topic_id      text        NOT NULL,
    partition     integer     NOT NULL,
    next          bigint      NOT NULL,
    topic         text        NOT NULL,
    updated_time  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic_id, partition)
);

-- Days with new trades whose candles are to be refreshed; noted rises while a refresh may be running.
CREATE TABLE pending_refreshes (
    day    date    PRIMARY KEY,
    noted  bigint  NOT NULL DEFAULT 0
);
