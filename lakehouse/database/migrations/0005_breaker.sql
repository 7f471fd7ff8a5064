-- Whether the exchange answers: what all workers of all processes found out together, by this database's clock.

CREATE TABLE lake.breaker (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    failures integer NOT NULL DEFAULT 0,    -- attempts in vain since the last answer
    since timestamptz,                      -- when it opened; NULL: it is closed
    until timestamptz,                      -- before that nobody asks
    openings integer NOT NULL DEFAULT 0,    -- in a row: each lasts longer
    reason text,
    asking_until timestamptz                -- meanwhile one worker asks whether the exchange answers; then he is dead
);
INSERT INTO lake.breaker DEFAULT VALUES;

GRANT SELECT, UPDATE ON lake.breaker TO lakehouse_app;
