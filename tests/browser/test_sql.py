"""The pages SQL and Schema, as an analyst uses them."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import APIRequestContext, Page, expect

import gradio_app
from lakehouse.market.candle import CANDLES, QUARANTINE
from lakehouse.serving.lake_sql.views import TABLES
from tests.browser.contexts import watched
from tests.browser.running import Platform
from tests.sql_lake import FIRST, SECOND, candle, write

pytestmark = [pytest.mark.browser, pytest.mark.postgres]
EXAMPLES = json.loads((Path(gradio_app.__file__).parent / "static" / "sql_examples.json").read_text(encoding="utf-8"))
ENDLESS = "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range * b.range % 7 = 3"


@pytest.fixture(scope="module")
def silver(platform: Platform, open_folder: Path) -> None:
    """A candle of SBER that was revised: the table's version 0 has the first of its values."""
    assert platform.url
    write(open_folder / "pages", CANDLES, [candle("SBER", 300.0, FIRST)])
    write(open_folder / "pages", CANDLES, [candle("SBER", 300.0, FIRST, SECOND), candle("SBER", 301.5, SECOND)])


@pytest.fixture(scope="module")
def kept(silver: None, keeping: Callable[[str, str], Page]) -> Page:
    page = keeping("analyst", "/sql")
    ready(page)
    return page


@pytest.fixture
def sql(kept: Page, platform: Platform) -> Iterator[Page]:
    """The page, ready for an analyst, as nobody has used it yet but for the statement in it."""
    with watched(kept.context, platform):
        yield kept
    kept.unroute_all()
    kept.fill("#lh-at", "")
    kept.select_option("#lh-limit", "1000")
    kept.click("[data-choice=side] button[value=tables]")
    kept.fill("#lh-find-column", "")


def ready(page: Page) -> None:
    """Wait until the page has loaded, and say why if it has not."""
    page.wait_for_function("['ready', 'error'].includes(window.lakehouseSql?.state)")
    assert page.evaluate("window.lakehouseSql.state") == "ready", page.inner_text(".lh-sql-main")


def type_in(page: Page, statement: str) -> None:
    page.click(".cm-content")
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(statement)


def run(page: Page, statement: str, state: str = "shown") -> str:
    """Type a statement, run it by the keyboard, wait; return what the page says."""
    type_in(page, statement)
    page.keyboard.press("Control+Enter")
    page.wait_for_function("['shown', 'error'].includes(window.lakehouseSql.state)")
    assert page.evaluate("window.lakehouseSql.state") == state, page.inner_text(".lh-sql-main")
    return page.inner_text("#lh-sql-error" if state == "error" else "#lh-sql-status")


def cells(page: Page) -> list[list[str]]:
    rows = page.locator("#lh-grid tbody tr:not(.lh-gap)")
    return [row.split("\t")[1:] for row in rows.all_inner_texts()]


def test_a_viewer_has_no_sql(asking_as: Callable[[str], APIRequestContext]) -> None:
    """A statement is refused on the server."""
    assert asking_as("viewer").post("/api/v1/sql", data={"statement": "SELECT 1"}).status == 403


def test_rows_are_shown_with_their_types(sql: Page) -> None:
    """Numbers stand right, NULL is not empty, whole numbers are exact, and text is text whatever it holds."""
    said = run(
        sql,
        "SELECT 9007199254740993 AS big, 1.5::DOUBLE AS price, NULL::VARCHAR AS nothing, known_from,"
        " '<img src=x onerror=alert(1)>' AS text, [1, 2] AS list FROM candles",
    )
    assert said.startswith("1 row in ")
    shown = ["9007199254740993", "1.5", "NULL", "2024-03-07 00:00:00", "<img src=x onerror=alert(1)>", "[1,2]"]
    assert cells(sql) == [shown]
    head = sql.locator("#lh-grid th").all_inner_texts()
    assert head[1:3] == ["big\nlong", "price\ndouble"]
    assert head[4:6] == ["known_from\ntimestamp, UTC", "text\nstring"]
    expect(sql.locator("#lh-grid td.lh-number")).to_have_text(shown[:2])
    assert sql.locator("#lh-grid td.lh-number").first.evaluate("cell => getComputedStyle(cell).textAlign") == "right"


def test_ten_thousand_rows_scroll(sql: Page) -> None:
    """Only what is in sight is in the document; the last row is where it belongs; a reached limit is said."""
    sql.select_option("#lh-limit", "10000")
    assert run(sql, "SELECT range AS n, range * 2 AS twice FROM range(50000)").startswith("10,000 rows in ")
    expect(sql.locator("#lh-reached")).to_have_text("there are more than 10,000 rows: only these are shown")
    assert cells(sql)[0] == ["0", "0"]
    sql.evaluate("document.querySelector('#lh-grid').scrollTo(0, 1e9)")
    expect(sql.locator("#lh-grid tbody tr[aria-rowindex='10001']")).to_be_visible()
    assert cells(sql)[-1] == ["9999", "19998"]
    assert sql.locator("#lh-grid tbody tr").count() < 100


