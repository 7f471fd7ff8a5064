"""The page Analysis: analysts write, run, look and keep; the sandbox is the real one."""

from __future__ import annotations

import csv
import hashlib
import html
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import APIRequestContext, Browser, Page, expect

from lakehouse.sandbox.host import Sandbox
from tests.browser.callbacks import call_back
from tests.browser.contexts import begin_session, new_context, watched
from tests.browser.running import Platform, web_server
from tests.components import require
from tests.killing import until
from tests.sandboxes import runs_of, why_off_at_last

pytestmark = [pytest.mark.browser, pytest.mark.postgres]

DAILY = [["SBER"], "1d", "", "", "split"]
WRONG: list[tuple[list[object], str]] = [
    (["", *DAILY, 10], "there is no code"),
    ([None, *DAILY, 10], "there is no code"),
    (["x" * 65_537, *DAILY, 10], "65,536 is the most"),
    (["1", [], "1d", "", "", "split", 10], "instruments: choose 1 to 50"),
    (["1", None, "1d", "", "", "split", 10], "instruments: must be a list"),
    (["1", ["NO/PE"], "1d", "", "", "split", 10], "is not a ticker"),
    (["1", ["<img src=x>"], "1d", "", "", "split", 10], "is not a ticker"),
    (["1", ["NOPE"], "1d", "", "", "split", 10], "NOPE: no such ticker is loaded"),
    (["1", ["YDEX"], "1m", "", "", "split", 10], "YDEX 1m has no candles"),
    (["1", ["SBER"], "1d", "yesterday", "", "split", 10], "there is no day yesterday"),
    (["1", ["SBER"], "1d", "", {"a": [1]}, "split", 10], "there is no day"),
    (["1", ["SBER"], "1d", "2026-02-01", "2026-01-01", "none", 10], "swap them"),
]
MODIFIER = "Control"
# The second thread tells who looks on that the program has come so far
ENDLESS = """
import threading, time
threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
while True: pass
"""


@pytest.fixture(scope="module")
def is_on(platform: Platform) -> None:
    """The sandbox is on, or the tests say what this machine lacks."""
    if reason := why_off_at_last(Sandbox(platform.sandbox_socket)):
        require("the sandbox", reason)


@pytest.fixture(scope="module")
def kept(is_on: None, keeping: Callable[[str, str], Page]) -> Page:
    return patient(opened(keeping("admin", "/sandbox")))


@pytest.fixture
def desk(kept: Page, platform: Platform) -> Iterator[Page]:
    """The page, open for an admin."""
    with watched(kept.context, platform):
        yield kept
    kept.emulate_media(color_scheme="light")
    kept.set_viewport_size({"width": 1440, "height": 860})


def opened(page: Page) -> Page:
    page.wait_for_selector("#lh-code .cm-content")
    page.wait_for_selector("#lh-run-program:enabled")
    page.wait_for_selector(".lh-form .token")
    return page


def patient(page: Page) -> Page:
    """Let an admin's runs take two minutes: a busy machine needs more than ten seconds."""
    page.get_by_label("Time limit").click()
    page.get_by_role("option", name="120 s").click()
    return page


def write(page: Page, code: str) -> None:
    """Put *code* into the editor in place of what is there."""
    page.click("#lh-code .cm-content")
    page.keyboard.press(f"{MODIFIER}+A")
    page.keyboard.insert_text(code)


def run(page: Page, code: str | None = None, state: str = "good") -> None:
    """Run what the editor holds by its key, and wait until it is shown."""
    if code is not None:
        write(page, code)
    else:
        page.click("#lh-code .cm-content")
    forget_run(page)
    page.keyboard.press(f"{MODIFIER}+Enter")
    shown(page, state)


def forget_run(page: Page) -> None:
    """Take away what the page says of the run before, so that one can wait for what it says of the next."""
    page.evaluate("""() => {
        document.querySelector(".lh-run-state").dataset.state = "asked";
        delete document.querySelector(".lh-results").dataset.drawn;
    }""")


def shown(page: Page, state: str) -> None:
    page.wait_for_selector(f".lh-run-state[data-state={state}]")
    page.wait_for_selector("#lh-run-program:enabled")
    page.wait_for_selector(".lh-results[data-drawn]", state="attached")


def drawn(page: Page, items: int) -> None:
    page.wait_for_selector(f".lh-results[data-drawn='{items}']")


