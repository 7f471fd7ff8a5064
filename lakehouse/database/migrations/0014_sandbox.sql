-- Analyses that users keep, and the record of what the sandbox ran: one row before a run, one after it, never changed.

CREATE TABLE lake.analysis (
    user_id bigint NOT NULL REFERENCES lake.app_user,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 80),
    code text NOT NULL CHECK (octet_length(code) <= 65536),
    selection jsonb NOT NULL,           -- instruments, timeframe, from, till, adjust
    saved_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, name)
);

CREATE TABLE lake.sandbox_run (
    run_id uuid PRIMARY KEY,
    began_at timestamptz NOT NULL DEFAULT now(),
    user_name text NOT NULL,
    address text,
    code text NOT NULL,
    code_sha256 text NOT NULL,
    selection jsonb NOT NULL,
    data_version bigint NOT NULL,
    data_rows integer NOT NULL,
    data_bytes bigint NOT NULL,
    data_sha256 text NOT NULL,          -- of the Arrow file that was handed over
    limits jsonb NOT NULL
);
CREATE INDEX sandbox_run_newest ON lake.sandbox_run (user_name, began_at DESC);
CREATE INDEX sandbox_run_all ON lake.sandbox_run (began_at DESC);

-- No row here: the run is going on, or the web process ended before it did.
CREATE TABLE lake.sandbox_run_end (
    run_id uuid PRIMARY KEY REFERENCES lake.sandbox_run,
    ended_at timestamptz NOT NULL DEFAULT now(),
    status text NOT NULL,               -- done, error, stopped, timeout, memory, cpu, died, refused
    message text,
    error text,                         -- the analyst's own lines
    wall_s double precision NOT NULL,
    cpu_s double precision NOT NULL,
    peak_bytes bigint NOT NULL,
    items integer NOT NULL,
    result_bytes bigint NOT NULL,
    result_sha256 text NOT NULL,        -- of what was shown, as JSON
    is_truncated boolean NOT NULL
);

GRANT SELECT, INSERT, UPDATE, DELETE ON lake.analysis TO lakehouse_app;
GRANT SELECT, INSERT ON lake.sandbox_run, lake.sandbox_run_end TO lakehouse_app;
