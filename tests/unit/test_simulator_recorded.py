"""The recorded exchange serves its files and nothing else."""

from __future__ import annotations

import csv
import datetime as dt
from pathlib import Path

import pytest

from lakehouse.market.errors import BadInput
from lakehouse.simulator.clock import from_seconds, to_seconds
from lakehouse.simulator.demo import demo_request
from lakehouse.simulator.periods import DAY, MINUTE
from lakehouse.simulator.recorded import RecordedExchange
from tests.components import RECORDED


@pytest.fixture(scope="module")
def recorded() -> RecordedExchange:
    """The exchange of the recorded data beside the repository."""
    if not RECORDED.exists():
        pytest.skip(f"recorded data is not at {RECORDED}")
    return RecordedExchange(RECORDED)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder laid out like the recorded data, made up."""
    candle, row = "open,close,high,low,value,volume,begin,end", "date,open,high,low,close,volume,value,board"
    texts = {
        "daily_candles/AAAA.csv": [f",{candle}", "0,1,2.5,3,1,10.5,4.0,2024-01-03,2024-01-03 21:45:49"],
        "minute_candles/EQMX.csv": [
            candle,
            "1,1,1,1,1,1,2024-01-31 10:00:00,2024-01-31 10:00:59",
            "2,2,2,2,2,2,2024-02-01 10:00:00,2024-02-01 10:00:59",
        ],
        "daily_history/AAAA.csv": [row, "2024-01-03,1,3,1,2.5,4,10.5,EQBR", "2024-01-06,1.0,3,1,2,4,,TQBR"],
        "index_history/IMOEX.csv": ["TRADEDATE,OPEN,LOW,HIGH,CLOSE,NUMTRADES,VOLUME", "2024-01-03,1,1,2,1.5,,"],
        "corporate_actions/split_AAAA.csv": ["date,before,after,type,source", "2024-01-06,1,10,forward,x"],
    }
    for name, lines in texts.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
    return tmp_path


def test_files_become_an_exchange(folder: Path) -> None:
    """Boards, intervals, calendar, clock and splits follow from the files; what a file lacks is null."""
    exchange = RecordedExchange(folder)
    assert [str(instrument) for instrument in exchange.instruments()] == ["AAAA TQBR", "EQMX TQTF", "IMOEX SNDX"]
    assert [list(exchange.intervals(secid)) for secid in exchange.secids()] == [[DAY], [MINUTE], []]
    assert exchange.default_now == dt.datetime.fromisoformat("2024-02-02 06:00:00")
    assert [str(day.date) for day in exchange.calendar() if day.is_traded] == [
        "2024-01-03",
        "2024-01-06",
        "2024-01-31",
        "2024-02-01",
    ]
    assert [day.reason for day in exchange.calendar()][:5] == ["N", "H", "H", "T", "W"]
    history = exchange.history("AAAA")
    row = dict(zip([column.name for column in history.columns], history.rows[1], strict=True))
    assert (row["BOARDID"], row["OPEN"], row["VALUE"], row["NUMTRADES"], row["SHORTNAME"]) == (
        "TQBR",
        1.0,
        None,
        None,
        None,
    )
    assert [(str(split.date), split.secid, split.after) for split in exchange.splits()] == [("2024-01-06", "AAAA", 10)]
    assert dict(demo_request(exchange)) == {"AAAA": ("1d",), "EQMX": ("1m",), "IMOEX": ("1d",)}
    card = exchange.security("AAAA", to_seconds(dt.date(2024, 2, 2)))
    assert card
    assert [(listing.board.board, listing.is_primary, str(listing.history_till)) for listing in card.listings] == [
        ("TQBR", True, "2024-01-06"),
        ("EQBR", False, "2024-01-03"),
    ]


def test_minutes_are_cut_by_month(folder: Path) -> None:
    """A chunk of minutes is a month, as in the made market."""
    exchange = RecordedExchange(folder)
    chunks = [exchange.candles("EQMX", MINUTE, chunk) for chunk in exchange.chunks("EQMX", MINUTE)]
    assert [chunk.open.tolist() for chunk in chunks] == [[1], [2]]


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    """A folder without recordings is told, with what was expected."""
    with pytest.raises(BadInput, match=r"no recorded candles or history in .*: expected CSV files in daily_candles"):
        RecordedExchange(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("daily_candles/BAD.csv", r"BAD\.csv is no file of candles"),
        ("daily_history/BAD.csv", r"BAD\.csv is no file of end-of-day rows"),
    ],
)
def test_a_broken_file_is_named(folder: Path, name: str, message: str) -> None:
    """A file that is not what its folder says is named in the error."""
    (folder / name).write_text("a,b,board\n1,2,TQBR\n")
    with pytest.raises(BadInput, match=message):
        RecordedExchange(folder)


def test_every_recorded_candle_is_served(recorded: RecordedExchange) -> None:
    """Each row of the daily candles is there with the file's own values, odd ends included."""
    with (RECORDED / "daily_candles" / "SBER.csv").open() as file:
        rows = list(csv.DictReader(file))
    candles = recorded.candles("SBER", DAY, 0)
    assert len(candles) == len(rows) == 3489
    assert candles.close.tolist() == [float(row["close"]) for row in rows]
    assert [str(from_seconds(end)) for end in candles.end.tolist()] == [row["end"] for row in rows]
    assert "2023-12-06 21:45:49" in [row["end"] for row in rows]


def file_dates(*folders: str) -> list[dt.date]:
    """Return the date of every row of the recorded files in *folders*."""
    rows = [
        row
        for folder in folders
        for path in sorted((RECORDED / folder).glob("*.csv"))
        for row in csv.DictReader(path.read_text().splitlines())
    ]
    texts = [row.get("date") or row.get("TRADEDATE") or row["begin"] for row in rows]
    return [dt.date.fromisoformat(text[:10]) for text in texts]


def test_the_recorded_calendar_is_every_date_of_the_files(recorded: RecordedExchange) -> None:
    """Trading days are the files' dates, weekends among them; the clock starts the morning after the last one."""
    dates = set(file_dates("daily_candles", "minute_candles", "daily_history", "index_history"))
    assert [day.date for day in recorded.calendar() if day.is_traded] == sorted(dates)
    assert any(date.isoweekday() > 5 for date in dates)
    assert recorded.default_now == dt.datetime.fromisoformat("2026-07-01 06:00:00")
    assert [split.secid for split in recorded.splits()] == ["GMKN", "VTBR", "T"]
    assert not recorded.renames()


def test_recorded_history_is_every_row_on_its_board(recorded: RecordedExchange) -> None:
    """No row of the files is lost, each keeps its board, old ones included; a delisted code is not traded."""
    assert set(recorded.history("GMKN").boards) == {"TQBR", "EQNL", "EQBR", "EQBS", "TQBS", "EQCC"}
    rows = sum(len(recorded.history(secid).rows) for secid in recorded.secids())
    assert rows == len(file_dates("daily_history", "index_history"))
    today = to_seconds(dt.date(2026, 7, 1))
    cards = {secid: card for secid in recorded.secids() if (card := recorded.security(secid, today))}
    assert [secid for secid, card in cards.items() if not card.primary.is_traded] == ["TCSG"]