def test_who_is_no_analyst_runs_nothing(asking_as: Callable[[str], APIRequestContext], platform: Platform) -> None:
    """A viewer is refused by each of the page's callbacks, which is on record."""
    viewer = asking_as("viewer")
    calls: list[tuple[str, list[object]]] = [
        ("open", []),
        ("run", ["print(1)", *DAILY, 10]),
        ("stop", []),
        ("preset", [[]]),
        ("choices", []),
        ("open_1", ["x"]),
        ("save", ["x", "print(1)", *DAILY]),
        ("rename", ["x", "y"]),
        ("delete", ["x"]),
    ]
    for name, values in calls:
        assert "this needs the role analyst, and viewer is viewer" in call_back(viewer, name, values), name
    assert platform.query("SELECT count(*) FROM lake.sandbox_run WHERE user_name = 'viewer'") == [(0,)]
    refused = platform.query(
        "SELECT DISTINCT action FROM lake.audit WHERE user_name = 'viewer' AND outcome = 'refused'"
    )
    assert {("sandbox run",), ("sandbox stop",), ("sandbox page",), ("analysis save",)} <= set(refused)


def test_text_tables_and_figures_stand_where_they_were_made(desk: Page) -> None:
    """Ctrl+Enter runs; the results come in order, a figure is drawn by the platform's own Plotly."""
    run(
        desk,
        "print('first', len(df), list(dfs))\nshow(px.line(df, x='begin_at', y='close', title='The line'))\n"
        "show(df.tail(3))\n'the last'",
    )
    drawn(desk, 4)
    kinds = desk.evaluate("[...document.querySelector('.lh-results').children].map((part) => part.className)")
    assert kinds == ["lh-text", "lh-figure", "lh-table", "lh-text"]
    expect(desk.locator(".lh-text >> nth=0")).to_have_text("first 1420 ['SBER', 'GMKN', 'IMOEX', 'YDEX']\n")
    assert "the last" in desk.inner_text(".lh-text >> nth=1")
    expect(desk.locator(".lh-figure .gtitle")).to_have_text("The line")
    assert desk.locator(".lh-table tbody tr").count() == 3
    assert "Done in" in desk.inner_text(".lh-run-state")
    assert "1,420 candles of SBER, GMKN, IMOEX, YDEX 1d" in desk.inner_text(".lh-run-state")


def test_results_that_were_replaced_are_let_go(desk: Page) -> None:
    """Plotly releases their figures, and those not drawn yet are not drawn any more."""
    former, drawn, shown = desk.evaluate(
        """async () => {
            const { showResults } = await import("/static/sandbox.js");
            const element = document.createElement("div");
            element.innerHTML = '<div class="lh-results"></div>';
            document.body.append(element);
            const figure = { kind: "figure", document: { data: [{ y: [1, 2] }], layout: {} }, left_out: [] };
            const resultOf = (items) => JSON.stringify({ items, error: null, notes: [], is_empty: false });
            const plots = () => [...element.querySelectorAll(".lh-plot")];

            await showResults(element, resultOf([figure]));
            const [first] = plots();
            const overtaken = showResults(element, resultOf([figure, figure, figure]));
            const others = plots();
            await showResults(element, resultOf([{ kind: "text", text: "the last", stream: "out" }]));
            await overtaken;
            element.remove();
            const isHeld = (plot) => "data" in plot || "_responsiveChartHandler" in plot;
            return [isHeld(first), others.filter(isHeld).length, element.firstChild.dataset.drawn];
        }"""
    )
    assert (former, drawn, shown) == (False, 0, "1")


def test_a_table_is_paged_and_downloaded_whole(desk: Page, tmp_path: Path) -> None:
    """Fifteen rows are shown at a time; the file has all, numbers as they are, and no cell a formula."""
    run(desk, "pd.DataFrame({'n': range(40), 'x': ['=1+1', '-2.5', 'a,\"b\"', '@x'] * 10})")
    drawn(desk, 1)
    expect(desk.locator(".lh-position")).to_have_text("rows 1–15 of 40")
    desk.click("[aria-label='Rows after']")
    desk.click("[aria-label='Rows after']")
    expect(desk.locator(".lh-position")).to_have_text("rows 31–40 of 40")
    assert desk.locator("[aria-label='Rows after']").is_disabled()
    with desk.expect_download() as download:
        desk.click("[aria-label='Download as CSV']")
    file = tmp_path / "table.csv"
    download.value.save_as(file)
    rows = list(csv.reader(file.read_text().splitlines()))
    assert rows[:5] == [["n", "x"], ["0", "'=1+1"], ["1", "-2.5"], ["2", 'a,"b"'], ["3", "'@x"]]
    assert len(rows) == 41
    assert download.value.suggested_filename == "table.csv"


