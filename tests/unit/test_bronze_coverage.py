"""What an object proves about dates, and how proofs lie over each other."""

from __future__ import annotations

import datetime as dt

from lakehouse.bronze.coverage import Coverage, anchor_before, claims, derive, overlay, spans_to_ask, unbroken_from
from lakehouse.bronze.ledger import proved_span
from lakehouse.bronze.objects import Trailer
from lakehouse.bronze.window import Series, Window

D = dt.date.fromisoformat
NOW = dt.datetime(2024, 3, 20, 12, 0, tzinfo=dt.UTC)
# In a session what forms is read again after an hour
DUE = NOW + dt.timedelta(hours=1)
ANCHOR = {"begin": "2024-03-19 00:00:00", "rows": [["", 1, 2, 1, 1.5, 10.5, 10]]}


def trailer(
    from_: str, till: str, timeframe: str = "1d", state: str = "complete", last: str = "", at: dt.datetime = NOW
) -> Trailer:
    window = Window(
        Series("candles", "stock", "shares", "TQBR", "SBER", timeframe), dt.datetime.fromisoformat(from_), D(till)
    )
    anchor = ANCHOR if state == "complete" else None
    return Trailer(window, at, 1, 1, "empty page", state != "missing", state, last, anchor)


def key(number: int) -> str:
    return f"iss/x/2024032{number}T120000Z-0"


def test_today_forms_and_the_rest_is_complete() -> None:
    """Dates before the exchange's date are proved; today, in mid-session, is due again in an hour."""
    assert claims(key(0), trailer("2024-03-01", "2024-03-20")) == [
        Coverage(D("2024-03-01"), D("2024-03-19"), "complete", key(0), None, ANCHOR),
        Coverage(D("2024-03-20"), D("2024-03-20"), "forming", key(0), DUE),
    ]


def test_period_that_is_not_over_forms_as_a_whole() -> None:
    """A month is final when all its days are."""
    rows = claims(key(0), trailer("2024-01-01", "2024-03-20", "1mo"))
    assert [(row.from_date, row.till_date, row.state) for row in rows] == [
        (D("2024-01-01"), D("2024-02-29"), "complete"),
        (D("2024-03-01"), D("2024-03-31"), "forming"),
    ]


def test_date_that_is_cut_is_not_proved() -> None:
    """A window that begins with an anchor in mid-day says nothing about that day as a whole."""
    rows = claims(key(0), trailer("2024-03-18T18:49", "2024-03-19", "1m"))
    assert [(row.from_date, row.till_date) for row in rows] == [(D("2024-03-19"), D("2024-03-19"))]


def test_missing_rows_are_asked_again_later() -> None:
    """An empty answer where rows were expected proves nothing, and is not asked again at once."""
    (row,) = claims(key(0), trailer("2024-03-01", "2024-03-15", state="missing"))
    assert (row.state, row.is_final, row.next_due_at) == ("missing", False, DUE)


def test_newer_proof_lies_over_older() -> None:
    """Where two objects speak of a date, the newer one counts, in any order; an anchor stays with its date."""
    older = (key(0), trailer("2024-03-01", "2024-03-19"))
    newer = (key(1), trailer("2024-03-10", "2024-03-12", at=NOW + dt.timedelta(days=1)))
    rows = derive([older, newer])
    assert rows == derive([newer, older])
    assert [(row.from_date, row.till_date, row.object_key, row.anchor is not None) for row in rows] == [
        (D("2024-03-01"), D("2024-03-09"), key(0), False),
        (D("2024-03-10"), D("2024-03-12"), key(1), True),
        (D("2024-03-13"), D("2024-03-19"), key(0), True),
    ]


