"""Uploaded pages: imported or refused and listed, by every way in, and ranked below what was fetched as far as SQL."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from psycopg import Connection
from structlog.testing import capture_logs

from lakehouse.bronze import uploads
from lakehouse.bronze.ledger import rebuild, record_landed
from lakehouse.bronze.objects import decode_object
from lakehouse.bronze.reconcile import reconcile
from lakehouse.bronze.upload_file import MAX_FILE
from lakehouse.cli import lakehouse
from lakehouse.database.connection import connect
from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.jobs.events import file_uploaded
from lakehouse.jobs.merging import Lakeside, merge, publish
from lakehouse.market.candle import CANDLES, HISTORY
from lakehouse.market.errors import BadInput
from lakehouse.silver.content_hash import content_hash
from lakehouse.silver.lake import Lake
from lakehouse.storage.store import Store, open_store
from lakehouse.up.folder import run_file, sole_use
from tests.bronze_objects import CANDLE_COLUMNS, candle, candles_object
from tests.functions_api import Api, served_functions
from tests.hostile_requests import JSON, Hostile
from tests.uploaded import DAYS, as_csv, candles_json, end_of_day, history_json

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.postgres

PAGE = candles_json([candle("2012-03-01 00:00:00")])
T = dt.datetime.fromisoformat


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection[Any]]:
    with connect(dsn) as opened:
        yield opened


def recorded(conn: Connection[Any]) -> list[Any]:
    return conn.execute("SELECT object_key, rank, rows, complete FROM lake.bronze_object ORDER BY 1").fetchall()


def merges(conn: Connection[Any]) -> int:
    return len(conn.execute("SELECT FROM procrastinate_jobs WHERE task_name = 'merge'").fetchall())


def replace(store: Store, key: str, body: bytes) -> None:
    """Write over what is there, as S3 lets anyone who may write."""
    assert store.folder is not None
    (store.folder / key).write_bytes(body)


def test_a_file_in_the_store_is_imported_once_however_often_it_is_told(conn: Connection[Any], store: Store) -> None:
    """By its news or by the reconciliation; the merge is asked for, and the file stays where it is."""
    store.put(DAYS, PAGE)
    assert [file_uploaded(conn, store, DAYS) for _ in range(3)] == [True] * 3
    assert reconcile(conn, store).uploads == []
    found = uploads.upload(conn, DAYS)
    assert recorded(conn) == [(found.object_key, -1, 1, False)]
    assert (found.state, found.rows, found.error, found.fate, merges(conn)) == ("imported", 1, "", "in Bronze", 1)
    assert conn.execute("SELECT count(*) FROM lake.coverage").fetchone() == (0,)
    assert store.get(DAYS) == PAGE


def test_what_no_news_told_is_found_by_the_reconciliation(conn: Connection[Any], store: Store) -> None:
    """A file that is new, and one that was replaced since it was looked at; who replaced it is another's business."""
    store.put(DAYS, PAGE)
    assert reconcile(conn, store).uploads == [DAYS]
    replace(store, DAYS, candles_json([candle("2012-03-01 00:00:00"), candle("2012-03-02 00:00:00")]))
    assert reconcile(conn, store).uploads == [DAYS]
    assert [rows for _, _, rows, _ in recorded(conn)] == [1, 2]
    assert uploads.upload(conn, DAYS).rows == 2
    assert reconcile(conn, store).uploads == []


