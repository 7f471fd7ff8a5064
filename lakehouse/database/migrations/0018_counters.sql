-- What is counted for as long as the platform lives, by all its processes and functions: a few hundred rows at most.
-- /metrics reads them, so that nothing big is scanned for it.

CREATE TABLE lake.counter (
    name text NOT NULL,
    labels text[] NOT NULL,             -- values, in the order that lakehouse/operations/metrics.py gives them
    value double precision NOT NULL,
    PRIMARY KEY (name, labels)
) WITH (fillfactor = 50);               -- counted up in place

-- Slots that were given, counted where they are: in the one row that every request changes anyway.
ALTER TABLE lake.request_budget ADD COLUMN slots_given bigint NOT NULL DEFAULT 0;

-- When a worker of a queue was last alive.
CREATE TABLE lake.worker_heard (
    queue text PRIMARY KEY,
    heard_at timestamptz NOT NULL DEFAULT now()
);

-- What coverage, seen by timeframe and state, is counted from: an index is read faster than the table.
CREATE INDEX coverage_state ON lake.coverage (family, timeframe, state);

-- Rows that were merged before there were counters.
INSERT INTO lake.counter (name, labels, value)
SELECT 'rows', ARRAY[t.key, c.key], sum((c.value)::double precision)
FROM lake.step_run s, jsonb_each(s.report -> 'tables') t, jsonb_each_text(t.value) c
WHERE s.step IN ('silver', 'rebuild silver') AND jsonb_typeof(s.report -> 'tables') = 'object'
    AND c.key IN ('accepted', 'unchanged', 'revised', 'outranked', 'quarantined')
GROUP BY t.key, c.key HAVING sum((c.value)::double precision) > 0;

GRANT SELECT, INSERT, UPDATE, DELETE ON lake.counter, lake.worker_heard TO lakehouse_app;
