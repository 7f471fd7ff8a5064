-- A database as the first schema that landed made it (migrations 0001-0003), with a row in every table: pg_dump --inserts --no-owner,
-- without comments. It stands for what people have: never made anew from later migrations.

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

CREATE SCHEMA gold;

CREATE SCHEMA lake;

CREATE SCHEMA store;

CREATE TYPE public.procrastinate_job_event_type AS ENUM (
    'deferred',
    'started',
    'deferred_for_retry',
    'failed',
    'succeeded',
    'cancelled',
    'abort_requested',
    'aborted',
    'scheduled',
    'retried'
);

CREATE TYPE public.procrastinate_job_status AS ENUM (
    'todo',
    'doing',
    'succeeded',
    'failed',
    'cancelled',
    'aborting',
    'aborted'
);

CREATE TYPE public.procrastinate_job_to_defer_v1 AS (
	queue_name character varying,
	task_name character varying,
	priority integer,
	lock text,
	queueing_lock text,
	args jsonb,
	scheduled_at timestamp with time zone
);

CREATE FUNCTION public.procrastinate_cancel_job_v1(job_id bigint, abort boolean, delete_job boolean) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
DECLARE
    _job_id bigint;
BEGIN
    IF delete_job THEN
        DELETE FROM procrastinate_jobs
        WHERE id = job_id AND status = 'todo'
        RETURNING id INTO _job_id;
    END IF;
    IF _job_id IS NULL THEN
        IF abort THEN
            UPDATE procrastinate_jobs
            SET abort_requested = true,
                status = CASE status
                    WHEN 'todo' THEN 'cancelled'::procrastinate_job_status ELSE status
                END
            WHERE id = job_id AND status IN ('todo', 'doing')
            RETURNING id INTO _job_id;
        ELSE
            UPDATE procrastinate_jobs
            SET status = 'cancelled'::procrastinate_job_status
            WHERE id = job_id AND status = 'todo'
            RETURNING id INTO _job_id;
        END IF;
    END IF;
    RETURN _job_id;
END;
$$;

CREATE FUNCTION public.procrastinate_defer_jobs_v1(jobs public.procrastinate_job_to_defer_v1[]) RETURNS bigint[]
    LANGUAGE plpgsql
    AS $$
DECLARE
    job_ids bigint[];
BEGIN
    WITH inserted_jobs AS (
        INSERT INTO procrastinate_jobs (queue_name, task_name, priority, lock, queueing_lock, args, scheduled_at)
        SELECT (job).queue_name,
               (job).task_name,
               (job).priority,
               (job).lock,
               (job).queueing_lock,
               (job).args,
               (job).scheduled_at
        FROM unnest(jobs) AS job
        RETURNING id
    )
    SELECT array_agg(id) FROM inserted_jobs INTO job_ids;

    RETURN job_ids;
END;
$$;

CREATE FUNCTION public.procrastinate_defer_periodic_job_v2(_queue_name character varying, _lock character varying, _queueing_lock character varying, _task_name character varying, _priority integer, _periodic_id character varying, _defer_timestamp bigint, _args jsonb) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
DECLARE
	_job_id bigint;
	_defer_id bigint;
BEGIN
    INSERT
        INTO procrastinate_periodic_defers (task_name, periodic_id, defer_timestamp)
        VALUES (_task_name, _periodic_id, _defer_timestamp)
        ON CONFLICT DO NOTHING
        RETURNING id into _defer_id;

    IF _defer_id IS NULL THEN
        RETURN NULL;
    END IF;

    UPDATE procrastinate_periodic_defers
        SET job_id = (
            SELECT COALESCE((
                SELECT unnest(procrastinate_defer_jobs_v1(
                    ARRAY[
                        ROW(
                            _queue_name,
                            _task_name,
                            _priority,
                            _lock,
                            _queueing_lock,
                            _args,
                            NULL::timestamptz
                        )
                    ]::procrastinate_job_to_defer_v1[]
                ))
            ), NULL)
        )
        WHERE id = _defer_id
        RETURNING job_id INTO _job_id;

    DELETE
        FROM procrastinate_periodic_defers
        USING (
            SELECT id
            FROM procrastinate_periodic_defers
            WHERE procrastinate_periodic_defers.task_name = _task_name
            AND procrastinate_periodic_defers.periodic_id = _periodic_id
            AND procrastinate_periodic_defers.defer_timestamp < _defer_timestamp
            ORDER BY id
            FOR UPDATE
        ) to_delete
        WHERE procrastinate_periodic_defers.id = to_delete.id;

    RETURN _job_id;
END;
$$;

SET default_tablespace = '';

SET default_table_access_method = heap;

CREATE TABLE public.procrastinate_jobs (
    id bigint NOT NULL,
    queue_name character varying(128) NOT NULL,
    task_name character varying(128) NOT NULL,
    priority integer DEFAULT 0 NOT NULL,
    lock text,
    queueing_lock text,
    args jsonb DEFAULT '{}'::jsonb NOT NULL,
    status public.procrastinate_job_status DEFAULT 'todo'::public.procrastinate_job_status NOT NULL,
    scheduled_at timestamp with time zone,
    attempts integer DEFAULT 0 NOT NULL,
    abort_requested boolean DEFAULT false NOT NULL,
    worker_id bigint,
    CONSTRAINT check_not_todo_abort_requested CHECK ((NOT ((status = 'todo'::public.procrastinate_job_status) AND (abort_requested = true))))
);

