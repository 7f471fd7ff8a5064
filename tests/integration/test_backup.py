"""Backups and their way back: whole or none, of one moment, only what is new copied, nothing restored over anything."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from lakehouse.access.sessions import login, resolve
from lakehouse.backup.manifest import BackupDamaged, encode
from lakehouse.backup.moment import moment
from lakehouse.backup.repository import Repository
from lakehouse.backup.restore import refuse_newer
from lakehouse.backup.take import Source, take
from lakehouse.database.connection import connect
from lakehouse.database.locks import files_lock, table_lock
from lakehouse.database.migrate import MigrationError, read_migrations
from lakehouse.database.progress import write_progress
from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.jobs.caring import care
from lakehouse.market.candle import FACT_CANDLE
from lakehouse.market.errors import BadInput, NotNow
from lakehouse.serving.publish import publish_gold, rebuild_serving
from lakehouse.silver.content_hash import content_hash
from lakehouse.silver.lake import Lake
from lakehouse.storage.minio import MinioServer
from lakehouse.storage.stamp import KEY, UNFINISHED, claim, encoded, read
from lakehouse.storage.store import Store, open_store
from tests.backed_up import (
    PASSWORD,
    STAMP,
    Small,
    back_up,
    command,
    copied,
    gold_hash,
    put_back,
    said_here,
    settings_of,
    shown_hash,
    small_platform,
)
from tests.gold_lake import SBER, fact
from tests.killing import child, copied_database, until
from tests.stores import empty_store, make_bucket, options
from tests.unprivileged import small_disk

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def made(
    postgres: EmbeddedPostgres, migrated_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Small]:
    """Return a platform to copy: it takes a second to make."""
    with copied_database(postgres.dsn, migrated_database) as dsn:
        yield small_platform(dsn, tmp_path_factory.mktemp("small") / "data")


@pytest.fixture
def small(made: Small, postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[Small]:
    with copied(made, postgres.dsn, tmp_path / "data") as small:
        yield small


@pytest.fixture(params=["folder", "minio"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Return an empty target of each kind in turn."""
    server: MinioServer | None = None if request.param == "folder" else request.getfixturevalue("minio")
    return empty_store(server, tmp_path)


@pytest.fixture
def target(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "target"))


@pytest.fixture
def empty(postgres: EmbeddedPostgres) -> Iterator[str]:
    """Return the address of a database that holds nothing."""
    name = f"empty_{uuid.uuid4().hex}"
    with connect(postgres.dsn) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield make_conninfo(postgres.dsn, dbname=name)
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def content(target: Store) -> dict[str, int]:
    """Return what lies in a target, and its bytes."""
    return target.sizes("")


def test_what_comes_back_is_what_was_there(small: Small, anywhere: Store, empty: str, tmp_path: Path) -> None:
    """Objects, tables and what readers see to the bit; users keep their passwords, sessions end."""
    with connect(small.dsn) as conn:
        token = login(conn, "anna", PASSWORD, "127.0.0.1").token
    made = back_up(small, anywhere)
    there, restored = put_back(anywhere, tmp_path / "there", empty)
    assert (restored.objects, restored.candles, restored.users, made.lost) == (3, 8, 1, 0)
    assert (gold_hash(there), shown_hash(empty)) == (gold_hash(small), shown_hash(small.dsn))
    keys = list(small.bronze.list())
    assert list(there.bronze.list()) == keys
    assert [there.bronze.get(key) for key in keys] == [small.bronze.get(key) for key in keys]
    with connect(empty) as conn:
        assert resolve(conn, token) is None
        assert login(conn, "anna", PASSWORD, "127.0.0.1").user.name == "anna"


def test_it_goes_on_where_it_was_restored(small: Small, target: Store, empty: str, tmp_path: Path) -> None:
    """The next publish is an increment; a version that was published has never a number of before."""
    back_up(small, target)
    there, _ = put_back(target, tmp_path / "there", empty)
    assert publish_gold(empty, there.gold.lake).kind == "nothing new"
    there.gold.put(fact(SBER, 8))
    small.gold.put(fact(SBER, 8))
    small.publish()
    published = publish_gold(empty, there.gold.lake)
    assert (published.kind, published.inserted) == ("increment", 1)
    assert published.data_version > 1_000_000
    assert shown_hash(empty) == shown_hash(small.dsn)


