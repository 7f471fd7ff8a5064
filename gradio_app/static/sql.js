// The SQL page: a statement runs on the platform, and its rows are shown.
//
// window.lakehouseSql is a documented hook for tests and for the browser's console (see `hook` below).
import { ApiError, getJson, postJson } from "./api.js";
import { saveText } from "./csv.js";
import { csvOf } from "./csv_text.js";
import { SqlEditor } from "./editor.js";
import { ResultGrid } from "./grid.js";
import { History, listStatements } from "./statements.js";
import { showTables } from "./tables.js";

const PLACE = /^line (\d+), column (\d+): /;
const STOP_AGAIN_MS = 300; // until the platform knows the statement it is to stop

const page = {}; // elements by name
let editor, grid, history;
let running = null; // id, clock of the statement under way
let found = null; // columns and rows shown

/**
 * What tests may look at.
 *
 * state: loading, ready, running, shown, error. text: the statement; setting it types. answer: columns, rows, reached, seconds.
 */
const hook = {
  state: "loading",
  get text() { return editor.text; },
  set text(text) { editor.text = text; },
  get answer() { return found; },
  get marked() { return editor.marked && editor.text.slice(editor.marked.start, editor.marked.end); },
};
window.lakehouseSql = hook;

/** Start the page inside `element`; called once by the page itself. */
export async function mountSql(element) {
  for (const node of element.querySelectorAll("[id^=lh-]")) page[node.id.slice(3)] = node;
  const slot = element.querySelector("[data-slot=editor]");
  grid = new ResultGrid(page.grid);
  try {
    const [drawn, { user }, { tables }, examples] = await Promise.all([
      SqlEditor.movedInto(slot, "#lh-sql-editor"), getJson("/session"), getJson("/api/v1/schema"), getJson("/static/sql_examples.json"),
    ]);
    editor = drawn;
    history = new History(user);
    showTables(page.tables, page["find-column"], tables, (name) => editor.insert(name));
    listStatements(page.examples, examples, take, "");
    listHistory();
    const before = history.entries[0];
    editor.text = before?.statement ?? examples[0].statement;
    page.at.value = before?.at ?? "";
    slot.removeAttribute("aria-busy");
  } catch (error) {
    showError(error.message);
    return;
  }
  listen(element, slot);
  page.run.disabled = false;
  hook.state = "ready";
}

function listen(element, slot) {
  page.run.addEventListener("click", run);
  page.stop.addEventListener("click", stop);
  page["sql-csv"].addEventListener("click", () => {
    const part = found.reached ? `-first-${found.rows.length}-rows` : ""; // the file goes where nobody sees the page
    saveText(csvOf(found.columns.map(({ name }) => name), found.rows), `moex-lakehouse${part}.csv`);
  });
  page.forget.addEventListener("click", () => {
    history.forget();
    listHistory();
  });
  const isRun = (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey);
  element.addEventListener("keydown", (event) => {
    if (!isRun(event)) return;
    event.preventDefault(); // before CodeMirror, which would begin a new line
    event.stopPropagation();
    run();
  }, { capture: true });
  page.at.addEventListener("keydown", (event) => {
    if (event.key === "Enter") run();
  });
  slot.addEventListener("input", () => editor.clearError());
  element.querySelector("[data-choice=side]").addEventListener("click", ({ target }) => {
    if (target.value) showSide(element, target.value);
  });
  window.addEventListener("pagehide", () => {
    if (running) fetch(stopPath(running.id), { method: "POST", headers: JSON_BODY, body: "{}", keepalive: true });
  });
}

function showSide(element, name) {
  for (const part of element.querySelectorAll("[data-side]")) part.hidden = part.dataset.side !== name;
  for (const button of element.querySelectorAll("[data-choice=side] button")) button.setAttribute("aria-pressed", button.value === name);
}

function take({ statement, at }) {
  editor.text = statement;
  if (at !== undefined) page.at.value = at;
}

function listHistory() {
  const entries = history.entries.map((entry) => ({ ...entry, name: new Date(entry.ran).toLocaleString("en-GB") + (entry.at ? `, as of ${entry.at}` : "") }));
  listStatements(page.history, entries, take, "Nothing was run yet.");
}

async function run() {
  if (running || !editor?.text.trim()) return;
  const [statement, at] = [editor.text, page.at.value.trim()];
  begin(statement, at);
  try {
    const document = { statement, at: at || null, limit: Number(page.limit.value), id: running.id };
    show(await postJson("/api/v1/sql", document, exactly), at);
  } catch (error) {
    if (error.status === 409) say(error.message);
    else showError(error instanceof ApiError ? error.message : "the platform does not answer: try again in some seconds");
  } finally {
    clearInterval(running.clock);
    running = null;
    page.run.disabled = false;
    page.stop.disabled = true;
    page.grid.classList.remove("lh-stale");
  }
}

function begin(statement, at) {
  const began = performance.now();
  const tick = () => say(`Running… ${((performance.now() - began) / 1000).toFixed(1)} s`);
  running = { id: crypto.randomUUID(), clock: setInterval(tick, 100) };
  editor.clearError();
  page["sql-error"].hidden = true;
  page.reached.hidden = true;
  page.run.disabled = true;
  page.stop.disabled = false;
  page.grid.classList.add("lh-stale");
  hook.state = "running";
  tick();
  history.add(statement, at);
  listHistory();
}

async function stop() {
  const stopped = running;
  while (running && running === stopped) {
    await postJson(stopPath(stopped.id), {}).catch(() => {});
    await new Promise((resume) => setTimeout(resume, STOP_AGAIN_MS));
  }
}

const JSON_BODY = { "Content-Type": "application/json" };
const stopPath = (id) => `/api/v1/sql/${id}/stop`;

/** Whole numbers beyond 2^53 stay as the platform wrote them. */
function exactly(_, value, context) {
  return typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value) ? context?.source ?? value : value;
}

/** Show an answer, of the state `at` that was asked for: the field may say another by then. */
function show(answer, at) {
  found = answer;
  grid.show(answer.columns, answer.rows);
  page["sql-csv"].disabled = false;
  const count = answer.rows.length;
  say(`${count.toLocaleString("en")} ${count === 1 ? "row" : "rows"} in ${answer.seconds.toFixed(2)} s${at ? `, as of ${at}` : ""}`);
  page.reached.hidden = !answer.reached;
  page.reached.textContent = answer.reached ?? "";
  hook.state = "shown";
}

function showError(message) {
  found = null;
  grid.clear();
  page["sql-csv"].disabled = true;
  page["sql-error"].hidden = false;
  const place = PLACE.exec(message);
  page["sql-error"].textContent = message;
  if (place) {
    const jump = Object.assign(document.createElement("button"), { type: "button", className: "lh-link", textContent: place[0].slice(0, -2) });
    jump.addEventListener("click", () => editor.showError(Number(place[1]), Number(place[2])));
    page["sql-error"].replaceChildren(jump, `: ${message.slice(place[0].length)}`);
    jump.click();
  }
  say("");
  hook.state = "error";
}

function say(text) {
  page["sql-status"].textContent = text;
  if (hook.state === "running" && !text.startsWith("Running")) hook.state = "ready";
}
