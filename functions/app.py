"""
The functions: the API over HTTP, and the chain's steps that ask the exchange.

The same handlers run in the embedded server (host.py), in the embedded worker (embedded.py) and under AWS Lambda. They
keep nothing between calls. Each operation checks the role itself (operation.py): an authorizer in front is no control.
"""

from __future__ import annotations

from chalice.app import CloudWatchEvent, Rate, S3Event, SQSEvent

from functions import (
    accounts,
    auditing,
    candles,
    context,
    events,
    health,
    jobs,
    openapi,
    quality,
    schedules,
    session,
    sql,
    steps,
    tokens,
    uploads,
)
from functions.gateway import Api
from lakehouse.jobs.events import file_uploaded, object_landed
from lakehouse.settings import names

NAMES = names()
app = Api(app_name=NAMES.queue_prefix, configure_logs=False)  # its lines go where ours go

app.route("/v1/openapi.json")(openapi.read_openapi)
app.route("/v1/health")(health.read_health)
app.route("/v1/login", methods=["POST"])(session.login)
app.route("/v1/logout", methods=["POST"])(session.logout)

app.route("/v1/password", methods=["POST"])(accounts.change_password)
app.route("/v1/sessions")(accounts.read_sessions)
app.route("/v1/sessions/{session_id}", methods=["DELETE"])(accounts.end_session)
app.route("/v1/tokens", methods=["GET"])(tokens.read_tokens)
app.route("/v1/tokens", methods=["POST"])(tokens.make_token)
app.route("/v1/tokens/{token_id}", methods=["DELETE"])(tokens.revoke_token)
app.route("/v1/users", methods=["GET"])(accounts.read_users)
app.route("/v1/users", methods=["POST"])(accounts.add_user)
app.route("/v1/users/{name}", methods=["PUT"])(accounts.change_role)
app.route("/v1/users/{name}", methods=["DELETE"])(accounts.remove_user)
app.route("/v1/users/{name}/password", methods=["PUT"])(accounts.set_password)
app.route("/v1/audit")(auditing.read_audit)

app.route("/v1/instruments")(candles.read_instruments)
app.route("/v1/candles")(candles.read_candles)
app.route("/v1/schema")(sql.read_schema)
app.route("/v1/sql", methods=["POST"])(sql.run_statement)
app.route("/v1/sql/{statement_id}/stop", methods=["POST"])(sql.stop_statement)

app.route("/v1/ingest", methods=["POST"])(jobs.ingest)
app.route("/v1/jobs")(jobs.read_jobs)
app.route("/v1/jobs/{job_id}")(jobs.read_job)
app.route("/v1/jobs/{job_id}/cancel", methods=["POST"])(jobs.cancel)
app.route("/v1/jobs/{job_id}/retry", methods=["POST"])(jobs.retry)
app.route("/v1/jobs/redrive", methods=["POST"])(jobs.redrive)
app.route("/v1/schedules")(schedules.read_schedules)
app.route("/v1/schedules/{name}", methods=["PUT"])(schedules.change_schedule)

app.route("/v1/uploads", methods=["POST"])(uploads.take_upload)
app.route("/v1/uploads", methods=["GET"])(uploads.list_uploads)
app.route("/v1/uploads/accept", methods=["POST"])(uploads.accept_upload)
app.route("/v1/events/storage", methods=["POST"])(events.hear_store)
app.route("/v1/quarantine")(quality.read_quarantine)
app.route("/v1/quality")(quality.read_quality)


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
        object_landed(conn, context.store(), event.key)


@app.on_s3_event(bucket=NAMES.bucket, events=["s3:ObjectCreated:*"], prefix="uploads/")
def uploaded(event: S3Event) -> None:
    with context.pool().connection() as conn:
        file_uploaded(conn, context.store(), event.key)