def test_a_second_backup_copies_what_is_new(small: Small, anywhere: Store, empty: str, tmp_path: Path) -> None:
    """One object, one upload, one commit with its files, the dump and the list; the backup before stays as it was."""
    first = back_up(small, anywhere)
    before, was = content(anywhere), (gold_hash(small), shown_hash(small.dsn))
    small.land(7)
    small.gold.put(fact(SBER, 8))
    small.bronze.delete(["uploads/history/stock/shares/a.json"])
    small.bronze.put("uploads/history/stock/shares/a.json", b"[]")
    second = back_up(small, anywhere)
    assert second.new_files == 2 + 1 + 1 + 3  # dump and list; object; upload; commit, data, unread change
    new = set(content(anywhere)) - set(before)
    assert len(new) == second.new_files + 1
    assert before.items() <= content(anywhere).items()
    there, restored = put_back(anywhere, tmp_path / "there", empty, first.backup_id)
    assert (restored.objects, gold_hash(there), shown_hash(empty)) == (3, *was)
    assert there.bronze.get("uploads/history/stock/shares/a.json") == b"{}"


def test_nothing_new_costs_a_dump(small: Small, target: Store) -> None:
    """Neither an object nor a file of a table is read again."""
    back_up(small, target)
    assert back_up(small, target).new_files <= 2


def test_a_table_made_anew_is_copied_anew(small: Small, target: Store, empty: str, tmp_path: Path) -> None:
    """Its log begins again under the same names: what the backup before held under them is another's."""
    back_up(small, target)
    shutil.rmtree(small.gold.lake.at(FACT_CANDLE).url)
    small.gold.write(FACT_CANDLE, [fact(SBER, 0, close=7.0)])
    rebuild_serving(small.dsn, small.gold.lake, accept_shrinkage=True)
    back_up(small, target)
    there, _ = put_back(target, tmp_path / "there", empty)
    assert (gold_hash(there), shown_hash(empty)) == (gold_hash(small), shown_hash(small.dsn))


def test_changes_that_a_reader_has_yet_to_read_come_along(
    small: Small, target: Store, tmp_path: Path, empty: str
) -> None:
    """From the version that was read last; former versions do not."""
    small.gold.put(fact(SBER, 0, close=5.0))
    for day in range(8, 12):
        small.gold.put(fact(SBER, day))
    address = small.gold.lake.at(FACT_CANDLE)
    with connect(small.dsn) as conn:
        write_progress(conn, "serving.fact_candle", 9, "test")
    back_up(small, target)
    there, _ = put_back(target, tmp_path / "there", empty)

    def changes(lake: Lake) -> list[str]:
        return sorted(
            map(str, pa.table(lake.at(FACT_CANDLE).open().load_cdf(10, address.open().version())).to_pylist())
        )

    assert changes(there.gold.lake) == changes(small.gold.lake) != []
    with pytest.raises(FileNotFoundError):
        there.gold.lake.at(FACT_CANDLE).open(2).to_pyarrow_table()


def test_a_log_is_copied_from_its_last_checkpoint_on(small: Small, target: Store, empty: str, tmp_path: Path) -> None:
    """Older commits are of former states; what is committed behind the restore follows on."""
    small.gold.lake.at(FACT_CANDLE).open().create_checkpoint()
    small.gold.put(fact(SBER, 8))
    small.publish()
    back_up(small, target)
    there, _ = put_back(target, tmp_path / "there", empty)
    log = Path(there.gold.lake.at(FACT_CANDLE).url, "_delta_log")
    assert sorted(path.name for path in log.iterdir()) == [
        f"{7:020d}.checkpoint.parquet",
        f"{7:020d}.json",
        f"{8:020d}.json",
    ]
    assert gold_hash(there) == gold_hash(small)
    there.gold.put(fact(SBER, 9))
    assert publish_gold(empty, there.gold.lake).inserted == 1


def test_what_lands_during_a_backup_is_no_part_of_its_moment(small: Small, target: Store) -> None:
    """The ledger and the tables' versions are of one moment: a commit behind it is not in the backup."""
    with moment(small.dsn, small.gold.lake, 60) as then:
        version = then.tables[FACT_CANDLE.name].version
        small.land(8)
        small.gold.put(fact(SBER, 9))
        assert len(then.objects()) == 3
    assert small.gold.lake.at(FACT_CANDLE).open().version() == version + 1