def test_proof_is_never_lost_to_a_failure() -> None:
    """What was complete stays so when a later window over it fails or comes back empty; the rest is failed."""
    proved = [
        Coverage(D("2024-03-01"), D("2024-03-10"), "complete", key(0)),
        Coverage(D("2024-03-11"), D("2024-03-11"), "forming", key(0), DUE),
    ]
    failed = overlay(proved, Coverage(D("2024-03-05"), D("2024-03-15"), "failed", error="reset"))
    assert [(row.from_date, row.till_date, row.state) for row in failed] == [
        (D("2024-03-01"), D("2024-03-10"), "complete"),
        (D("2024-03-11"), D("2024-03-15"), "failed"),
    ]
    missing = overlay(failed, Coverage(D("2024-03-01"), D("2024-03-15"), "missing", key(9)))
    assert [row.state for row in missing] == ["complete", "missing"]


def test_spans_to_ask_are_gaps_and_what_is_due() -> None:
    """Neither final dates nor what is not due yet are asked; gaps, failures and what is due are, joined."""
    rows = [
        Coverage(D("2024-03-03"), D("2024-03-04"), "complete"),
        Coverage(D("2024-03-05"), D("2024-03-05"), "failed"),
        Coverage(D("2024-03-07"), D("2024-03-07"), "no trades"),
        Coverage(D("2024-03-08"), D("2024-03-08"), "forming", next_due_at=NOW + dt.timedelta(seconds=1)),
        Coverage(D("2024-03-09"), D("2024-03-09"), "forming", next_due_at=NOW),
    ]
    assert spans_to_ask(D("2024-03-01"), D("2024-03-10"), rows, NOW) == [
        (D("2024-03-01"), D("2024-03-02")),
        (D("2024-03-05"), D("2024-03-06")),
        (D("2024-03-09"), D("2024-03-10")),
    ]


def test_anchor_is_found_across_days_without_trades_only() -> None:
    """The last final row is read along if nothing lies between it and the window but proved days."""
    rows = [
        Coverage(D("2024-03-18"), D("2024-03-19"), "complete", anchor=ANCHOR),
        Coverage(D("2024-03-20"), D("2024-03-21"), "no trades"),
    ]
    assert anchor_before(rows, D("2024-03-22")) == ANCHOR
    assert anchor_before(rows, D("2024-03-23")) is None
    assert anchor_before([*rows, Coverage(D("2024-03-22"), D("2024-03-22"), "complete")], D("2024-03-23")) is None


def test_what_a_changed_anchor_stood_for_begins_at_the_last_gap() -> None:
    """All that is final in one piece before a changed anchor is read again, within its cell."""
    rows = [
        Coverage(D("2024-03-01"), D("2024-03-03"), "complete"),
        Coverage(D("2024-03-05"), D("2024-03-09"), "complete"),
        Coverage(D("2024-03-10"), D("2024-03-10"), "no trades"),
    ]
    assert unbroken_from(rows, D("2024-03-11"), D("2024-03-01")) == D("2024-03-05")
    assert unbroken_from(rows, D("2024-03-11"), D("2024-03-08")) == D("2024-03-08")


def test_absence_is_proved_up_to_a_quarter_of_an_hour_before_the_fetch() -> None:
    """The newest minutes are hidden: their absence says nothing, unless later rows were given."""
    window = ("2024-03-20", "2024-03-20", "1m", "complete")
    assert proved_span(trailer(*window, last="2024-03-20 10:00:00"))[1] == NOW - dt.timedelta(minutes=15)
    shown = proved_span(trailer(*window, last="2024-03-20 14:59:00"))[1]
    assert shown == dt.datetime(2024, 3, 20, 11, 59, 1, tzinfo=dt.UTC)
    assert proved_span(trailer("2024-03-01", "2024-03-01"))[1] == dt.datetime(2024, 3, 1, 21, tzinfo=dt.UTC)


def test_span_is_never_empty() -> None:
    """A window that begins in the hidden quarter of an hour still has an instant, so that ranges can be compared."""
    from_, till = proved_span(trailer("2024-03-21", "2024-03-21", state="no trades"))
    assert till - from_ == dt.timedelta(seconds=1)
