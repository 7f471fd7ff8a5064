-- Sessions that can be listed and revoked, API tokens, and a throttle that knows where a user has logged in before.

ALTER TABLE lake.session
    ADD COLUMN session_id uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,   -- what lists show; the token is shown to nobody
    ADD COLUMN seen_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN address text NOT NULL DEFAULT '',
    ADD COLUMN program text NOT NULL DEFAULT '';                            -- as the browser calls itself

CREATE TABLE lake.api_token (
    token_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token_hash bytea NOT NULL UNIQUE,
    user_id bigint NOT NULL REFERENCES lake.app_user ON DELETE CASCADE,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 60),
    role text NOT NULL CHECK (role IN ('viewer', 'analyst', 'admin')),      -- at most; the owner's may be less by now
    is_read_only boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    revoked_at timestamptz
);
CREATE INDEX api_token_by_user ON lake.api_token (user_id);

-- Where a user has logged in: a network, or a browser by the hash of its cookie. Others' failures do not count there.
CREATE TABLE lake.login_place (
    user_id bigint NOT NULL REFERENCES lake.app_user ON DELETE CASCADE,
    place text NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, place)
);

DELETE FROM lake.login_attempt;
ALTER TABLE lake.login_attempt
    DROP COLUMN ok,                                         -- only failures stay
    ADD COLUMN attempt_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ADD COLUMN place text NOT NULL DEFAULT '';              -- the known place it came from; '' if it is none
DROP INDEX lake.login_attempt_recent;
CREATE INDEX login_attempt_of_name ON lake.login_attempt (name, at);
CREATE INDEX login_attempt_of_address ON lake.login_attempt (address, at);
CREATE INDEX login_attempt_at ON lake.login_attempt (at);

GRANT SELECT, INSERT, UPDATE, DELETE ON lake.api_token, lake.login_place TO lakehouse_app;