CREATE FUNCTION public.procrastinate_fetch_job_v2(target_queue_names character varying[], p_worker_id bigint) RETURNS public.procrastinate_jobs
    LANGUAGE plpgsql
    AS $$
DECLARE
	found_jobs procrastinate_jobs;
BEGIN
    WITH candidate AS (
        SELECT jobs.*
            FROM procrastinate_jobs AS jobs
            WHERE
                -- reject the job if its lock has earlier or higher priority jobs
                NOT EXISTS (
                    SELECT 1
                        FROM procrastinate_jobs AS other_jobs
                        WHERE
                            jobs.lock IS NOT NULL
                            AND other_jobs.lock = jobs.lock
                            AND (
                                -- job with same lock is already running
                                other_jobs.status = 'doing'
                                OR
                                -- job with same lock is waiting and has higher priority (or same priority but was queued first)
                                (
                                    other_jobs.status = 'todo'
                                    AND (
                                        other_jobs.priority > jobs.priority
                                        OR (
                                        other_jobs.priority = jobs.priority
                                        AND other_jobs.id < jobs.id
                                        )
                                    )
                                )
                            )
                )
                AND jobs.status = 'todo'
                AND (target_queue_names IS NULL OR jobs.queue_name = ANY( target_queue_names ))
                AND (jobs.scheduled_at IS NULL OR jobs.scheduled_at <= now())
            ORDER BY jobs.priority DESC, jobs.id ASC LIMIT 1
            FOR UPDATE OF jobs SKIP LOCKED
    )
    UPDATE procrastinate_jobs
        SET status = 'doing', worker_id = p_worker_id
        FROM candidate
        WHERE procrastinate_jobs.id = candidate.id
        RETURNING procrastinate_jobs.* INTO found_jobs;

 RETURN found_jobs;
END;
$$;

CREATE FUNCTION public.procrastinate_finish_job_v1(job_id bigint, end_status public.procrastinate_job_status, delete_job boolean) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    _job_id bigint;
BEGIN
    IF end_status NOT IN ('succeeded', 'failed', 'aborted') THEN
        RAISE 'End status should be either "succeeded", "failed" or "aborted" (job id: %)', job_id;
    END IF;
    IF delete_job THEN
        DELETE FROM procrastinate_jobs
        WHERE id = job_id AND status IN ('todo', 'doing')
        RETURNING id INTO _job_id;
    ELSE
        UPDATE procrastinate_jobs
        SET status = end_status,
            abort_requested = false,
            attempts = CASE status
                WHEN 'doing' THEN attempts + 1 ELSE attempts
            END
        WHERE id = job_id AND status IN ('todo', 'doing')
        RETURNING id INTO _job_id;
    END IF;
    IF _job_id IS NULL THEN
        RAISE 'Job was not found or not in "doing" or "todo" status (job id: %)', job_id;
    END IF;
END;
$$;

CREATE FUNCTION public.procrastinate_notify_queue_abort_job_v1() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    payload TEXT;
BEGIN
    SELECT json_build_object('type', 'abort_job_requested', 'job_id', NEW.id)::text INTO payload;
	PERFORM pg_notify('procrastinate_queue_v1#' || NEW.queue_name, payload);
	PERFORM pg_notify('procrastinate_any_queue_v1', payload);
	RETURN NEW;
END;
$$;

CREATE FUNCTION public.procrastinate_notify_queue_job_inserted_v1() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    payload TEXT;
BEGIN
    SELECT json_build_object('type', 'job_inserted', 'job_id', NEW.id)::text INTO payload;
	PERFORM pg_notify('procrastinate_queue_v1#' || NEW.queue_name, payload);
	PERFORM pg_notify('procrastinate_any_queue_v1', payload);
	RETURN NEW;
END;
$$;

CREATE FUNCTION public.procrastinate_prune_stalled_workers_v1(seconds_since_heartbeat double precision) RETURNS TABLE(worker_id bigint)
    LANGUAGE plpgsql
    AS $$
BEGIN
    RETURN QUERY
    DELETE FROM procrastinate_workers
    WHERE last_heartbeat < NOW() - (seconds_since_heartbeat || 'SECOND')::INTERVAL
    RETURNING procrastinate_workers.id;
END;
$$;

CREATE FUNCTION public.procrastinate_register_worker_v1() RETURNS TABLE(worker_id bigint)
    LANGUAGE plpgsql
    AS $$
BEGIN
    RETURN QUERY
    INSERT INTO procrastinate_workers DEFAULT VALUES
    RETURNING procrastinate_workers.id;
END;
$$;

CREATE FUNCTION public.procrastinate_retry_job_v1(job_id bigint, retry_at timestamp with time zone, new_priority integer, new_queue_name character varying, new_lock character varying) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    _job_id bigint;
    _abort_requested boolean;
BEGIN
    SELECT abort_requested FROM procrastinate_jobs
    WHERE id = job_id AND status = 'doing'
    FOR UPDATE
    INTO _abort_requested;
    IF _abort_requested THEN
        UPDATE procrastinate_jobs
        SET status = 'failed'::procrastinate_job_status
        WHERE id = job_id AND status = 'doing'
        RETURNING id INTO _job_id;
    ELSE
        UPDATE procrastinate_jobs
        SET status = 'todo'::procrastinate_job_status,
            attempts = attempts + 1,
            scheduled_at = retry_at,
            priority = COALESCE(new_priority, priority),
            queue_name = COALESCE(new_queue_name, queue_name),
            lock = COALESCE(new_lock, lock)
        WHERE id = job_id AND status = 'doing'
        RETURNING id INTO _job_id;
    END IF;

    IF _job_id IS NULL THEN
        RAISE 'Job was not found or not in "doing" status (job id: %)', job_id;
    END IF;
