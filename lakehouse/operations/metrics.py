"""
What Prometheus reads at /metrics, made anew for each scrape from rows of PostgreSQL.

The platform's processes are many and some live for one call, so none of them is asked: what is counted is counted in
lake.counter, and the rest is read where it is. Nothing big is scanned, but for coverage, which is counted seldom.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from importlib.metadata import version
from typing import Any, LiteralString

import psycopg
import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from psycopg import Connection
from psycopg.rows import dict_row

from lakehouse.bronze.window import Series, period_end
from lakehouse.database.counters import BUCKETS_S
from lakehouse.market.moscow import to_moscow, to_utc
from lakehouse.market.timeframe import Timeframe
from lakehouse.settings import Settings
from lakehouse.storage.space import free_bytes

log = structlog.get_logger()

# Of a second's work for PostgreSQL, counting coverage takes no more than this part, however much there is
_COVERAGE_PART = 1 / 50
_COVERAGE_AT_LEAST_S = 60.0
_STATE = {"todo": "waiting", "doing": "running", "failed": "dead"}
_INTRADAY = {
    Timeframe.MINUTE: dt.timedelta(minutes=1),
    Timeframe.TEN_MINUTES: dt.timedelta(minutes=10),
    Timeframe.HOUR: dt.timedelta(hours=1),
}

# Name in lake.counter, of the metric, its labels, and what it says
_COUNTERS = (
    ("exchange_requests", "exchange_requests", ("outcome",), "Requests sent to the exchange, those in vain included."),
    ("exchange_seconds", "exchange_request_seconds", ("outcome",), "Seconds that requests to the exchange took."),
    ("rows", "rows", ("table", "outcome"), "Rows that reached a table of Silver, by what became of them."),
    ("step_runs", "step_runs", ("step", "outcome"), "Runs of the queue's steps by how they ended."),
    ("sandbox_runs", "sandbox_runs", ("outcome",), "Runs of analysts' programs by how they ended."),
    ("sql_statements", "sql_statements", ("outcome",), "SQL statements over the lake, sent to the web process."),
)
_HISTOGRAMS = (
    ("step_seconds", "step_duration_seconds", ("step",), "Seconds that a run of a step of the queue took."),
    ("station_seconds", "station_duration_seconds", ("station",), "Seconds of a station: what merge and publish do."),
    ("sandbox_seconds", "sandbox_run_duration_seconds", (), "Seconds that a run of an analyst's program took."),
)

Connecting = Callable[[], AbstractContextManager[Connection[Any]]]


class LakehouseCollector(Collector):
    """
    All metrics of the platform but those of one process.

    Without the database it says so, and what is known without it.

    Args:
        connecting: Lends a connection, and gives up soon when there is none.
    """

    def __init__(self, settings: Settings, connecting: Connecting) -> None:
        self._settings, self._connecting = settings, connecting
        self._coverage: list[tuple[str, str, str, int]] = []
        self._coverage_again_at = float("-inf")

    def describe(self) -> Iterable[Metric]:
        """Say nothing beforehand: a registry would ask the database for it."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics as they are now."""
        yield _gauge("build_info", "The version that runs.", ("version",), [((version("moex-lakehouse"),), 1)])
        yield from self._of_settings()
        found: list[Metric] = []
        try:
            with self._connecting() as conn:
                found = list(self._of_database(conn))
        except psycopg.OperationalError:
            pass  # which the metric says
        except Exception as error:  # a scrape that fails would say nothing at all
            log.exception("operations.metrics_not_read", error=str(error))
        yield _gauge("database_up", "Whether the database answered this scrape.", (), [((), float(bool(found)))])
        yield from found

    def _of_settings(self) -> Iterator[Metric]:
        chosen = self._settings
        yield _value(
            "budget_requests_per_second",
            "Requests per second that the budget grants; 0: no budget.",
            chosen.requests_per_s,
        )
        yield _value(
            "budget_requests_in_flight_limit", "Requests at a time that the budget grants.", chosen.requests_in_flight
        )
        yield _value("data_free_bytes", "Room left on the disk of the data folder.", free_bytes(chosen.data_dir))

    def _of_database(self, conn: Connection[Any]) -> Iterator[Metric]:
        yield from _counted(conn)
        yield from _budget(conn, self._settings)
        yield from _queue(conn)
        yield from _freshness(conn, self._settings)
        yield from _published(conn)
        yield from _schedules(conn)
        yield _gauge(
            "coverage_windows",
            "Spans of dates of a series, by what is proved of them.",
            ("family", "timeframe", "state"),
            [(row[:3], row[3]) for row in self._counted_coverage(conn)],
        )

    def _counted_coverage(self, conn: Connection[Any]) -> Sequence[tuple[str, str, str, int]]:
        began = time.monotonic()
        if began >= self._coverage_again_at:
            self._coverage = conn.execute(_COVERAGE).fetchall()
            ended = time.monotonic()
            self._coverage_again_at = ended + max(_COVERAGE_AT_LEAST_S, (ended - began) / _COVERAGE_PART)
        return self._coverage