def test_a_table_that_is_being_written_is_waited_for(small: Small, target: Store) -> None:
    """A moment lies between two commits; one that does not end stops the backup with a word, not for ever."""
    with (
        table_lock(small.dsn, FACT_CANDLE.name, "merge-1"),
        pytest.raises(NotNow, match=r"^gold.fact_candle has been written for longer than 1 s: try again when that"),
    ):
        take(small.source, Repository(target), patience_s=1)
    assert Repository(target).ids() == []
    assert back_up(small, target).objects == 3


def test_care_removes_no_files_while_they_are_copied(small: Small) -> None:
    """And removes them afterwards."""
    with files_lock(small.dsn):
        report = care(small.dsn, small.gold.lake, "care-1", dt.timedelta(0))
    assert report.tables[FACT_CANDLE.name].left_out == "nothing was removed: a backup is being taken"
    assert care(small.dsn, small.gold.lake, "care-2", dt.timedelta(0)).tables[FACT_CANDLE.name].removed > 0


# -- What is not whole ------------------------------------------------------------------------------------------------


def test_a_damaged_file_is_named_and_not_restored(small: Small, target: Store, empty: str, tmp_path: Path) -> None:
    """By check and by restore; what was begun is stamped as unfinished, and the next backup mends the target."""
    back_up(small, target)
    repository = Repository(target)
    damaged = next(file for file in repository.listing(repository.manifest(repository.ids()[0])) if "iss/" in file.path)
    path = Path(target.url, "files", damaged.sha256[:2], damaged.sha256)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    (fault,) = repository.faults()
    assert (fault.reason, damaged.path in fault.path, damaged.sha256 in fault.path) == ("is damaged", True, True)
    with pytest.raises(
        BackupDamaged, match=rf"{damaged.sha256} in .*{damaged.path}.* is damaged: its hash is another;"
    ):
        put_back(target, tmp_path / "there", empty)
    assert (tmp_path / "there" / KEY).read_bytes() == encoded(UNFINISHED)
    path.unlink()
    assert [each.reason for each in repository.faults()] == ["is missing"]
    back_up(small, target)
    assert list(repository.faults()) == []


