"""
The functions: the API over HTTP, and the chain's steps that ask the exchange.

The same handlers run in the embedded server (host.py), in the embedded worker (embedded.py) and under AWS Lambda. They
keep nothing between calls. Every one checks the role itself: an authorizer in front is no control.
"""

from __future__ import annotations

import psycopg
from chalice.app import CloudWatchEvent, Rate, Request, Response, S3Event, SQSEvent

from functions import context, schedules, steps
from functions.answers import answer, document, refusing
from functions.candles import read_candles
from functions.events import hear_store
from functions.gateway import Api
from functions.jobs import job_named, read_job, read_jobs
from functions.quality import read_quality, read_quarantine
from functions.requests import (
    DEVICE,
    SESSION,
    address_of,
    cookie_of,
    login_cookies,
    no_others,
    set_cookie,
    text_of,
    token_of,
    user_with,
)
from functions.sql import read_schema, run_statement, stop_statement
from functions.uploads import CONTENT_TYPES, accept_upload, list_uploads, take_upload
from lakehouse.access import audit, sessions
from lakehouse.access.roles import Role
from lakehouse.database.outage import why_away
from lakehouse.jobs import events, queue, redriving, retrying
from lakehouse.jobs import schedules as timetable
from lakehouse.market.errors import BadInput
from lakehouse.serving import queries
from lakehouse.settings import names

NAMES = names()
app = Api(app_name=NAMES.queue_prefix)


def asked() -> Request:
    """Return the request being answered."""
    request = app.current_request
    if request is None:
        raise RuntimeError("no request is being answered")
    return request


@app.route("/v1/health")
@refusing
def health() -> Response:
    no_others(asked())
    try:
        with context.pool().connection(timeout=2) as conn:
            publication = queries.publication(conn)
    except psycopg.OperationalError as error:
        why = why_away(context.dsn()) or str(error)
        return answer({"status": "degraded", "code": "unavailable", "message": f"the database is away: {why}"}, 503)
    return answer({"status": "ok", "source": context.settings().source, "data_version": publication.data_version})


@app.route("/v1/login", methods=["POST"])
@refusing
def login() -> Response:
    body = document(asked().raw_body)
    name, password = body.get("user"), body.get("password")
    if not isinstance(name, str) or not isinstance(password, str) or len(body) > 2:
        raise BadInput('the body must be {"user": "...", "password": "..."}')
    with context.pool().connection() as conn:
        headers = asked().headers
        place = {"device": cookie_of(headers, DEVICE), "program": headers.get("user-agent", "")}
        session = sessions.login(conn, name, password, address_of(asked()), **place)
    return answer(
        {
            "user": session.user.name,
            "role": str(session.user.role),
            "token": session.token,
            "expires_at": session.expires_at,
        },
        headers={"Set-Cookie": login_cookies(headers, session), "Cache-Control": "no-store"},
    )


@app.route("/v1/logout", methods=["POST"])
@refusing
def logout() -> Response:
    with context.pool().connection() as conn:
        user_with(conn, asked(), Role.VIEWER)
        sessions.logout(conn, token_of(asked()), address_of(asked()))
    return answer({}, headers={"Set-Cookie": set_cookie(asked().headers, SESSION, "", 0)})


@app.route("/v1/ingest", methods=["POST"])
@refusing
def ingest() -> Response:
    with context.pool().connection() as conn:
        user = user_with(conn, asked(), Role.ADMIN, "ingest")
        request = queue.IngestRequest.parse(document(asked().raw_body))
        job_id = queue.submit_ingest(conn, request, user.name)
        detail = {**request.model_dump(mode="json", by_alias=True), "job_id": job_id}
        target = " ".join(request.instruments)[:200] or "all held"
        audit.record(conn, user, "ingest", target, detail, "queued", address_of(asked()))
    context.wake()
    return answer({"job_id": job_id}, 202)


@app.route("/v1/jobs")
@refusing
def jobs() -> Response:
    with context.pool().connection() as conn:
        user_with(conn, asked(), Role.ANALYST)
        return read_jobs(conn, asked())


@app.route("/v1/jobs/{job_id}")
@refusing
def job(job_id: str) -> Response:
    with context.pool().connection() as conn:
        user_with(conn, asked(), Role.ANALYST)
        return read_job(conn, job_id)


@app.route("/v1/jobs/{job_id}/cancel", methods=["POST"])
@refusing
def cancel(job_id: str) -> Response:
    with context.pool().connection() as conn:
        user = user_with(conn, asked(), Role.ADMIN, "cancel")
        state = queue.cancel(conn, job_named(conn, job_id).job_id)
        audit.record(conn, user, "cancel", f"job {job_id}", {}, state, address_of(asked()))
    context.wake()
    return answer({"job_id": int(job_id), "state": state})