def test_a_table_that_was_cut_says_so_in_the_files_name(desk: Page) -> None:
    """Its real number of rows stands above it; the file has the first 10,000."""
    run(desk, "pd.DataFrame({'n': range(10_001)})")
    drawn(desk, 1)
    expect(desk.locator(".lh-position")).to_have_text("rows 1–15 of 10,001; the first 10,000 are here")
    with desk.expect_download() as download:
        desk.click("[aria-label='Download as CSV']")
    assert download.value.suggested_filename == "table-first-10000-rows.csv"


def test_an_error_shows_the_analysts_own_lines(desk: Page) -> None:
    """What was printed before stands above; the traceback names lines of the program and nothing of the platform."""
    run(desk, "print('before')\ndef half(x):\n    return x / 0\n\nhalf(1)", state="bad")
    expect(desk.locator(".lh-text")).to_have_text("before\n")
    traceback = desk.inner_text(".lh-traceback")
    assert "ZeroDivisionError: division by zero" in traceback
    assert 'File "<analysis>", line 3, in half' in traceback
    assert "/" not in traceback.replace("x / 0", "")
    assert "Error in the program in" in desk.inner_text(".lh-run-state")


def test_a_run_is_stopped_and_is_the_only_one(desk: Page, platform: Platform) -> None:
    """While one goes on Run is off, a second one is refused; Stop ends it, shows what it printed, and says so."""
    write(desk, "print('going')\n" + ENDLESS)
    desk.keyboard.press(f"{MODIFIER}+Enter")
    desk.wait_for_selector(".lh-run-state:has-text('Running')")
    until(lambda: has_begun(platform))
    assert desk.locator("#lh-run-program").is_disabled()
    assert "a run of yours is under way" in call_back(desk.request, "run", ["print(1)", *DAILY, 10])
    desk.click("#lh-stop-program")
    desk.wait_for_selector(".lh-run-state:has-text('Stopped in')")
    desk.wait_for_selector(".lh-message:has-text('the run was stopped')")
    expect(desk.locator(".lh-text")).to_have_text("going\n")
    assert platform.query(
        "SELECT status FROM lake.sandbox_run JOIN lake.sandbox_run_end USING (run_id) ORDER BY began_at DESC LIMIT 1"
    ) == [("stopped",)]
    run(desk, "'the next one works'")


def has_begun(platform: Platform) -> bool:
    """Whether a run is at work that has come to ENDLESS."""
    runner = Sandbox(platform.sandbox_socket).status()["pid"]
    return any(run.num_threads() > 1 for run in runs_of(runner))


def test_every_run_is_on_record(desk: Page, platform: Platform) -> None:
    """Who, what code, which data, limits, outcome, time, memory, sizes and hashes; the page lists it."""
    code = "# on record\nprint(df['close'].sum())"
    run(desk, code)
    (row,) = platform.query(
        """
        SELECT user_name, code, code_sha256, selection, data_rows, data_version, length(data_sha256), limits, status,
            items, wall_s > 0, cpu_s > 0, peak_bytes >= 0, result_bytes > 0, length(result_sha256), ended_at > began_at
        FROM lake.sandbox_run JOIN lake.sandbox_run_end USING (run_id) ORDER BY began_at DESC LIMIT 1
        """
    )
    (version,) = platform.query("SELECT data_version FROM gold.publication")[0]
    assert row[:3] == ("admin", code, hashlib.sha256(code.encode()).hexdigest())
    assert row[3]["timeframe"] == "1d"  # type: ignore[index]
    assert row[4:7] == (1420, version, 64)
    assert row[7]["wall_s"] == 120  # type: ignore[index]
    assert row[8:] == ("done", 1, True, True, True, True, 64, True)
    desk.click(".lh-runs button")
    desk.wait_for_selector(".lh-runs tr:has-text('# on record') .lh-state-done")


def test_an_admin_may_take_longer(desk: Page, platform: Platform) -> None:
    """The time limit is an admin's choice."""
    run(desk, "'longer'")
    assert platform.query(
        "SELECT (limits ->> 'wall_s')::float FROM lake.sandbox_run ORDER BY began_at DESC LIMIT 1"
    ) == [(120,)]