@pytest.mark.parametrize("cut", [lambda body: body[: len(body) // 2], lambda body: body[:-1], lambda body: b""])
def test_a_manifest_that_is_cut_makes_no_backup(small: Small, target: Store, cut: Callable[[bytes], bytes]) -> None:
    """Nor one in which a letter is another; the backup before it counts."""
    first, second = back_up(small, target), back_up(small, target)
    path = Path(target.url, "backups", f"{second.backup_id}.json")
    path.write_bytes(cut(path.read_bytes().rstrip()))
    repository = Repository(target)
    with pytest.raises(
        BackupDamaged, match=rf"^the manifest backups/{second.backup_id}.json is cut off or was changed"
    ):
        repository.manifest(second.backup_id)
    newest = repository.newest()
    assert newest is not None
    assert newest.backup_id == first.backup_id
    with pytest.raises(BackupDamaged):
        repository.keep(1)
    assert repository.ids() == [first.backup_id, second.backup_id]


def test_a_manifest_that_was_changed_makes_no_backup(small: Small, target: Store) -> None:
    """The seal covers every letter of it."""
    made = back_up(small, target)
    path = Path(target.url, "backups", f"{made.backup_id}.json")
    path.write_bytes(path.read_bytes().replace(b'"objects": 3', b'"objects": 2'))
    assert Repository(target).newest() is None


def test_a_backup_of_a_newer_program_is_refused(small: Small, target: Store) -> None:
    """By its migrations; and by its format, if that is another."""
    made = back_up(small, target)
    newer = {**vars(made), "migrations": {**made.migrations, "9999_newer": "x"}, "program": "9.9"}
    with pytest.raises(
        MigrationError, match=r"made by version 9.9, whose migrations this one does not know \(9999_newer\)"
    ):
        refuse_newer(type(made)(**newer))
    line = json.dumps({**json.loads(encode(made).splitlines()[0]), "format": 2}).encode()
    path = Path(target.url, "backups", f"{made.backup_id}.json")
    path.write_bytes(line + b"\n" + hashlib.sha256(line).hexdigest().encode())
    with pytest.raises(BackupDamaged, match=r"has format 2, this version reads 1: use the newer version$"):
        Repository(target).manifest(made.backup_id)


def test_a_database_of_a_newer_program_is_not_backed_up(small: Small, target: Store) -> None:
    """What that added this one may not know to take along."""
    with connect(small.dsn) as conn:
        conn.execute("INSERT INTO lakehouse_migration (name, checksum) VALUES ('9999_newer', 'x')")
    with pytest.raises(MigrationError, match=r"^the database is of a newer version, .* \(9999_newer\): back up with"):
        back_up(small, target)
    assert Repository(target).ids() == []


def test_an_older_database_is_backed_up_and_comes_back_up_to_date(
    small: Small, target: Store, landed: str, empty: str, tmp_path: Path
) -> None:
    """Before an upgrade, with the new program: its schema is that of a new database afterwards, its rows are kept."""
    older = Small(landed, tmp_path / "older", small.gold, small.bronze)
    made = back_up(older, target)
    assert len(made.migrations) == 3
    there, restored = put_back(target, tmp_path / "there", empty)
    assert (restored.objects, restored.users, len(restored.migrated)) == (1, 1, len(read_migrations()) - 3)
    assert (made.lost, len(list(there.bronze.list("iss/")))) == (1, 3)


def _take_slowly(source: Source, url: str) -> None:
    """Take a backup that stops for ever behind a few files."""
    store = open_store(url)
    written = []
    put_file = Store.put_file

    def slow(self: Store, key: str, file: object) -> None:
        put_file(self, key, file)  # type: ignore[arg-type]
        written.append(key)
        if len(written) > 4:
            time.sleep(600)

    Store.put_file = slow  # type: ignore[method-assign]
    take(source, Repository(store))


def test_a_backup_that_is_killed_is_none_and_what_it_left_is_used(small: Small, target: Store) -> None:
    """Kill -9 between two files: no backup is listed, nothing is locked; the next one completes it."""
    with child(_take_slowly, small.source, target.url):
        until(lambda: len(content(target)) > 4)
    left = content(target)
    assert Repository(target).ids() == []
    made = back_up(small, target)
    assert made.new_files < made.files - 2
    assert left.items() <= content(target).items()
    assert list(Repository(target).faults()) == []


def test_a_full_target_makes_no_backup(small: Small, tmp_path: Path) -> None:
    """One line names the folder and what is free; with room the same command goes on."""
    small.bronze.put("rejected/big", os.urandom(3_000_000))
    with small_disk(tmp_path / "disk", 2) as disk:
        done = command("backup", disk / "target", **settings_of(small))
        said = rf"Error: the backup is cut short: no space left in {disk}/target \([0-9.]+ .B free\); make room"
        assert (done.returncode, bool(re.match(said, done.stderr)), len(done.stderr.splitlines())) == (1, True, 1), done
        assert Repository(open_store(str(disk / "target"))).ids() == []
        small.bronze.delete(["rejected/big"])
        assert command("backup", disk / "target", **settings_of(small)).returncode == 0
        assert list(Repository(open_store(str(disk / "target"))).faults()) == []


def test_a_full_destination_is_no_restore(small: Small, target: Store, empty: str, tmp_path: Path) -> None:
    """Nothing starts on what is there of it, the database is as empty as before, and an emptied place takes it."""
    small.bronze.put("rejected/big", os.urandom(3_000_000))
    back_up(small, target)
    settings = {"LAKEHOUSE_DATABASE_URL": empty}
    with small_disk(tmp_path / "disk", 2) as disk:
        there = disk / "there"
        done = command("restore", target.url, "--data", there, **settings)
        said = rf"Error: the restore is cut short: no space left in {there} \([0-9.]+ .B free\); make room"
        assert (done.returncode, bool(re.match(said, done.stderr))) == (1, True), done
        assert (there / KEY).read_bytes() == encoded(UNFINISHED)
    assert command("restore", target.url, "--data", tmp_path / "there", **settings).returncode == 0
    assert shown_hash(empty) == shown_hash(small.dsn)


# -- What is kept -----------------------------------------------------------------------------------------------------


def test_what_no_kept_backup_needs_is_removed(small: Small, target: Store, empty: str, tmp_path: Path) -> None:
    """Also what a backup that was cut short left; those kept are whole."""
    first = back_up(small, target)
    (lone := Path(target.url, "files", "ab", "ab" * 32)).parent.mkdir(exist_ok=True)
    lone.write_bytes(b"cut short")
    (unfinished := lone.with_name("cd" * 32 + "#1")).write_bytes(b"killed")
    small.gold.put(fact(SBER, 8))
    small.publish()  # within a second the dump of a database that did not change is the one before
    second = back_up(small, target)
    gone, files, size = Repository(target).keep(1)
    assert gone == [first.backup_id]
    assert (files, size) == (3, first.dump.size + first.listing.size + len(b"cut short"))
    assert Repository(target).ids() == [second.backup_id]
    assert list(Repository(target).faults()) == []
    there, _ = put_back(target, tmp_path / "there", empty)
    assert gold_hash(there) == gold_hash(small)
    assert Repository(target).keep(1) == ([], 0, 0)
    assert not unfinished.exists()


# -- The commands -----------------------------------------------------------------------------------------------------


def test_commands_back_up_check_list_and_restore(small: Small, tmp_path: Path, empty: str) -> None:
    """As a person runs them; files of a backup are readable by their owner alone; the audit record tells of both."""
    target, there = tmp_path / "target", tmp_path / "there"
    done = command("backup", target, "--keep", "2", **settings_of(small))
    assert (done.returncode, done.stderr) == (0, "")
    assert re.match(r"\d{8}T\d{6}Z: \d+ files, .* of which new \d+, .*\nremoved 0 backups, and 0 files", done.stdout)
    backup_id = done.stdout[:16]
    modes = {stat.S_IMODE(path.stat().st_mode) for path in target.rglob("*") if path.is_file()}
    folders = {stat.S_IMODE(path.stat().st_mode) for path in (target, *target.rglob("*")) if path.is_dir()}
    assert (modes, folders) == ({0o600}, {0o700})
    assert said_here("backup", target, "--check") == "1 backups are whole\n"
    listed = said_here("backup", target, "--list")
    assert backup_id in listed
    assert "the simulator with seed 7" in listed
    settings = {"LAKEHOUSE_DATABASE_URL": empty}
    done = command("restore", target, "--data", there, "--id", backup_id, **settings)
    assert done.stdout.startswith(f"restored {backup_id} in ")
    assert done.stdout.endswith(" s: 3 objects, 8 candles, 1 users; sessions have ended\n")
    assert json.loads((there / KEY).read_text()) == STAMP
    with connect(small.dsn) as conn:
        query = "SELECT action, target, detail ->> 'backup', outcome FROM lake.audit ORDER BY audit_id DESC LIMIT 1"
        assert conn.execute(query).fetchone() == ("backup", str(target), backup_id, "done")
    with connect(empty) as conn:
        assert conn.execute(query).fetchone() == ("restore", str(target), backup_id, "done")
    again = said_here("restore", target, "--data", there, **settings)
    assert again.startswith(f"{there} is not empty, it holds ")
    again = said_here("restore", target, "--data", tmp_path / "elsewhere", **settings)
    assert "holds tables already, gold." in again
    assert not (tmp_path / "elsewhere").exists()


def test_a_target_keeps_to_one_source(small: Small, target: Store) -> None:
    """As a data folder does."""
    back_up(small, target)
    other = Source(small.dsn, small.bronze, small.gold.lake, {"source": "exchange"})
    with pytest.raises(BadInput, match=r"holds backups of the simulator with seed 7, and this is the exchange: choose"):
        take(other, Repository(target))


def test_objects_and_tables_may_lie_on_s3(
    small: Small, target: Store, minio: MinioServer, empty: str, tmp_path: Path
) -> None:
    """From a folder to a bucket that is made and stamped already, and from there to a folder again."""
    back_up(small, target)
    bucket = make_bucket(minio)
    urls = {"LAKEHOUSE_BRONZE_URL": f"s3://{bucket}/bronze", "LAKEHOUSE_LAKE_URL": f"s3://{bucket}/lake"}
    reached = {f"LAKEHOUSE_S3_{name.upper()}": value for name, value in options(minio).items()}
    bronze, lake = (open_store(url, options(minio)) for url in urls.values())
    claim(bronze, STAMP, "LAKEHOUSE_BRONZE_URL")
    settings = {**urls, **reached, "LAKEHOUSE_DATABASE_URL": empty}
    done = command("restore", target.url, "--data", tmp_path / "there", **settings)
    assert done.returncode == 0, done.stderr
    assert (read(bronze), read(lake)) == (STAMP, STAMP)
    assert content_hash([(Lake(lake.url, options(minio)).at(FACT_CANDLE), FACT_CANDLE, False)]) == gold_hash(small)
    again = said_here("restore", target.url, "--data", tmp_path / "again", **settings)
    assert again.startswith(f"{bronze.url} is not empty, it holds iss/")
    back = f"s3://{bucket}/backups"
    done = command("backup", back, "--data", tmp_path / "there", **settings)
    assert done.returncode == 0, done.stderr
    assert said_here("backup", back, "--check", **settings) == "1 backups are whole\n"
    with connect(empty) as conn:
        conn.execute("DROP SCHEMA lake, gold, store, public CASCADE")
        conn.execute("CREATE SCHEMA public")
    done = command("restore", back, "--data", tmp_path / "back", **reached, LAKEHOUSE_DATABASE_URL=empty)
    assert done.returncode == 0, done.stderr
    assert content_hash([(Lake(str(tmp_path / "back")).at(FACT_CANDLE), FACT_CANDLE, False)]) == gold_hash(small)
    assert shown_hash(empty) == shown_hash(small.dsn)


def test_rights_are_those_of_a_new_database_whoever_owns_it(
    small: Small, target: Store, postgres: EmbeddedPostgres, empty: str, tmp_path: Path
) -> None:
    """Also for what is made later: the owner of the backup's database may have another name, or be unknown here."""
    back_up(small, target)
    name = conninfo_to_dict(empty)["dbname"]
    with connect(postgres.dsn) as conn:
        conn.execute("DROP ROLE IF EXISTS another_owner")
        conn.execute("CREATE ROLE another_owner SUPERUSER LOGIN PASSWORD 'only here'")
    owned = make_conninfo(postgres.dsn, dbname=str(name), user="another_owner", password="only here")
    put_back(target, tmp_path / "there", owned)

    def rights(dsn: str, owner: str) -> list[tuple[str, ...]]:
        with connect(dsn) as conn:
            query = """
                SELECT defaclnamespace::regnamespace::text, replace(defaclacl::text, %(owner)s, 'OWNER'), ''
                FROM pg_default_acl WHERE defaclrole = %(owner)s::regrole
                UNION ALL
                SELECT relname, replace(relacl::text, %(owner)s, 'OWNER'), relowner::regrole::text FROM pg_class
                WHERE relnamespace IN ('lake'::regnamespace, 'gold'::regnamespace) AND relacl IS NOT NULL
                """
            found = conn.execute(query, {"owner": owner}).fetchall()
        return sorted((*row[:2], row[2].replace(owner, "OWNER")) for row in found)

    assert rights(owned, "another_owner") == rights(small.dsn, "postgres") != []
    with connect(owned) as conn:
        may = conn.execute(
            """
            SELECT has_database_privilege(role, current_database(), 'TEMPORARY'),
                has_function_privilege(role, 'pg_advisory_lock(bigint)', 'EXECUTE')
            FROM unnest(ARRAY['lakehouse_read', 'lakehouse_app']) role
            """
        ).fetchall()
    assert may == [(False, False), (True, True)]
    with connect(postgres.dsn) as conn:
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(str(name))))
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(str(name))))
        conn.execute("DROP ROLE another_owner")


def test_nothing_starts_on_half_a_restore(tmp_path: Path) -> None:
    """The stamp says what to do."""
    (tmp_path / KEY).write_bytes(encoded(UNFINISHED))
    done = command("up", "--data", tmp_path)
    said = f"Error: {tmp_path} holds a restore that was cut short: empty it, then restore again\n"
    assert (done.returncode, done.stderr) == (1, said)
