-- The audit record can only be added to: the app's role has no right to more, and whoever has is asked to mean it.

ALTER TABLE lake.audit ADD COLUMN via text NOT NULL DEFAULT '';     -- an API token by its name; '' for a session
CREATE INDEX audit_by_user ON lake.audit (user_name, audit_id);
CREATE INDEX audit_by_action ON lake.audit (action, audit_id);
CREATE INDEX audit_by_time ON lake.audit (at);

-- The number and the time of an entry are the database's
REVOKE ALL ON lake.audit FROM lakehouse_app;
GRANT SELECT, INSERT (user_name, via, action, target, detail, outcome, address) ON lake.audit TO lakehouse_app;

CREATE FUNCTION lake.refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'lake.audit is only added to: % is refused', TG_OP
        USING HINT = 'To delete old entries for good, its owner disables the trigger audit_is_only_added_to, and enables it again.';
END
$$;
CREATE TRIGGER audit_is_only_added_to BEFORE UPDATE OR DELETE OR TRUNCATE ON lake.audit
    FOR EACH STATEMENT EXECUTE FUNCTION lake.refuse_audit_change();
