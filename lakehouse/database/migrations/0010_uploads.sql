-- Files that people put under uploads/: what became of each, by the state of its content when it was looked at.

CREATE TABLE lake.upload (
    upload_key text PRIMARY KEY,
    mark text NOT NULL,                 -- of the content that was looked at, as the store has it
    state text NOT NULL CHECK (state IN ('imported', 'refused')),
    error text NOT NULL DEFAULT '',     -- why it was refused, and what to do
    object_key text,                    -- the Bronze object that it became
    rows integer NOT NULL DEFAULT 0,
    uploaded_by text NOT NULL DEFAULT '',   -- '' if it was put into the store by other means than ours
    seen_at timestamptz NOT NULL DEFAULT now(),
    accepted_by text NOT NULL DEFAULT '',
    accepted_key text                   -- the Bronze object of the acceptance
);
CREATE INDEX upload_newest ON lake.upload (seen_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON lake.upload TO lakehouse_app;