def test_a_refused_file_stays_and_is_listed_until_it_is_mended(conn: Connection[Any], store: Store) -> None:
    """With what is wrong; it is read again only when its content is another."""
    wrong = {
        DAYS: PAGE[:-9],
        "uploads/candles/notes.txt": b"x",
        DAYS.replace("page", "large"): b" " * (MAX_FILE + 1),
        "uploads/Мои файлы/страница.csv": b"candles\n",
    }
    for key, body in wrong.items():
        store.put(key, body)
    assert sorted(reconcile(conn, store).uploads) == sorted(wrong)
    listed = {each.upload_key: each for each in uploads.uploads(conn)}
    assert {each.state for each in listed.values()} == {"refused"}
    assert set(listed) == set(wrong)
    assert "may be cut off" in listed[DAYS].error
    assert "no place for an upload" in listed["uploads/candles/notes.txt"].error
    assert "at most 8,388,608 are read: upload its pages one by one" in listed[DAYS.replace("page", "large")].error
    assert reconcile(conn, store).uploads == []
    assert (recorded(conn), [store.exists(key) for key in wrong]) == ([], [True] * 4)
    replace(store, DAYS, PAGE)
    assert file_uploaded(conn, store, DAYS)
    assert uploads.upload(conn, DAYS).state == "imported"


@pytest.mark.parametrize("key", [DAYS, "uploads/../etc/passwd", "uploads//x", "uploads/\0", "iss/x", "uploads/.x", ""])
def test_false_news_of_an_upload_is_ignored(conn: Connection[Any], store: Store, key: str) -> None:
    """Of a file that is not there, or a key that leads elsewhere."""
    assert not file_uploaded(conn, store, key)
    assert (uploads.uploads(conn), merges(conn)) == ([], 0)


def test_what_cannot_be_accepted_is_refused(conn: Connection[Any], store: Store) -> None:
    """What is not there, what was refused, and what was accepted before."""
    with pytest.raises(BadInput, match=r"^there is no upload uploads/x: `lakehouse uploads` lists them$"):
        uploads.accept(conn, store, "uploads/x", "anna")
    store.put("uploads/x", b"")
    file_uploaded(conn, store, "uploads/x")
    with pytest.raises(BadInput, match=r"^uploads/x was refused \(.*\): it has no rows to accept$"):
        uploads.accept(conn, store, "uploads/x", "anna")
    uploads.submit(conn, store, DAYS, PAGE, "anna")
    uploads.accept(conn, store, DAYS, "anna")
    with pytest.raises(BadInput, match=rf"^{DAYS} was accepted by anna already$"):
        uploads.accept(conn, store, DAYS, "boris")


# -- over HTTP and on the command line --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def api(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with served_functions(postgres, tmp_path_factory.mktemp("uploads")) as found:
        yield found


def ask(api: Api, method: str, path: str, body: bytes = b"", role: str = "admin") -> tuple[int, dict[str, Any]]:
    kind = BYTES if path.startswith("/v1/uploads?") else JSON
    status, said = api.ask(Hostile(method, path.encode(), 0, "", body, role, (kind,) if body else ()))
    return status, json.loads(said)


BYTES = b"Content-Type: application/octet-stream"
POST = "/v1/uploads?board=TQBR&secid={secid}&timeframe=1d&name=page.{kind}"


def test_an_admin_uploads_over_http_sees_it_and_accepts_it(api: Api) -> None:
    """JSON and CSV; the same again changes nothing, another file of the name is refused."""
    status, made = ask(api, "POST", POST.format(secid="SBER", kind="json"), PAGE)
    assert (status, made["state"], made["rows"], made["upload_key"]) == (201, "imported", 1, DAYS)
    csv = as_csv("candles", CANDLE_COLUMNS, [candle("2012-03-01 00:00:00")])
    assert ask(api, "POST", POST.format(secid="GAZP", kind="csv"), csv)[0] == 201
    stored = api.stored()
    assert ask(api, "POST", POST.format(secid="SBER", kind="json"), PAGE)[0] == 201
    other = candles_json([candle("2012-03-02 00:00:00")])
    status, said = ask(api, "POST", POST.format(secid="SBER", kind="json"), other)
    assert (status, "there is another file of this name; give this one another name" in said["detail"]) == (400, True)
    assert api.stored() == stored
    listed = ask(api, "GET", "/v1/uploads?limit=10")[1]["uploads"]
    assert [each["upload_key"].split("/")[5] for each in listed] == ["GAZP", "SBER"]
    status, said = ask(api, "POST", "/v1/uploads/accept", json.dumps({"upload_key": DAYS}).encode())
    assert (status, said["object_key"].startswith("iss/candles/stock/shares/TQBR/SBER/1d/")) == (202, True)
    audited = api.conn.execute("SELECT action, user_name, outcome FROM lake.audit ORDER BY audit_id").fetchall()
    done = [("upload", "admin", "imported")] * 3 + [("accept upload", "admin", "accepted")]
    assert [row for row in audited if row[2] != "refused"] == done