def test_no_cell_of_a_csv_is_a_formula_and_each_program_reads_the_same(sql: Page) -> None:
    """What a spreadsheet would run begins with an apostrophe, numbers do not; what some part cells by is quoted."""
    rows = [
        ["=1+1", "@SUM(A1)", " -cmd", "+7 999", "\tx"],
        [-1.5, "-1.5", "+2e3", "a;b", 'say "x"'],
        [None, "", True, "1,5", {}],
    ]

    text = sql.evaluate("async (rows) => (await import('/static/csv_text.js')).csvOf(['=a', 'b'], rows)", rows)

    assert text.splitlines() == [
        "'=a,b",
        "'=1+1,'@SUM(A1),' -cmd,'+7 999,\"'\tx\"",
        '-1.5,-1.5,+2e3,"a;b","say ""x"""',
        ',,true,"1,5",{}',
    ]


def test_csv_holds_the_rows_shown(sql: Page) -> None:
    """With a head, as the platform's own CSV has them."""
    run(sql, "SELECT 'a \"b\", я' AS text, NULL AS nothing, 9007199254740993 AS big UNION ALL SELECT 'c', 1, 2")
    with sql.expect_download() as download:
        sql.click("#lh-sql-csv")
    rows = list(csv.reader(Path(download.value.path()).read_text(encoding="utf-8").splitlines()))
    assert rows == [["text", "nothing", "big"], ['a "b", я', "", "9007199254740993"], ["c", "1", "2"]]
    assert download.value.suggested_filename == "moex-lakehouse.csv"


def test_a_csv_of_the_first_rows_says_so_in_its_name(sql: Page) -> None:
    """The page says that there are more, and the file goes where nobody sees the page."""
    sql.select_option("#lh-limit", "100")
    run(sql, "SELECT range AS n FROM range(101)")
    with sql.expect_download() as download:
        sql.click("#lh-sql-csv")
    assert download.value.suggested_filename == "moex-lakehouse-first-100-rows.csv"


def test_an_error_points_at_its_place(sql: Page) -> None:
    """The message names line and column, and there the cursor stands and the word is marked until one types on."""
    said = run(sql, "SELECT 'я🙂',\n  clos FROM candles", "error")
    assert said.startswith('line 2, column 3: Referenced column "clos" not found')
    assert sql.evaluate("window.lakehouseSql.marked") == "clos"
    assert sql.evaluate("CSS.highlights.get('lh-sql-error').values().next().value.toString()") == "clos"
    assert sql.locator("#lh-grid table").count() == 0
    sql.keyboard.type("e")
    assert sql.evaluate("window.lakehouseSql.text") == "SELECT 'я🙂',\n  eclos FROM candles"
    assert sql.evaluate("CSS.highlights.has('lh-sql-error')") is False
    assert run(sql, "DELETE FROM candles", "error").startswith("DELETE is refused: a single SELECT")


def test_a_click_on_the_schema_writes_the_name(sql: Page) -> None:
    """Tables and columns are found by a part of their name and go to where the cursor is."""
    type_in(sql, "SELECT")
    sql.fill("#lh-find-column", "rsi_")
    expect(sql.locator("#lh-tables summary span:visible")).to_have_text(["gold.fact_candle"])
    expect(sql.locator("#lh-tables li:visible small")).to_have_text(["double, 0-100"])
    sql.click("#lh-tables li button:has-text('rsi_14')")
    sql.keyboard.insert_text(" FROM")
    sql.click("#lh-tables summary button:visible")
    assert sql.evaluate("window.lakehouseSql.text") == "SELECT rsi_14 FROM gold.fact_candle"


def test_every_example_runs(sql: Page) -> None:
    """What the page offers to begin with is right; a click takes it, and one may run it."""
    for number, example in enumerate(EXAMPLES):
        sql.click("[data-choice=side] button[value=examples]")
        sql.locator("#lh-examples button").nth(number).click()
        assert sql.evaluate("window.lakehouseSql.text") == example["statement"]
        sql.click("#lh-run")
        sql.wait_for_function("['shown', 'error'].includes(window.lakehouseSql.state)")
        assert sql.evaluate("window.lakehouseSql.state") == "shown", sql.inner_text("#lh-sql-error")


def test_former_states_are_read(sql: Page) -> None:
    """A version or a time in the field reads the table as it was; what cannot be is said."""
    statement = "SELECT close FROM candles"
    for at, closes in (("0", [["300"]]), ("2999-01-01", [["301.5"]]), ("", [["301.5"]])):
        sql.fill("#lh-at", at)
        said = run(sql, statement)
        assert (cells(sql), f"as of {at}" in said) == (closes, at != "")
    sql.fill("#lh-at", "lately")
    assert run(sql, statement, "error").startswith("'lately' is neither a version such as 12 nor a time")