END;
$$;

CREATE FUNCTION public.procrastinate_retry_job_v2(job_id bigint, retry_at timestamp with time zone, new_priority integer, new_queue_name character varying, new_lock character varying) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    _job_id bigint;
    _abort_requested boolean;
    _current_status procrastinate_job_status;
BEGIN
    SELECT status, abort_requested FROM procrastinate_jobs
    WHERE id = job_id AND status IN ('doing', 'failed')
    FOR UPDATE
    INTO _current_status, _abort_requested;
    IF _current_status = 'doing' AND _abort_requested THEN
        UPDATE procrastinate_jobs
        SET status = 'failed'::procrastinate_job_status
        WHERE id = job_id AND status = 'doing'
        RETURNING id INTO _job_id;
    ELSE
        UPDATE procrastinate_jobs
        SET status = 'todo'::procrastinate_job_status,
            attempts = attempts + 1,
            scheduled_at = retry_at,
            priority = COALESCE(new_priority, priority),
            queue_name = COALESCE(new_queue_name, queue_name),
            lock = COALESCE(new_lock, lock)
        WHERE id = job_id AND status IN ('doing', 'failed')
        RETURNING id INTO _job_id;
    END IF;

    IF _job_id IS NULL THEN
        RAISE 'Job was not found or has an invalid status to retry (job id: %)', job_id;
    END IF;

END;
$$;

CREATE FUNCTION public.procrastinate_trigger_abort_requested_events_procedure_v1() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO procrastinate_events(job_id, type)
        VALUES (NEW.id, 'abort_requested'::procrastinate_job_event_type);
    RETURN NEW;
END;
$$;

CREATE FUNCTION public.procrastinate_trigger_function_scheduled_events_v1() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO procrastinate_events(job_id, type, at)
        VALUES (NEW.id, 'scheduled'::procrastinate_job_event_type, NEW.scheduled_at);

	RETURN NEW;
END;
$$;

CREATE FUNCTION public.procrastinate_trigger_function_status_events_insert_v1() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO procrastinate_events(job_id, type)
        VALUES (NEW.id, 'deferred'::procrastinate_job_event_type);
	RETURN NEW;
END;
$$;

CREATE FUNCTION public.procrastinate_trigger_function_status_events_update_v1() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    WITH t AS (
        SELECT CASE
            WHEN OLD.status = 'todo'::procrastinate_job_status
                AND NEW.status = 'doing'::procrastinate_job_status
                THEN 'started'::procrastinate_job_event_type
            WHEN OLD.status = 'doing'::procrastinate_job_status
                AND NEW.status = 'todo'::procrastinate_job_status
                THEN 'deferred_for_retry'::procrastinate_job_event_type
            WHEN OLD.status = 'doing'::procrastinate_job_status
                AND NEW.status = 'failed'::procrastinate_job_status
                THEN 'failed'::procrastinate_job_event_type
            WHEN OLD.status = 'doing'::procrastinate_job_status
                AND NEW.status = 'succeeded'::procrastinate_job_status
                THEN 'succeeded'::procrastinate_job_event_type
            WHEN OLD.status = 'todo'::procrastinate_job_status
                AND (
                    NEW.status = 'cancelled'::procrastinate_job_status
                    OR NEW.status = 'failed'::procrastinate_job_status
                    OR NEW.status = 'succeeded'::procrastinate_job_status
                )
                THEN 'cancelled'::procrastinate_job_event_type
            WHEN OLD.status = 'doing'::procrastinate_job_status
                AND NEW.status = 'aborted'::procrastinate_job_status
                THEN 'aborted'::procrastinate_job_event_type
            WHEN OLD.status = 'failed'::procrastinate_job_status
                AND NEW.status = 'todo'::procrastinate_job_status
                THEN 'retried'::procrastinate_job_event_type
            ELSE NULL
        END as event_type
    )
    INSERT INTO procrastinate_events(job_id, type)
        SELECT NEW.id, t.event_type
        FROM t
        WHERE t.event_type IS NOT NULL;
	RETURN NEW;
END;
$$;

CREATE FUNCTION public.procrastinate_unlink_periodic_defers_v1() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    UPDATE procrastinate_periodic_defers
    SET job_id = NULL
    WHERE job_id = OLD.id;
    RETURN OLD;
END;
$$;

CREATE FUNCTION public.procrastinate_unregister_worker_v1(worker_id bigint) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    DELETE FROM procrastinate_workers
    WHERE id = worker_id;
END;
$$;

CREATE FUNCTION public.procrastinate_update_heartbeat_v1(worker_id bigint) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    UPDATE procrastinate_workers
    SET last_heartbeat = NOW()
    WHERE id = worker_id;
END;
$$;

CREATE TABLE gold.dim_date (
    trade_date date NOT NULL,
    is_traded boolean NOT NULL,
    reason text,
    year integer NOT NULL,
    quarter integer NOT NULL,
    month integer NOT NULL,
    week_day integer NOT NULL
);

CREATE TABLE gold.dim_instrument (
    instrument_id bigint NOT NULL,
    secid text NOT NULL,
    engine text NOT NULL,
    market text NOT NULL,
    board text NOT NULL,
    secids text,
    shortname text,
    name text,
    isin text,
    type text,
    currency text,
    decimals integer,
    is_traded boolean
);