@app.route("/v1/jobs/{job_id}/retry", methods=["POST"])
@refusing
def retry(job_id: str) -> Response:
    with context.pool().connection() as conn:
        user = user_with(conn, asked(), Role.ADMIN, "retry")
        again = retrying.retry_failed(conn, job_named(conn, job_id).job_id)
        if not again:
            raise BadInput(f"nothing of job {job_id} failed: nothing to retry")
        audit.record(conn, user, "retry", f"job {job_id}", {}, "queued", address_of(asked()))
    context.wake()
    return answer({"job_id": int(job_id), "state": "running"}, 202)


@app.route("/v1/jobs/redrive", methods=["POST"])
@refusing
def redrive() -> Response:
    with context.pool().connection() as conn:
        user = user_with(conn, asked(), Role.ADMIN, "redrive")
        done = redriving.redrive(conn, context.wakes())
        audit.record(conn, user, "redrive", str(done)[:200], {"jobs": done.jobs}, "queued", address_of(asked()))
    return answer(vars(done), 202)


@app.route("/v1/schedules")
@refusing
def read_schedules() -> Response:
    with context.pool().connection() as conn:
        user_with(conn, asked(), Role.ANALYST)
        no_others(asked())
        return answer({"schedules": timetable.overview(conn)})


@app.route("/v1/schedules/{name}", methods=["PUT"])
@refusing
def change_schedule(name: str) -> Response:
    with context.pool().connection() as conn:
        user = user_with(conn, asked(), Role.ADMIN, "schedule")
        changed = schedules.change(conn, name, document(asked().raw_body), user)
        audit.record(conn, user, "schedule", name, changed, "done", address_of(asked()))
        return answer(next(each for each in timetable.overview(conn) if each["name"] == name))


@app.route("/v1/uploads", methods=["POST"], content_types=CONTENT_TYPES)
@refusing
def upload() -> Response:
    with context.pool().connection() as conn:
        return take_upload(conn, asked(), user_with(conn, asked(), Role.ADMIN, "upload"))


@app.route("/v1/uploads", methods=["GET"])
@refusing
def uploads() -> Response:
    with context.pool().connection() as conn:
        user_with(conn, asked(), Role.ADMIN)
        return list_uploads(conn, asked())


@app.route("/v1/uploads/accept", methods=["POST"])
@refusing
def accept() -> Response:
    with context.pool().connection() as conn:
        return accept_upload(conn, asked(), user_with(conn, asked(), Role.ADMIN, "accept upload"))


@app.route("/v1/quarantine")
@refusing
def quarantine() -> Response:
    with context.pool().connection() as conn:
        user_with(conn, asked(), Role.ADMIN)
        return read_quarantine(conn, asked())


@app.route("/v1/quality")
@refusing
def quality() -> Response:
    with context.pool().connection() as conn:
        user_with(conn, asked(), Role.ADMIN)
        return read_quality(conn, asked())


@app.route("/v1/instruments")
@refusing
def instruments() -> Response:
    with context.pool().connection() as conn:
        user_with(conn, asked(), Role.VIEWER)
        no_others(asked(), "q")
        return answer({"instruments": queries.instruments(conn, text_of(asked(), "q", ""))})


@app.route("/v1/candles")
@refusing
def candles() -> Response:
    with context.pool().connection() as conn:
        user_with(conn, asked(), Role.VIEWER)
        return read_candles(conn, asked())


@app.route("/v1/events/storage", methods=["POST"])
@refusing
def storage_events() -> Response:
    return hear_store(asked())


@app.route("/v1/sql", methods=["POST"])
@refusing
def sql() -> Response:
    return run_statement(asked())


@app.route("/v1/sql/{statement_id}/stop", methods=["POST"])
@refusing
def sql_stop(statement_id: str) -> Response:
    return stop_statement(asked(), statement_id)


@app.route("/v1/schema")
@refusing
def schema() -> Response:
    with context.pool().connection() as conn:
        user_with(conn, asked(), Role.VIEWER)
        no_others(asked())
        return read_schema()


@app.on_sqs_message(queue=f"{NAMES.queue_prefix}-ingest", batch_size=1, name="ingest_step")
def ingest_step(event: SQSEvent) -> None:
    steps.serve(event)


@app.on_sqs_message(queue=f"{NAMES.queue_prefix}-fetch", batch_size=1, maximum_concurrency=2)
def fetch(event: SQSEvent) -> None:
    steps.serve(event)


@app.schedule(Rate(1, unit=Rate.MINUTES))
def tick(event: CloudWatchEvent) -> None:
    schedules.tick()


@app.on_s3_event(bucket=NAMES.bucket, events=["s3:ObjectCreated:*"], prefix="iss/")
def landed(event: S3Event) -> None:
    with context.pool().connection() as conn:
        events.object_landed(conn, context.store(), event.key)


@app.on_s3_event(bucket=NAMES.bucket, events=["s3:ObjectCreated:*"], prefix="uploads/")
def uploaded(event: S3Event) -> None:
    with context.pool().connection() as conn:
        events.file_uploaded(conn, context.store(), event.key)