def _counted(conn: Connection[Any]) -> Iterator[Metric]:
    found: dict[str, list[tuple[tuple[str, ...], float]]] = {}
    for name, labels, value in conn.execute("SELECT name, labels, value FROM lake.counter ORDER BY name, labels"):
        found.setdefault(name, []).append((tuple(labels), value))
    for kept, name, labels, help_ in _COUNTERS:
        counter = CounterMetricFamily(f"lakehouse_{name}", help_, labels=labels)
        for values, value in found.get(kept, []):
            counter.add_metric(values, value)
        yield counter
    for kept, name, labels, help_ in _HISTOGRAMS:
        sums = dict(found.get(f"{kept}_sum", []))
        yield _histogram(name, help_, labels, dict(found.get(f"{kept}_bucket", [])), sums)


def _histogram(
    name: str,
    help_: str,
    labels: tuple[str, ...],
    buckets: dict[tuple[str, ...], float],
    sums: dict[tuple[str, ...], float],
) -> Metric:
    """Return a histogram of what is counted in one bucket each: Prometheus counts it in all above too."""
    histogram = HistogramMetricFamily(f"lakehouse_{name}", help_, labels=labels)
    for values, total in sums.items():
        so_far, cumulated = 0.0, []
        for bound in (*(f"{bound:g}" for bound in BUCKETS_S), "+Inf"):
            so_far += buckets.get((*values, bound), 0)
            cumulated.append((bound, so_far))
        histogram.add_metric(values, cumulated, total)
    return histogram


def _budget(conn: Connection[Any], settings: Settings) -> Iterator[Metric]:
    row = _row(conn, _BUDGET)
    ahead_s = max(0.0, row["ahead_s"]) * settings.requests_per_s
    yield CounterMetricFamily("lakehouse_budget_slots", "Slots for requests that were given.", value=row["given"])
    yield _value("budget_slots_waiting", "Slots given that have not come yet: requests that wait.", ahead_s)
    yield _value("budget_requests_in_flight", "Requests of all processes that are under way.", row["leases"])
    yield _value("exchange_paused", "Whether nobody asks the exchange, as it does not answer.", row["paused"])
    yield _value("exchange_pause_remaining_seconds", "Seconds until the exchange is asked again.", row["pause_s"])
    yield _value("exchange_failures", "Requests in vain since the exchange's last answer.", row["failures"])


def _queue(conn: Connection[Any]) -> Iterator[Metric]:
    rows = conn.execute(_QUEUE).fetchall()
    depth = {(queue, state): 0.0 for queue in ("io", "spark") for state in _STATE.values()}
    depth |= {(queue, _STATE[status]): count for queue, status, count, _ in rows}
    ages = [((queue, _STATE[status]), age) for queue, status, _, age in rows if age is not None]
    dead = sum(count for (_, state), count in depth.items() if state == "dead")
    labels = ("queue", "state")
    yield _gauge("queue_messages", "Messages of the queue: waiting, running, or dead letters.", labels, depth.items())
    yield _gauge("queue_oldest_message_age_seconds", "Seconds since the oldest was queued.", labels, ages)
    yield _value("dead_letters", "Messages that were given up.", dead)
    heard = conn.execute("SELECT ARRAY[queue], extract(epoch FROM heard_at)::float8 FROM lake.worker_heard").fetchall()
    yield _gauge("worker_heard_timestamp_seconds", "When a worker of the queue was last alive.", ("queue",), heard)


