-- Functions that are woken for a message, what failed for good, and what is done by the clock.

-- Messages for which a function was sent a wake; one that has no row here is still to be woken for.
CREATE TABLE lake.wake (
    message_id bigint PRIMARY KEY REFERENCES procrastinate_jobs ON DELETE CASCADE,
    sends integer NOT NULL DEFAULT 1,
    sent_at timestamptz NOT NULL DEFAULT now()
);

-- Workers that live as long as one call of a function: a platform that starts does not take them for its own dead ones.
CREATE TABLE lake.function_worker (
    worker_id bigint PRIMARY KEY REFERENCES procrastinate_workers ON DELETE CASCADE
);

-- Why a message was given up; the message itself is a row of procrastinate_jobs that says failed.
CREATE TABLE lake.dead_letter (
    message_id bigint PRIMARY KEY REFERENCES procrastinate_jobs ON DELETE CASCADE,
    reason text NOT NULL,
    failed_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE lake.schedule (
    name text PRIMARY KEY,
    every text NOT NULL CHECK (every IN ('hour', 'day', 'week')),
    at time NOT NULL,                   -- Moscow; of an hourly one the minute counts
    weekday smallint CHECK (weekday BETWEEN 1 AND 7),   -- of a weekly one, 1 = Monday
    is_on boolean NOT NULL DEFAULT true,
    since timestamptz,                  -- what was due before is not caught up; NULL until a scheduler first looks
    changed_at timestamptz,
    changed_by text,
    CHECK ((every = 'week') = (weekday IS NOT NULL))
);
INSERT INTO lake.schedule (name, every, at, weekday) VALUES
    ('increment', 'day', '04:15', NULL),    -- what settles for four hours after a session is final then
    ('forming', 'hour', '00:20', NULL),
    ('reconcile', 'hour', '00:50', NULL),
    ('care', 'week', '05:30', 7);

CREATE TABLE lake.schedule_run (
    name text NOT NULL REFERENCES lake.schedule,
    due_at timestamptz NOT NULL,
    began_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    outcome text,                       -- one line; NULL while it goes on
    has_failed boolean NOT NULL DEFAULT false,
    job_id bigint REFERENCES lake.job,
    PRIMARY KEY (name, due_at)
);

-- The clock that runs the schedules, as it was read last: a simulator has its own.
CREATE TABLE lake.schedule_clock (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    shown_at timestamptz
);
INSERT INTO lake.schedule_clock DEFAULT VALUES;

GRANT SELECT, INSERT, UPDATE, DELETE ON lake.wake, lake.function_worker, lake.dead_letter, lake.schedule_run TO lakehouse_app;
GRANT SELECT, UPDATE ON lake.schedule, lake.schedule_clock TO lakehouse_app;
