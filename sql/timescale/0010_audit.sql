-- What the nightly audit found, one row for each offence however many nights it was seen, and what is not to be told.
CREATE TABLE audit_findings (
    check_name    text        NOT NULL,
    store         text        NOT NULL,
    table_name    text        NOT NULL,
    key           text        NOT NULL,
    detail        text        NOT NULL,
    day           date        NOT NULL,
    first_seen    timestamptz NOT NULL,
    last_seen     timestamptz NOT NULL,
    nights        integer     NOT NULL DEFAULT 1,
    state         text        NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'suppressed', 'resolved')),
    PRIMARY KEY (check_name, store, table_name, key, day)
);

-- A rule silences what it matches until it expires; empty matches anything, from_day and to_day are inclusive.
CREATE TABLE audit_suppressions (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    check_name  text        NOT NULL DEFAULT '',
    table_name  text        NOT NULL DEFAULT '',
    key_prefix  text        NOT NULL DEFAULT '',
    from_day    date,
    to_day      date,
    reason      text        NOT NULL,
    expires     timestamptz NOT NULL,
    created     timestamptz NOT NULL DEFAULT now()
);