@pytest.mark.parametrize("role", ["", "viewer", "analyst"])
def test_who_is_no_admin_uploads_nothing(api: Api, role: str) -> None:
    """Nor sees or accepts what others did; the refusal of what changes something is on record."""
    stored = api.stored()
    expected = 403 if role else 401
    accept = json.dumps({"upload_key": DAYS}).encode()
    for method, path, body in (
        ("POST", POST.format(secid="SBER", kind="json"), PAGE),
        ("POST", "/v1/uploads/accept", accept),
        ("GET", "/v1/uploads", b""),
    ):
        assert ask(api, method, path, body, role)[0] == expected
    assert api.stored() == stored


def test_a_file_is_imported_on_the_command_line(dsn: str, tmp_path: Path) -> None:
    """Each of several by itself; what is refused is told with its file, and the rest is imported all the same."""
    (tmp_path / "source.json").write_text('{"source": "simulator", "seed": 1}')
    (tmp_path / "good.json").write_bytes(PAGE)
    (tmp_path / "cut.json").write_bytes(PAGE[:-5])
    data = ["--data", str(tmp_path)]
    runner = CliRunner()
    with sole_use(tmp_path), run_file(tmp_path, {"pid": 1, "dsn": dsn, "web_url": ""}):
        files = [str(tmp_path / name) for name in ("good.json", "cut.json")]
        done = runner.invoke(lakehouse, ["upload", *data, "--secid", "SBER", "--timeframe", "1d", *files])
        assert "good.json: 1 rows imported as uploads/candles/stock/shares/TQBR/SBER/1d/good.json" in done.stdout
        assert "1 of 2 files refused: " in str(done.exception)
        accepted = runner.invoke(lakehouse, ["uploads", *data, "accept", DAYS.replace("page", "good")])
        assert "is accepted: its rows are the newest now" in accepted.stdout, accepted.exception
        listed = json.loads(runner.invoke(lakehouse, ["uploads", *data, "--json"]).stdout)
    assert [(each["state"], each["rows"]) for each in listed] == [("imported", 1)]
    assert listed[0]["accepted_by"].startswith("cli:")


# -- the whole way ----------------------------------------------------------------------------------------------------

FETCHED_AT = T("2024-03-20T12:00:00+00:00")
ACCEPTED_AT = T("2024-04-01T09:00:00+00:00")


def fetch(conn: Connection[Any], store: Store) -> None:
    """Land two days of SBER as the exchange gave them."""
    rows = [candle("2024-03-04 00:00:00"), candle("2024-03-05 00:00:00")]
    span: dict[str, Any] = {"from_": dt.date(2024, 3, 4), "till": dt.date(2024, 3, 5), "last": "2024-03-05 00:00:00"}
    described, body = candles_object(rows, timeframe="1d", fetched_at=FETCHED_AT, **span)
    store.put(described.object_key, body)
    record_landed(conn, described.object_key, decode_object(body).trailer)


def upload_both(conn: Connection[Any], store: Store) -> None:
    """Upload a day that nobody has with one that was fetched, of another value, as CSV; and end-of-day rows."""
    rows = [candle("2024-03-01 00:00:00", 1.25), candle("2024-03-04 00:00:00", 1.75)]
    uploads.submit(conn, store, CSV, as_csv("candles", CANDLE_COLUMNS, rows), "anna")
    page = history_json([end_of_day("2024-03-01"), end_of_day("2024-03-01", 1.75, "SMAL")])
    uploads.submit(conn, store, "uploads/history/stock/shares/page.json", page, "anna")