CREATE TABLE gold.publication (
    only_row boolean DEFAULT true NOT NULL,
    data_version bigint NOT NULL,
    published_at timestamp with time zone,
    delta_version bigint,
    delta_table text,
    generation integer NOT NULL,
    CONSTRAINT publication_only_row_check CHECK (only_row)
);

CREATE TABLE store.fact_candle (
    instrument_id bigint NOT NULL,
    begin_at timestamp with time zone NOT NULL,
    open double precision,
    high double precision,
    low double precision,
    close double precision,
    value double precision,
    volume double precision,
    split_factor double precision NOT NULL,
    sma_20 double precision,
    rsi_14 double precision,
    trade_date date NOT NULL,
    generation integer NOT NULL,
    is_final boolean NOT NULL,
    timeframe text NOT NULL COLLATE pg_catalog."C",
    secid text NOT NULL COLLATE pg_catalog."C",
    bucket text NOT NULL COLLATE pg_catalog."C"
)
PARTITION BY LIST (generation);

CREATE VIEW gold.fact_candle AS
 SELECT instrument_id,
    timeframe,
    begin_at,
    trade_date,
    secid,
    open,
    high,
    low,
    close,
    value,
    volume,
    is_final,
    split_factor,
    sma_20,
    rsi_14,
    bucket
   FROM store.fact_candle
  WHERE (generation = ( SELECT p.generation
           FROM gold.publication p));

CREATE TABLE gold.series (
    instrument_id bigint NOT NULL,
    timeframe text NOT NULL COLLATE pg_catalog."C",
    first_begin_at timestamp with time zone NOT NULL,
    last_begin_at timestamp with time zone NOT NULL,
    first_date date NOT NULL,
    last_date date NOT NULL,
    rows bigint NOT NULL
);

CREATE TABLE lake.app_user (
    user_id bigint NOT NULL,
    name text NOT NULL,
    password_hash text NOT NULL,
    role text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    disabled_at timestamp with time zone,
    CONSTRAINT app_user_role_check CHECK ((role = ANY (ARRAY['viewer'::text, 'analyst'::text, 'admin'::text])))
);

ALTER TABLE lake.app_user ALTER COLUMN user_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME lake.app_user_user_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE lake.audit (
    audit_id bigint NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    user_name text NOT NULL,
    action text NOT NULL,
    target text NOT NULL,
    detail jsonb NOT NULL,
    outcome text NOT NULL,
    address text
);

ALTER TABLE lake.audit ALTER COLUMN audit_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME lake.audit_audit_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE lake.bronze_object (
    object_key text NOT NULL,
    family text NOT NULL,
    engine text NOT NULL,
    market text NOT NULL,
    board text NOT NULL,
    secid text NOT NULL,
    timeframe text NOT NULL,
    span tstzrange NOT NULL,
    complete boolean NOT NULL,
    fetched_at timestamp with time zone NOT NULL,
    rank smallint DEFAULT 0 NOT NULL,
    rows integer NOT NULL,
    pages integer NOT NULL,
    end_proof text NOT NULL,
    landed_at timestamp with time zone DEFAULT now() NOT NULL,
    merged_at timestamp with time zone,
    published_at timestamp with time zone
);

CREATE TABLE lake.coverage (
    family text NOT NULL,
    engine text NOT NULL,
    market text NOT NULL,
    board text NOT NULL,
    secid text NOT NULL,
    timeframe text NOT NULL,
    from_date date NOT NULL,
    till_date date NOT NULL,
    state text NOT NULL,
    object_key text,
    next_due_at timestamp with time zone,
    anchor jsonb,
    error text,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT coverage_check CHECK ((from_date <= till_date)),
    CONSTRAINT coverage_state_check CHECK ((state = ANY (ARRAY['complete'::text, 'no trades'::text, 'forming'::text, 'failed'::text, 'missing'::text])))
);

CREATE TABLE lake.job (
    job_id bigint NOT NULL,
    kind text NOT NULL,
    state text NOT NULL,
    requested_by text NOT NULL,
    params jsonb NOT NULL,
    report jsonb,
    error text,
    cancel_requested boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    started_at timestamp with time zone,
    planned_at timestamp with time zone,
    finished_at timestamp with time zone,
    CONSTRAINT job_state_check CHECK ((state = ANY (ARRAY['queued'::text, 'running'::text, 'cancelling'::text, 'cancelled'::text, 'failed'::text, 'done'::text])))
);

ALTER TABLE lake.job ALTER COLUMN job_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME lake.job_job_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE lake.job_window (
    window_id bigint NOT NULL,
    job_id bigint NOT NULL,
    family text NOT NULL,
    engine text NOT NULL,
    market text NOT NULL,
    board text NOT NULL,
    secid text NOT NULL,
    timeframe text NOT NULL,
    from_at timestamp without time zone NOT NULL,
    till_date date NOT NULL,
    state text DEFAULT 'queued'::text NOT NULL,
    pages integer DEFAULT 0 NOT NULL,
    rows integer DEFAULT 0 NOT NULL,
    object_key text,
    error text,
    attempts integer DEFAULT 0 NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT job_window_state_check CHECK ((state = ANY (ARRAY['queued'::text, 'running'::text, 'landed'::text, 'failed'::text, 'cancelled'::text])))
);