def _freshness(conn: Connection[Any], settings: Settings) -> Iterator[Metric]:
    # A simulator has a clock of its own; the exchange's is the database's, as for the schedules
    row = _row(conn, "SELECT now() AS now, shown_at FROM lake.schedule_clock")
    now = row["now"] if settings.source == "exchange" else row["shown_at"] or row["now"]
    newest = conn.execute("SELECT timeframe, max(last_begin_at) FROM gold.series GROUP BY timeframe").fetchall()
    ends = {(timeframe,): _end(Timeframe(timeframe), begin) for timeframe, begin in newest}
    yield _gauge(
        "freshness_seconds",
        "The exchange's time less the end of the newest candle shown.",
        ("timeframe",),
        [(key, max(0.0, (now - end).total_seconds())) for key, end in ends.items()],
    )
    yield _gauge(
        "newest_candle_end_timestamp_seconds",
        "The end of the newest candle shown.",
        ("timeframe",),
        [(key, end.timestamp()) for key, end in ends.items()],
    )


def _end(timeframe: Timeframe, begin: dt.datetime) -> dt.datetime:
    if timeframe in _INTRADAY:
        return begin + _INTRADAY[timeframe]
    last = period_end(Series("candles", "", "", "", "", timeframe), to_moscow(begin).date())
    return to_utc(dt.datetime.combine(last + dt.timedelta(days=1), dt.time()))


def _published(conn: Connection[Any]) -> Iterator[Metric]:
    row = _row(conn, "SELECT data_version, extract(epoch FROM published_at)::float8 AS at FROM gold.publication")
    yield _value("data_version", "Version of the data that readers see; moves when a row does.", row["data_version"])
    published = [((), row["at"])] if row["at"] is not None else []
    yield _gauge("published_timestamp_seconds", "When that version was published.", (), published)
    # The other rows say up to where somebody has read a table, and hold its id
    versions = conn.execute(
        "SELECT ARRAY[table_name], delta_version FROM lake.progress WHERE table_name NOT LIKE '%<%' ORDER BY 1"
    ).fetchall()
    yield _gauge("table_version", "Version of a Delta table as recorded.", ("table",), versions)


def _schedules(conn: Connection[Any]) -> Iterator[Metric]:
    rows = conn.execute(_SCHEDULES).fetchall()
    yield _gauge(
        "schedule_run_timestamp_seconds",
        "When a schedule's last run began.",
        ("schedule",),
        [((name,), at) for name, at, _ in rows if at is not None],
    )
    yield _gauge(
        "schedule_run_failed",
        "Whether a schedule's last run failed.",
        ("schedule",),
        [((name,), float(failed)) for name, at, failed in rows if at is not None],
    )


def _row(conn: Connection[Any], query: LiteralString) -> dict[str, Any]:
    with conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(query).fetchone()
    if row is None:
        raise RuntimeError("a table that has one row has none")
    return row


def _value(name: str, help_: str, value: float) -> Metric:
    return _gauge(name, help_, (), [((), value)])


def _gauge(name: str, help_: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]) -> Metric:
    gauge = GaugeMetricFamily(f"lakehouse_{name}", help_, labels=labels)
    for of, value in values:
        gauge.add_metric(of, float(value))
    return gauge


_BUDGET: LiteralString = """
    SELECT slots_given AS given, failures, (since IS NOT NULL)::int AS paused,
        coalesce(extract(epoch FROM greatest(until, clock.at) - clock.at), 0)::float8 AS pause_s,
        CASE WHEN next_slot_at > at THEN extract(epoch FROM next_slot_at - at)::float8 ELSE 0 END AS ahead_s,
        (SELECT count(*) FROM lake.request_lease l WHERE l.expires_at > clock.at) AS leases
    FROM lake.request_budget, lake.breaker, (SELECT clock_timestamp() AS at) AS clock
"""
_QUEUE: LiteralString = """
    SELECT queue_name, status::text, n, extract(epoch FROM now() - (
        SELECT min(e.at) FROM procrastinate_events e WHERE e.job_id = m.oldest))::float8
    FROM (SELECT queue_name, status, count(*) AS n, min(id) AS oldest FROM procrastinate_jobs
        WHERE status IN ('todo', 'doing', 'failed') GROUP BY queue_name, status) AS m
"""
_COVERAGE: LiteralString = (
    "SELECT family, timeframe, state, count(*) FROM lake.coverage GROUP BY family, timeframe, state"
)
_SCHEDULES: LiteralString = """
    SELECT s.name, extract(epoch FROM r.began_at)::float8, r.has_failed FROM lake.schedule s LEFT JOIN LATERAL (
        SELECT began_at, has_failed FROM lake.schedule_run r WHERE r.name = s.name ORDER BY due_at DESC LIMIT 1
    ) AS r ON true ORDER BY s.name
"""