def test_an_analyst_takes_the_usual_time(is_on: None, log_in: Callable[..., Page], platform: Platform) -> None:
    """The field is not shown, and a script that sends it gets ten seconds all the same."""
    page = opened(log_in("analyst", "/sandbox"))
    expect(page.get_by_label("Time limit")).to_have_count(0)
    call_back(page.request, "run", ["'longer'", *DAILY, 120])
    assert platform.query(
        "SELECT user_name, (limits ->> 'wall_s')::float FROM lake.sandbox_run ORDER BY began_at DESC LIMIT 1"
    ) == [("analyst", 10)]


def test_what_was_written_is_there_after_a_reload(desk: Page) -> None:
    """The browser keeps the program and its data for this user, and for nobody else."""
    write(desk, "# kept by the browser")
    desk.wait_for_function("localStorage.getItem('lakehouse-analysis:admin')?.includes('kept by the browser')")
    desk.reload()
    patient(opened(desk))
    desk.wait_for_selector(".cm-line:has-text('# kept by the browser')")
    assert desk.evaluate("Object.keys(localStorage).filter((key) => key.startsWith('lakehouse-analysis'))") == [
        "lakehouse-analysis:admin"
    ]


def test_output_is_never_markup(desk: Page) -> None:
    """Text, tables and figures of a hostile program show their tags as text: nothing runs, links or loads."""
    run(
        desk,
        "bad = \"<img src='https://evil.example/x.png' onerror='window.bad = 1'><a href='https://evil.example'>x</a>\"\n"
        "print(bad)\nprint('\\x1b[31m\\u202ered')\nshow(pd.DataFrame({bad: [bad]}))\n"
        "fig = px.scatter(x=[1], y=[1], title=bad, hover_name=[bad])\nfig.update_traces(text=[bad], mode='text')\n"
        "fig.add_layout_image(source='https://evil.example/x.png')\nfig.add_annotation(text=bad)\nfig",
    )
    desk.wait_for_selector(".lh-figure .main-svg")
    assert "<img src=" in desk.inner_text(".lh-text >> nth=0")
    assert "\u202e" not in desk.inner_text(".lh-results")
    assert desk.locator(".lh-results :is(img, a, script, image)").count() == 0
    assert desk.evaluate("window.bad") is None
    expect(desk.locator(".lh-left-out")).to_have_text("Left out of this figure: images")


def test_what_a_script_sends_is_refused(
    is_on: None, asking_as: Callable[[str], APIRequestContext], platform: Platform
) -> None:
    """The callback says what was wrong, as text and never as a page or a traceback; nothing is run."""
    analyst = asking_as("analyst")
    before = platform.query("SELECT count(*) FROM lake.sandbox_run")
    for values, message in WRONG:
        said = call_back(analyst, "run", values)
        assert message in html.unescape(said), values
        assert "Traceback" not in said
        assert "<img" not in said
    assert platform.query("SELECT count(*) FROM lake.sandbox_run") == before


def test_the_page_fits(desk: Page) -> None:
    """In both themes, on a desk and on a phone, nothing is wider than the window, and figures follow the theme."""
    run(
        desk,
        "print('x' * 500)\nshow(pd.DataFrame({f'column {n}': [n] for n in range(40)}))\n"
        "px.line(df, x='begin_at', y='close')",
    )
    desk.wait_for_selector(".lh-figure .main-svg")
    for scheme, ink in (("light", "rgb(24, 32, 48)"), ("dark", "rgb(227, 232, 240)")):
        desk.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        desk.wait_for_function(_INK, arg=ink)
        for width in (1280, 390):
            desk.set_viewport_size({"width": width, "height": 800})
            desk.wait_for_function(_FITS, arg=width)


def test_everything_has_a_name_and_the_keyboard_reaches_it(desk: Page) -> None:
    """Each control tells its name; the keyboard gets out of the editor, to Run, and runs by Enter."""
    assert desk.evaluate(_NAMELESS) == []
    write(desk, "'by keyboard'")
    desk.keyboard.press("Escape")
    desk.keyboard.press("Tab")
    for _ in range(5):
        if desk.evaluate("document.activeElement.id") == "lh-run-program":
            break
        desk.keyboard.press("Tab")
    assert desk.evaluate("document.activeElement.id") == "lh-run-program"
    forget_run(desk)
    desk.keyboard.press("Enter")
    shown(desk, "good")
    assert "by keyboard" in desk.inner_text(".lh-text")


# From here on other data is chosen than the page begins with


def test_examples_work_at_once(desk: Page) -> None:
    """Each example brings its code and its data, and runs to figures and tables as it is."""
    for preset in ("correlation", "seasonality", "drawdown", "cross", "quality", "features"):
        write(desk, "# none")
        desk.click(f"[data-preset={preset}]")
        desk.wait_for_selector("#lh-code .cm-content:not(:has-text('# none'))")
        run(desk)
        assert desk.locator(".lh-results .lh-figure .main-svg").count(), preset
        assert desk.locator(".lh-traceback, .lh-error, .lh-left-out").count() == 0, preset