ALTER TABLE lake.job_window ALTER COLUMN window_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME lake.job_window_window_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE lake.login_attempt (
    name text NOT NULL,
    address text NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    ok boolean NOT NULL
);

CREATE TABLE lake.progress (
    table_name text NOT NULL,
    delta_version bigint NOT NULL,
    run_id text NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE lake.request_budget (
    only_row boolean DEFAULT true NOT NULL,
    next_slot_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    CONSTRAINT request_budget_only_row_check CHECK (only_row)
);

CREATE TABLE lake.request_lease (
    lease_id uuid NOT NULL,
    expires_at timestamp with time zone NOT NULL
);

CREATE TABLE lake.session (
    token_hash bytea NOT NULL,
    user_id bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    revoked_at timestamp with time zone
);

CREATE TABLE lake.step_run (
    run_id text NOT NULL,
    step text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone,
    seconds double precision,
    report jsonb
);

CREATE TABLE lake.table_lock (
    table_name text NOT NULL,
    run_id text NOT NULL,
    generation bigint NOT NULL,
    taken_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.lakehouse_migration (
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.procrastinate_events (
    id bigint NOT NULL,
    job_id bigint NOT NULL,
    type public.procrastinate_job_event_type,
    at timestamp with time zone DEFAULT now()
);

CREATE SEQUENCE public.procrastinate_events_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.procrastinate_events_id_seq OWNED BY public.procrastinate_events.id;

CREATE SEQUENCE public.procrastinate_jobs_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.procrastinate_jobs_id_seq OWNED BY public.procrastinate_jobs.id;

CREATE TABLE public.procrastinate_periodic_defers (
    id bigint NOT NULL,
    task_name character varying(128) NOT NULL,
    defer_timestamp bigint,
    job_id bigint,
    periodic_id character varying(128) DEFAULT ''::character varying NOT NULL
);

CREATE SEQUENCE public.procrastinate_periodic_defers_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.procrastinate_periodic_defers_id_seq OWNED BY public.procrastinate_periodic_defers.id;

CREATE TABLE public.procrastinate_workers (
    id bigint NOT NULL,
    last_heartbeat timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE public.procrastinate_workers ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.procrastinate_workers_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE store.fact_candle_1 (
    instrument_id bigint CONSTRAINT fact_candle_instrument_id_not_null NOT NULL,
    begin_at timestamp with time zone CONSTRAINT fact_candle_begin_at_not_null NOT NULL,
    open double precision,
    high double precision,
    low double precision,
    close double precision,
    value double precision,
    volume double precision,
    split_factor double precision CONSTRAINT fact_candle_split_factor_not_null NOT NULL,
    sma_20 double precision,
    rsi_14 double precision,
    trade_date date CONSTRAINT fact_candle_trade_date_not_null NOT NULL,
    generation integer DEFAULT 1 CONSTRAINT fact_candle_generation_not_null NOT NULL,
    is_final boolean CONSTRAINT fact_candle_is_final_not_null NOT NULL,
    timeframe text CONSTRAINT fact_candle_timeframe_not_null NOT NULL COLLATE pg_catalog."C",
    secid text CONSTRAINT fact_candle_secid_not_null NOT NULL COLLATE pg_catalog."C",
    bucket text CONSTRAINT fact_candle_bucket_not_null NOT NULL COLLATE pg_catalog."C"
);

CREATE TABLE store.generation (
    generation integer NOT NULL,
    made_at timestamp with time zone DEFAULT now() NOT NULL,
    retired_by xid8
);

ALTER TABLE ONLY store.fact_candle ATTACH PARTITION store.fact_candle_1 FOR VALUES IN (1);

ALTER TABLE ONLY public.procrastinate_events ALTER COLUMN id SET DEFAULT nextval('public.procrastinate_events_id_seq'::regclass);

ALTER TABLE ONLY public.procrastinate_jobs ALTER COLUMN id SET DEFAULT nextval('public.procrastinate_jobs_id_seq'::regclass);

ALTER TABLE ONLY public.procrastinate_periodic_defers ALTER COLUMN id SET DEFAULT nextval('public.procrastinate_periodic_defers_id_seq'::regclass);

INSERT INTO gold.dim_date VALUES ('2024-01-03', true, NULL, 2024, 1, 1, 3);

INSERT INTO gold.dim_instrument VALUES (7, 'SBER', 'stock', 'shares', 'TQBR', 'SBER', 'Сбербанк', 'Сбербанк России ПАО ао', 'RU0009029540', 'common_share', 'SUR', 2, true);

INSERT INTO gold.publication VALUES (true, 1, '2024-01-06 00:00:10+00', 1, 'a-delta-table', 1);

INSERT INTO gold.series VALUES (7, '1d', '2024-01-02 21:00:00+00', '2024-01-02 21:00:00+00', '2024-01-03', '2024-01-03', 1);

INSERT INTO lake.app_user OVERRIDING SYSTEM VALUE VALUES (1, 'admin', '$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g', 'admin', '2024-01-05 23:00:00+00', NULL);

INSERT INTO lake.audit OVERRIDING SYSTEM VALUE VALUES (1, '2024-01-05 23:59:58+00', 'admin', 'ingest', 'SBER', '{"job_id": 1}', 'queued', '127.0.0.1');

INSERT INTO lake.bronze_object VALUES ('iss/candles/stock/shares/TQBR/SBER/1d/2024-01-03_2024-01-05/20240106T000000Z-0123456789abcdef.jsonl.gz', 'candles', 'stock', 'shares', 'TQBR', 'SBER', '1d', '["2024-01-02 21:00:00+00","2024-01-05 21:00:00+00")', true, '2024-01-06 00:00:00+00', 0, 3, 1, 'empty page', '2024-01-06 00:00:01+00', '2024-01-06 00:00:09+00', NULL);

INSERT INTO lake.coverage VALUES ('candles', 'stock', 'shares', 'TQBR', 'SBER', '1d', '2024-01-03', '2024-01-05', 'complete', 'iss/candles/stock/shares/TQBR/SBER/1d/2024-01-03_2024-01-05/20240106T000000Z-0123456789abcdef.jsonl.gz', NULL, '{"close": 274.06}', NULL, '2024-01-06 00:00:01+00');

INSERT INTO lake.job OVERRIDING SYSTEM VALUE VALUES (1, 'ingest', 'done', 'admin', '{"timeframes": ["1d"], "instruments": ["SBER"]}', '{"planned": {"SBER": 1}}', NULL, false, '2024-01-05 23:59:58+00', '2024-01-05 23:59:59+00', '2024-01-06 00:00:00+00', '2024-01-06 00:00:10+00');

INSERT INTO lake.job_window OVERRIDING SYSTEM VALUE VALUES (1, 1, 'candles', 'stock', 'shares', 'TQBR', 'SBER', '1d', '2024-01-03 00:00:00', '2024-01-05', 'landed', 1, 3, 'iss/candles/stock/shares/TQBR/SBER/1d/2024-01-03_2024-01-05/20240106T000000Z-0123456789abcdef.jsonl.gz', NULL, 1, '2024-01-06 00:00:01+00');

INSERT INTO lake.login_attempt VALUES ('admin', '127.0.0.1', '2024-01-05 23:58:00+00', false);

INSERT INTO lake.progress VALUES ('silver.candles', 1, 'silver-1', '2024-01-06 00:00:09+00');

INSERT INTO lake.request_budget VALUES (true, '2024-01-06 00:00:00+00');

INSERT INTO lake.request_lease VALUES ('3f2504e0-4f89-41d3-9a0c-0305e82c3301', '2024-01-06 00:01:00+00');

INSERT INTO lake.session VALUES ('\x00ff', 1, '2024-01-05 23:59:00+00', '2024-01-06 11:59:00+00', NULL);

INSERT INTO lake.step_run VALUES ('silver-1', 'silver', '2024-01-06 00:00:02+00', '2024-01-06 00:00:09+00', 7, '{"tables": {}}');

INSERT INTO lake.table_lock VALUES ('silver.candles', 'silver-1', 1, '2024-01-06 00:00:02+00');

INSERT INTO public.lakehouse_migration VALUES ('0001_lake', '128201113d4868fb40af514b81087fb7accd6a4745ece13498d402e273fe276f', '2024-01-05 22:00:00+00');
INSERT INTO public.lakehouse_migration VALUES ('0002_procrastinate', '74caa7e23476b4691c670ee8d80297aa5fe29b0673f0ec51268e09cdec66fdc4', '2024-01-05 22:00:00+00');
INSERT INTO public.lakehouse_migration VALUES ('0003_gold', 'd3797536a0c1c762b2d998ab0249095e93744627041ce6f3c28c963b1f799567', '2024-01-05 22:00:00+00');

INSERT INTO public.procrastinate_events VALUES (1, 1, 'started', '2024-01-06 00:00:00+00');

INSERT INTO public.procrastinate_jobs VALUES (1, 'spark', 'merge', 0, NULL, NULL, '{}', 'doing', '2024-01-06 00:00:00+00', 0, false, 1);

INSERT INTO public.procrastinate_periodic_defers VALUES (1, 'reconcile', 1704499200, 1, '');

INSERT INTO public.procrastinate_workers OVERRIDING SYSTEM VALUE VALUES (1, '2024-01-06 00:00:00+00');

INSERT INTO store.fact_candle_1 VALUES (7, '2024-01-02 21:00:00+00', 271.9, 274.7, 271, 274.56, 6600000000, 24238030, 1, NULL, NULL, '2024-01-03', 1, true, '1d', 'SBER', 'all');

INSERT INTO store.generation VALUES (1, '2024-01-06 00:00:10+00', NULL);

SELECT pg_catalog.setval('lake.app_user_user_id_seq', 1, true);

SELECT pg_catalog.setval('lake.audit_audit_id_seq', 1, true);

SELECT pg_catalog.setval('lake.job_job_id_seq', 1, true);

SELECT pg_catalog.setval('lake.job_window_window_id_seq', 1, true);

SELECT pg_catalog.setval('public.procrastinate_events_id_seq', 1, true);

SELECT pg_catalog.setval('public.procrastinate_jobs_id_seq', 1, true);

SELECT pg_catalog.setval('public.procrastinate_periodic_defers_id_seq', 1, true);

SELECT pg_catalog.setval('public.procrastinate_workers_id_seq', 1, true);

ALTER TABLE ONLY gold.dim_date
    ADD CONSTRAINT dim_date_pkey PRIMARY KEY (trade_date);

ALTER TABLE ONLY gold.dim_instrument
    ADD CONSTRAINT dim_instrument_pkey PRIMARY KEY (instrument_id);

ALTER TABLE ONLY gold.publication
    ADD CONSTRAINT publication_pkey PRIMARY KEY (only_row);

ALTER TABLE ONLY gold.series
    ADD CONSTRAINT series_pkey PRIMARY KEY (instrument_id, timeframe);

ALTER TABLE ONLY lake.app_user
    ADD CONSTRAINT app_user_name_key UNIQUE (name);

ALTER TABLE ONLY lake.app_user
    ADD CONSTRAINT app_user_pkey PRIMARY KEY (user_id);

ALTER TABLE ONLY lake.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (audit_id);

ALTER TABLE ONLY lake.bronze_object
    ADD CONSTRAINT bronze_object_pkey PRIMARY KEY (object_key);

ALTER TABLE ONLY lake.coverage
    ADD CONSTRAINT coverage_pkey PRIMARY KEY (family, engine, market, secid, board, timeframe, from_date);

ALTER TABLE ONLY lake.job
    ADD CONSTRAINT job_pkey PRIMARY KEY (job_id);

ALTER TABLE ONLY lake.job_window
    ADD CONSTRAINT job_window_pkey PRIMARY KEY (window_id);

ALTER TABLE ONLY lake.progress
    ADD CONSTRAINT progress_pkey PRIMARY KEY (table_name);

ALTER TABLE ONLY lake.request_budget
    ADD CONSTRAINT request_budget_pkey PRIMARY KEY (only_row);

ALTER TABLE ONLY lake.request_lease
    ADD CONSTRAINT request_lease_pkey PRIMARY KEY (lease_id);

ALTER TABLE ONLY lake.session
    ADD CONSTRAINT session_pkey PRIMARY KEY (token_hash);

ALTER TABLE ONLY lake.step_run
    ADD CONSTRAINT step_run_pkey PRIMARY KEY (run_id, step);

ALTER TABLE ONLY lake.table_lock
    ADD CONSTRAINT table_lock_pkey PRIMARY KEY (table_name);

ALTER TABLE ONLY public.lakehouse_migration
    ADD CONSTRAINT lakehouse_migration_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.procrastinate_events
    ADD CONSTRAINT procrastinate_events_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.procrastinate_jobs
    ADD CONSTRAINT procrastinate_jobs_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.procrastinate_periodic_defers
    ADD CONSTRAINT procrastinate_periodic_defers_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.procrastinate_periodic_defers
    ADD CONSTRAINT procrastinate_periodic_defers_unique UNIQUE (task_name, periodic_id, defer_timestamp);

ALTER TABLE ONLY public.procrastinate_workers
    ADD CONSTRAINT procrastinate_workers_pkey PRIMARY KEY (id);

ALTER TABLE ONLY store.fact_candle_1
    ADD CONSTRAINT fact_candle_1_pkey PRIMARY KEY (instrument_id, timeframe, begin_at);

ALTER TABLE ONLY store.generation
    ADD CONSTRAINT generation_pkey PRIMARY KEY (generation);

CREATE INDEX bronze_object_series ON lake.bronze_object USING btree (family, engine, market, secid, board, timeframe);

CREATE INDEX bronze_object_unmerged ON lake.bronze_object USING btree (landed_at) WHERE (merged_at IS NULL);

CREATE INDEX bronze_object_unpublished ON lake.bronze_object USING btree (merged_at) WHERE (published_at IS NULL);

CREATE INDEX job_window_job ON lake.job_window USING btree (job_id, state);

CREATE UNIQUE INDEX job_window_once ON lake.job_window USING btree (job_id, family, engine, market, board, secid, timeframe, from_at);

CREATE INDEX login_attempt_recent ON lake.login_attempt USING btree (name, address, at);

CREATE INDEX session_by_user ON lake.session USING btree (user_id);

CREATE INDEX step_run_started ON lake.step_run USING btree (started_at);

CREATE INDEX idx_procrastinate_jobs_worker_not_null ON public.procrastinate_jobs USING btree (worker_id) WHERE ((worker_id IS NOT NULL) AND (status = 'doing'::public.procrastinate_job_status));

CREATE INDEX idx_procrastinate_workers_last_heartbeat ON public.procrastinate_workers USING btree (last_heartbeat);

CREATE INDEX procrastinate_events_job_id_fkey_v1 ON public.procrastinate_events USING btree (job_id);

CREATE INDEX procrastinate_jobs_id_lock_idx_v1 ON public.procrastinate_jobs USING btree (id, lock) WHERE (status = ANY (ARRAY['todo'::public.procrastinate_job_status, 'doing'::public.procrastinate_job_status]));

CREATE UNIQUE INDEX procrastinate_jobs_lock_idx_v1 ON public.procrastinate_jobs USING btree (lock) WHERE (status = 'doing'::public.procrastinate_job_status);

CREATE INDEX procrastinate_jobs_priority_idx_v1 ON public.procrastinate_jobs USING btree (priority DESC, id) WHERE (status = 'todo'::public.procrastinate_job_status);

CREATE INDEX procrastinate_jobs_queue_name_idx_v1 ON public.procrastinate_jobs USING btree (queue_name);

CREATE UNIQUE INDEX procrastinate_jobs_queueing_lock_idx_v1 ON public.procrastinate_jobs USING btree (queueing_lock) WHERE (status = 'todo'::public.procrastinate_job_status);

CREATE INDEX procrastinate_periodic_defers_job_id_fkey_v1 ON public.procrastinate_periodic_defers USING btree (job_id);

CREATE TRIGGER procrastinate_jobs_notify_queue_job_aborted_v1 AFTER UPDATE OF abort_requested ON public.procrastinate_jobs FOR EACH ROW WHEN (((old.abort_requested = false) AND (new.abort_requested = true) AND (new.status = 'doing'::public.procrastinate_job_status))) EXECUTE FUNCTION public.procrastinate_notify_queue_abort_job_v1();

CREATE TRIGGER procrastinate_jobs_notify_queue_job_inserted_v1 AFTER INSERT ON public.procrastinate_jobs FOR EACH ROW WHEN ((new.status = 'todo'::public.procrastinate_job_status)) EXECUTE FUNCTION public.procrastinate_notify_queue_job_inserted_v1();

CREATE TRIGGER procrastinate_trigger_abort_requested_events_v1 AFTER UPDATE OF abort_requested ON public.procrastinate_jobs FOR EACH ROW WHEN ((new.abort_requested = true)) EXECUTE FUNCTION public.procrastinate_trigger_abort_requested_events_procedure_v1();

CREATE TRIGGER procrastinate_trigger_delete_jobs_v1 BEFORE DELETE ON public.procrastinate_jobs FOR EACH ROW EXECUTE FUNCTION public.procrastinate_unlink_periodic_defers_v1();

CREATE TRIGGER procrastinate_trigger_scheduled_events_v1 AFTER INSERT OR UPDATE ON public.procrastinate_jobs FOR EACH ROW WHEN (((new.scheduled_at IS NOT NULL) AND (new.status = 'todo'::public.procrastinate_job_status))) EXECUTE FUNCTION public.procrastinate_trigger_function_scheduled_events_v1();

CREATE TRIGGER procrastinate_trigger_status_events_insert_v1 AFTER INSERT ON public.procrastinate_jobs FOR EACH ROW WHEN ((new.status = 'todo'::public.procrastinate_job_status)) EXECUTE FUNCTION public.procrastinate_trigger_function_status_events_insert_v1();

CREATE TRIGGER procrastinate_trigger_status_events_update_v1 AFTER UPDATE OF status ON public.procrastinate_jobs FOR EACH ROW EXECUTE FUNCTION public.procrastinate_trigger_function_status_events_update_v1();

ALTER TABLE ONLY lake.job_window
    ADD CONSTRAINT job_window_job_id_fkey FOREIGN KEY (job_id) REFERENCES lake.job(job_id);

ALTER TABLE ONLY lake.session
    ADD CONSTRAINT session_user_id_fkey FOREIGN KEY (user_id) REFERENCES lake.app_user(user_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.procrastinate_events
    ADD CONSTRAINT procrastinate_events_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.procrastinate_jobs(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.procrastinate_jobs
    ADD CONSTRAINT procrastinate_jobs_worker_id_fkey FOREIGN KEY (worker_id) REFERENCES public.procrastinate_workers(id) ON DELETE SET NULL;

ALTER TABLE ONLY public.procrastinate_periodic_defers
    ADD CONSTRAINT procrastinate_periodic_defers_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.procrastinate_jobs(id);

GRANT USAGE ON SCHEMA gold TO lakehouse_read;
GRANT USAGE ON SCHEMA gold TO lakehouse_app;

GRANT USAGE ON SCHEMA lake TO lakehouse_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.procrastinate_jobs TO lakehouse_app;

GRANT SELECT ON TABLE gold.dim_date TO lakehouse_read;
GRANT SELECT ON TABLE gold.dim_date TO lakehouse_app;

GRANT SELECT ON TABLE gold.dim_instrument TO lakehouse_read;
GRANT SELECT ON TABLE gold.dim_instrument TO lakehouse_app;

GRANT SELECT ON TABLE gold.publication TO lakehouse_read;
GRANT SELECT ON TABLE gold.publication TO lakehouse_app;

GRANT SELECT ON TABLE gold.fact_candle TO lakehouse_read;
GRANT SELECT ON TABLE gold.fact_candle TO lakehouse_app;

GRANT SELECT ON TABLE gold.series TO lakehouse_read;
GRANT SELECT ON TABLE gold.series TO lakehouse_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE lake.app_user TO lakehouse_app;

GRANT USAGE ON SEQUENCE lake.app_user_user_id_seq TO lakehouse_app;

GRANT SELECT,INSERT ON TABLE lake.audit TO lakehouse_app;

GRANT USAGE ON SEQUENCE lake.audit_audit_id_seq TO lakehouse_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE lake.bronze_object TO lakehouse_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE lake.coverage TO lakehouse_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE lake.job TO lakehouse_app;

GRANT USAGE ON SEQUENCE lake.job_job_id_seq TO lakehouse_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE lake.job_window TO lakehouse_app;

GRANT USAGE ON SEQUENCE lake.job_window_window_id_seq TO lakehouse_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE lake.login_attempt TO lakehouse_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE lake.progress TO lakehouse_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE lake.request_budget TO lakehouse_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE lake.request_lease TO lakehouse_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE lake.session TO lakehouse_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE lake.step_run TO lakehouse_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE lake.table_lock TO lakehouse_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.procrastinate_events TO lakehouse_app;

GRANT USAGE ON SEQUENCE public.procrastinate_events_id_seq TO lakehouse_app;

GRANT USAGE ON SEQUENCE public.procrastinate_jobs_id_seq TO lakehouse_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.procrastinate_periodic_defers TO lakehouse_app;

GRANT USAGE ON SEQUENCE public.procrastinate_periodic_defers_id_seq TO lakehouse_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.procrastinate_workers TO lakehouse_app;

GRANT USAGE ON SEQUENCE public.procrastinate_workers_id_seq TO lakehouse_app;
