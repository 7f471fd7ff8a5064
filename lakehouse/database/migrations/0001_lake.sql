-- What the platform knows of its own work: Bronze's ledger, coverage, jobs, users. Series columns are '' where they do not apply.

DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['lakehouse_owner', 'lakehouse_app', 'lakehouse_read'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role);
        END IF;
        EXECUTE format('GRANT %I TO CURRENT_USER', role);
    END LOOP;
END
$$;

CREATE SCHEMA lake;

CREATE TABLE lake.bronze_object (
    object_key text PRIMARY KEY,
    family text NOT NULL,
    engine text NOT NULL,
    market text NOT NULL,
    board text NOT NULL,
    secid text NOT NULL,
    timeframe text NOT NULL,
    span tstzrange NOT NULL,            -- what the object speaks of, [from, till)
    complete boolean NOT NULL,          -- whether its end was proved
    fetched_at timestamptz NOT NULL,    -- the exchange's clock
    rank smallint NOT NULL DEFAULT 0,   -- 0 fetched, -1 uploaded
    rows integer NOT NULL,
    pages integer NOT NULL,
    end_proof text NOT NULL,
    landed_at timestamptz NOT NULL DEFAULT now(),
    merged_at timestamptz,
    published_at timestamptz
);
CREATE INDEX bronze_object_series ON lake.bronze_object (family, engine, market, secid, board, timeframe);
CREATE INDEX bronze_object_unmerged ON lake.bronze_object (landed_at) WHERE merged_at IS NULL;
CREATE INDEX bronze_object_unpublished ON lake.bronze_object (merged_at) WHERE published_at IS NULL;

CREATE TABLE lake.coverage (
    family text NOT NULL,
    engine text NOT NULL,
    market text NOT NULL,
    board text NOT NULL,
    secid text NOT NULL,
    timeframe text NOT NULL,
    from_date date NOT NULL,
    till_date date NOT NULL,
    state text NOT NULL CHECK (state IN ('complete', 'no trades', 'forming', 'failed', 'missing')),
    object_key text,
    next_due_at timestamptz,
    anchor jsonb,
    error text,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (family, engine, market, secid, board, timeframe, from_date),
    CHECK (from_date <= till_date)
);

CREATE TABLE lake.progress (
    table_name text PRIMARY KEY,
    delta_version bigint NOT NULL,
    run_id text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE lake.table_lock (
    table_name text PRIMARY KEY,
    run_id text NOT NULL,
    generation bigint NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE lake.request_budget (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    next_slot_at timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO lake.request_budget DEFAULT VALUES;

CREATE TABLE lake.request_lease (
    lease_id uuid PRIMARY KEY,
    expires_at timestamptz NOT NULL
);

CREATE TABLE lake.job (
    job_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    state text NOT NULL CHECK (state IN ('queued', 'running', 'cancelling', 'cancelled', 'failed', 'done')),
    requested_by text NOT NULL,
    params jsonb NOT NULL,
    report jsonb,
    error text,
    cancel_requested boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    planned_at timestamptz,             -- when its windows were all written down
    finished_at timestamptz
);

CREATE TABLE lake.job_window (
    window_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id bigint NOT NULL REFERENCES lake.job,
    family text NOT NULL,
    engine text NOT NULL,
    market text NOT NULL,
    board text NOT NULL,
    secid text NOT NULL,
    timeframe text NOT NULL,
    from_at timestamp NOT NULL,         -- Moscow
    till_date date NOT NULL,
    state text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'landed', 'failed', 'cancelled')),
    pages integer NOT NULL DEFAULT 0,
    rows integer NOT NULL DEFAULT 0,
    object_key text,
    error text,
    attempts integer NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX job_window_job ON lake.job_window (job_id, state);
CREATE UNIQUE INDEX job_window_once ON lake.job_window
    (job_id, family, engine, market, board, secid, timeframe, from_at);

CREATE TABLE lake.step_run (
    run_id text NOT NULL,
    step text NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    seconds double precision,
    report jsonb,
    PRIMARY KEY (run_id, step)
);
CREATE INDEX step_run_started ON lake.step_run (started_at);

CREATE TABLE lake.app_user (
    user_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    password_hash text NOT NULL,
    role text NOT NULL CHECK (role IN ('viewer', 'analyst', 'admin')),
    created_at timestamptz NOT NULL DEFAULT now(),
    disabled_at timestamptz
);

CREATE TABLE lake.session (
    token_hash bytea PRIMARY KEY,
    user_id bigint NOT NULL REFERENCES lake.app_user ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);
CREATE INDEX session_by_user ON lake.session (user_id);

CREATE TABLE lake.login_attempt (
    name text NOT NULL,
    address text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    ok boolean NOT NULL
);
CREATE INDEX login_attempt_recent ON lake.login_attempt (name, address, at);

CREATE TABLE lake.audit (
    audit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    user_name text NOT NULL,
    action text NOT NULL,
    target text NOT NULL,
    detail jsonb NOT NULL,
    outcome text NOT NULL,
    address text
);

GRANT USAGE ON SCHEMA lake TO lakehouse_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA lake TO lakehouse_app;
REVOKE UPDATE, DELETE ON lake.audit FROM lakehouse_app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA lake TO lakehouse_app;