def test_analyses_are_kept_under_a_name(desk: Page, platform: Platform) -> None:
    """Save, change, open, rename and delete; what was opened brings its data."""
    platform.query("DELETE FROM lake.analysis RETURNING name")
    desk.click("[data-preset=cross]")
    desk.wait_for_selector(".cm-line:has-text('Long while')")
    write(desk, "# my own")
    desk.fill("#lh-analysis-name :is(input, textarea)", "my study")
    desk.click("#lh-save-analysis")
    desk.wait_for_selector(".lh-run-state:has-text('my study is saved')")
    write(desk, "# something else")
    desk.fill("#lh-analysis-name :is(input, textarea)", "another name")
    desk.click("#lh-saved input")
    desk.click("[role=option]:has-text('my study')")
    desk.wait_for_selector(".lh-run-state:has-text('my study is open')")
    desk.wait_for_selector(".cm-line:has-text('# my own')")
    # What is written before it is all there would be written over
    desk.wait_for_function("document.querySelector('#lh-analysis-name :is(input, textarea)').value === 'my study'")
    desk.fill("#lh-analysis-name :is(input, textarea)", "renamed")
    desk.click("#lh-rename-analysis")
    desk.wait_for_selector(".lh-run-state:has-text('my study is now renamed')")
    ((name, code, selection),) = platform.query("SELECT name, code, selection FROM lake.analysis")
    assert (name, code, selection["timeframe"]) == ("renamed", "# my own", "1d")  # type: ignore[index]
    desk.click("#lh-delete-analysis")
    desk.wait_for_selector(".lh-run-state:has-text('renamed is deleted')")
    assert platform.query("SELECT count(*) FROM lake.analysis") == [(0,)]


def test_a_web_process_that_dies_leaves_the_run_without_an_end(
    desk: Page, browser: Browser, platform: Platform
) -> None:
    """The row before the run stays, and is shown as such; where the sandbox is off the page says so."""
    socket = platform.folder / "later.sock"
    with web_server(platform.dsn, platform.folder, socket) as (url, process):
        elsewhere = replace(platform, url=url)
        with new_context(browser, elsewhere) as context:  # it is another site
            begin_session(context, elsewhere, platform.users["admin"])
            page = context.new_page()
            page.goto("/sandbox")
            expect(page.locator(".lh-run-state")).to_contain_text("The sandbox is off: the sandbox's process does not")
            assert page.locator("#lh-run-program").is_disabled()
            socket.symlink_to(platform.sandbox_socket or "")
            page.reload()
            patient(opened(page))
            write(page, "# never ends\n" + ENDLESS)
            page.keyboard.press(f"{MODIFIER}+Enter")
            until(lambda: has_begun(platform))
            process.kill()
            process.wait()
    assert platform.query(
        "SELECT r.run_id IN (SELECT run_id FROM lake.sandbox_run_end) FROM lake.sandbox_run r"
        " ORDER BY began_at DESC LIMIT 1"
    ) == [(False,)]
    desk.reload()
    opened(desk).click(".lh-runs button")
    row = desk.locator(".lh-runs tr:has-text('# never ends')").first
    expect(row).to_contain_text("No end: the web process stopped during it")


_INK = "(ink) => getComputedStyle(document.querySelector('.lh-figure .xtick text')).fill === ink"
# Plotly draws anew a moment after the window has changed
_FITS = """
(width) => document.documentElement.scrollWidth <= width
  && document.querySelector(".lh-figure .main-svg").getBoundingClientRect().right <= width
"""
_NAMELESS = """
() => {
  const textOf = (id) => document.getElementById(id)?.innerText ?? "";
  const nameOf = (element) => {
    const by = (element.getAttribute("aria-labelledby") ?? "").split(" ").map(textOf);
    const labels = [...(element.labels ?? [])].map((label) => label.innerText);
    return [element.getAttribute("aria-label"), ...by, ...labels, element.innerText, element.title].join("").trim();
  };
  const controls = "button, input, textarea, select, a[href], [role=textbox], [role=listbox], [tabindex='0']";
  return [...document.querySelectorAll(controls)]
    .filter((element) => element.offsetParent && !nameOf(element))
    .map((element) => element.outerHTML.slice(0, 200));
}
"""