def test_rows_are_labelled_with_the_state_that_was_asked_for(sql: Page) -> None:
    """Also where the field says another one by the time they come."""
    sql.route("**/api/v1/sql", lambda route: None)  # not answered
    sql.fill("#lh-at", "0")
    type_in(sql, "SELECT close FROM candles")
    with sql.expect_request("**/api/v1/sql"):
        sql.click("#lh-run")
    sql.fill("#lh-at", "2999-01-01")
    sql.unroute_all()  # what was held goes on
    expect(sql.locator("#lh-sql-status")).to_contain_text("as of 0")
    assert cells(sql) == [["300"]]


def test_what_was_run_is_kept_in_the_browser(sql: Page) -> None:
    """Newest first, each once, after a reload too, until one forgets it."""
    sql.evaluate("document.querySelector('#lh-forget').click()")
    for statement in ("SELECT 1", "SELECT 2", "SELECT 1"):
        run(sql, statement)
    sql.reload()
    ready(sql)
    assert sql.evaluate("window.lakehouseSql.text") == "SELECT 1"
    sql.click("[data-choice=side] button[value=history]")
    expect(sql.locator("#lh-history code")).to_have_text(["SELECT 1", "SELECT 2"])
    sql.click("#lh-forget")
    expect(sql.locator("#lh-history")).to_have_text("Nothing was run yet.")


def test_stop_stops(sql: Page, platform: Platform) -> None:
    """An endless statement is ended on the server, and the page goes on."""
    type_in(sql, ENDLESS)
    sql.click("#lh-run")
    expect(sql.locator("#lh-sql-status")).to_contain_text(re.compile(r"Running… [1-9]"))
    sql.click("#lh-stop")
    expect(sql.locator("#lh-sql-status")).to_have_text("the statement was stopped")
    outcomes = platform.query("SELECT outcome FROM lake.audit WHERE detail->>'statement' = %s", ENDLESS)
    assert outcomes[-1] == ("stopped",)
    run(sql, "SELECT 1")


def test_the_page_fits(sql: Page) -> None:
    """Nothing is cut off or overflows on a laptop or a telephone, in both themes."""
    run(sql, "SELECT * FROM gold.fact_candle LIMIT 100")
    fits(sql)


def fits(page: Page) -> None:
    for theme in ("light", "dark"):
        page.evaluate("theme => window.lakehouseTheme.choose(theme)", theme)
        page.wait_for_function("isDark => document.body.classList.contains('dark') === isDark", arg=theme == "dark")
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 800})
            page.wait_for_function(_FITS, arg=width)
    page.evaluate("window.lakehouseTheme.choose('system')")
    page.set_viewport_size({"width": 1440, "height": 860})


def test_the_schema_page_says_every_column(log_in: Callable[..., Page]) -> None:
    """Type, unit and meaning of each of all tables but those of admins; a search leaves what begins a word; it fits."""
    page = log_in("viewer", "/schema")
    page.wait_for_selector("#lh-schema-tables table")
    shown = {
        section.get_attribute("id"): [row.split("\t") for row in section.locator("tbody tr").all_inner_texts()]
        for section in page.locator("#lh-schema-tables section").all()
    }
    tables = [table for table in TABLES if table is not QUARANTINE]  # admins alone see it
    assert list(shown) == [table.name for table in tables]
    for table in tables:
        for column, row in zip(table.columns, shown[table.name], strict=True):
            assert row[:3] == [column.name, column.type, column.unit]
            assert row[4].startswith(column.meaning)
    page.fill("#lh-find", "rsi")
    expect(page.locator("#lh-schema-tables section:visible h2")).to_have_text(["gold.fact_candle"])
    expect(page.locator("#lh-schema-tables tr:visible td:first-child")).to_have_text(["rsi_14"])
    page.fill("#lh-find", "no such thing")
    expect(page.locator("#lh-none")).to_have_text("Nothing has this in its name, type, unit or meaning.")
    page.fill("#lh-find", "")
    fits(page)


def test_the_editor_may_come_after_the_page(sql: Page) -> None:
    """Gradio draws its parts one by one, in whatever order the network brings them."""
    moved = sql.evaluate(
        """async () => {
            const { SqlEditor } = await import("/static/editor.js");
            const [slot, part, content] = ["div", "div", "div"].map((name) => document.createElement(name));
            document.body.append(slot);
            const waiting = SqlEditor.movedInto(slot, "#late");
            await new Promise((resume) => setTimeout(resume, 50));
            part.id = "late";
            document.body.append(part);
            await new Promise((resume) => setTimeout(resume, 50));
            content.className = "cm-content";
            content.cmView = { view: { state: { doc: "SELECT 1" } } };
            part.append(content);
            const moved = [(await waiting).text, slot.firstChild === part];
            slot.remove();
            return moved;
        }"""
    )
    assert moved == ["SELECT 1", True]


# The editor, where there is one, keeps its height
_FITS = """
(width) => innerWidth === width && document.documentElement.scrollWidth === document.documentElement.clientWidth
  && !(document.querySelector(".cm-editor")?.getBoundingClientRect().height <= 150)
"""
