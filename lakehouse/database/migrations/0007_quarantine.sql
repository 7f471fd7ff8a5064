-- What silver.quarantine holds, for those who cannot read Delta (the functions' package holds no reader): the newest rows.

CREATE TABLE lake.quarantine (
    source text PRIMARY KEY,            -- Bronze object and line: key#line.row
    table_name text NOT NULL,           -- the table of Silver that the row did not reach
    engine text NOT NULL,
    market text NOT NULL,
    board text NOT NULL,
    secid text NOT NULL,
    timeframe text NOT NULL,
    rule text NOT NULL,
    payload text NOT NULL,              -- the row as received
    fetched_at timestamptz NOT NULL
);
CREATE INDEX quarantine_newest ON lake.quarantine (fetched_at DESC, source);

-- Counts of all, those included that are too many to be listed.
CREATE TABLE lake.quarantine_count (
    table_name text NOT NULL,
    rule text NOT NULL,
    rows bigint NOT NULL,
    PRIMARY KEY (table_name, rule)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON lake.quarantine, lake.quarantine_count TO lakehouse_app;