CSV = DAYS.replace("json", "csv")


def versions(lake: Lake) -> list[tuple[Any, ...]]:
    rows = lake.at(CANDLES).open().to_pyarrow_table().to_pylist()
    return sorted(
        (f"{row['trade_date']}", row["close"], row["known_from"], row["known_till"], row["is_final"]) for row in rows
    )


def silver_hash(lake: Lake) -> str:
    return content_hash([(lake.at(CANDLES), CANDLES, True), (lake.at(HISTORY), HISTORY, True)])


@pytest.mark.spark
def test_an_upload_fills_gaps_and_revises_nothing_unless_it_is_accepted(
    spark: SparkSession, dsn: str, conn: Connection[Any], tmp_path: Path
) -> None:
    """As far as PostgreSQL; and all of it follows from Bronze alone, in another order and with a ledger made anew."""
    store, lake = open_store(str(tmp_path / "bronze")), Lake(str(tmp_path / "lake"))
    place = Lakeside(spark, dsn, store.url, lake)

    def shown() -> list[tuple[Any, ...]]:
        merge(place)
        publish(place)
        return conn.execute("SELECT trade_date::text, close FROM gold.fact_candle ORDER BY 1").fetchall()

    fetch(conn, store)
    upload_both(conn, store)
    assert shown() == [("2024-03-01", 1.25), ("2024-03-04", 1.5), ("2024-03-05", 1.5)]
    never = T("1970-01-01T00:00:00+00:00")
    before = [
        ("2024-03-01", 1.25, never, None, False),
        ("2024-03-04", 1.5, FETCHED_AT, None, True),
        ("2024-03-04", 1.75, never, FETCHED_AT, False),
        ("2024-03-05", 1.5, FETCHED_AT, None, True),
    ]
    assert versions(lake) == before
    assert {each.fate for each in uploads.uploads(conn)} == {"in PostgreSQL"}

    uploads.accept(conn, store, CSV, "anna", ACCEPTED_AT)
    assert shown() == [("2024-03-01", 1.25), ("2024-03-04", 1.75), ("2024-03-05", 1.5)]
    accepted = ("2024-03-04", 1.75, ACCEPTED_AT, None, True)
    assert accepted in versions(lake)
    assert ("2024-03-04", 1.5, FETCHED_AT, ACCEPTED_AT, True) in versions(lake)

    conn.execute("TRUNCATE lake.bronze_object, lake.coverage, lake.progress")
    rebuild(conn, store)
    anew = Lake(str(tmp_path / "anew"))
    merge(Lakeside(spark, dsn, store.url, anew))
    assert (versions(anew), silver_hash(anew)) == (versions(lake), silver_hash(lake))


class Poisoned(Store):
    """A store in which the reading of one key fails as nobody thought it could."""

    def get(self, key: str, most: int | None = None) -> bytes:
        if key.endswith("a-poison.json"):
            raise ZeroDivisionError
        return super().get(key, most)


def test_one_file_that_cannot_be_looked_at_stops_no_other(conn: Connection[Any], store: Store) -> None:
    """An error that nobody thought of is logged; the files behind it are imported, and it is looked at again."""
    poison = DAYS.replace(DAYS.rpartition("/")[2], "a-poison.json")
    for key in (poison, DAYS):
        store.put(key, PAGE)
    with capture_logs() as said:
        assert reconcile(conn, Poisoned(store.url, {}, 1)).uploads == [DAYS]
    assert [(line["event"], line["key"]) for line in said if line["log_level"] == "error"] == [
        ("bronze.upload_not_imported", poison)
    ]
    assert reconcile(conn, store).uploads == [poison]
