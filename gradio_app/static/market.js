// The Market page: what is chosen, reading it, drawing it, saying how it went.
//
// window.lakehouseChart is a documented hook for tests and for the browser's console (see `hook` below).
import { Candles, DataMoved, dayNumber, isoDate, readNewestFirst } from "./candles.js";
import { CandleChart } from "./chart.js";
import { downloadCsv } from "./csv.js";
import { InstrumentField, findInstruments, instrumentOf } from "./instruments.js";
import { dateText, grouped, showLegend } from "./legend.js";

const TIMEFRAMES = { "1m": "Minute", "10m": "10 min", "1h": "Hour", "1d": "Daily", "1w": "Week", "1mo": "Month", "1q": "Quarter" };
const RANGE_BY_TIMEFRAME = { "1m": "1W", "10m": "6M", "1h": "1Y", "1d": "1Y", "1w": "All", "1mo": "All", "1q": "All" };
const SPAN_BY_RANGE = { "1W": { days: 7 }, "1M": { months: 1 }, "6M": { months: 6 }, "1Y": { months: 12 } };
const MAX_ROWS = 600000; // a browser's memory: about 50 MB
const REDRAW_MS = 400; // between drawings while older pages arrive
const MOST_RESTARTS = 3;

const page = {}; // elements by name
const shown = {}; // instrument, timeframe, range or from and till, adjust; of what is drawn also decimals and quantity
let chart;
let candles = new Candles();
let reading = null; // AbortController of the load under way

/** Start the page inside `element`; called once by the page itself. */
export async function mountMarket(element) {
  for (const name of ["instrument", "options", "from", "till", "csv", "legend", "chart", "note", "progress", "status"]) {
    page[name] = element.querySelector(`#lh-${name}`);
  }
  page.choices = Object.fromEntries([...element.querySelectorAll("[data-choice]")].map((node) => [node.dataset.choice, node]));
  page.field = new InstrumentField(page.instrument, page.options, (instrument) => choose({ instrument }));
  chart = new CandleChart(page.chart, (bars, index) => showLegend(page.legend, bars, index, shown));
  new MutationObserver(() => chart.setColours()).observe(document.body, { attributeFilter: ["class"] });
  listen();
  await start().catch(showError);
}

/**
 * What tests may look at.
 *
 * state: loading, drawn (all is here), empty or error. request: what was asked. rows: candles read. dataVersion.
 * step: seconds of a joined bar, null when every candle is a bar of its own. candles, volume, sma, rsi: what the chart
 * holds now, as {time, ...} with Moscow's wall clock as seconds; read(name): a column of all candles read.
 * timings: milliseconds from the page's start to the first drawing and the last, and the longest task since.
 */
const hook = {
  state: "loading",
  request: null,
  dataVersion: null,
  timings: { firstDrawn: null, drawn: null, load: null, longestTask: 0 },
  get rows() { return candles.count; },
  get step() { return chart?.bars?.step ?? null; },
  get candles() { return chart.price.data().filter((bar) => "close" in bar); },
  get volume() { return chart.volume.data().filter((bar) => "value" in bar); },
  get sma() { return chart.sma.data().filter((bar) => "value" in bar); },
  get rsi() { return chart.rsi.data().filter((bar) => "value" in bar); },
  get panes() { return chart.chart.panes().map((pane) => pane.getHTMLElement().getBoundingClientRect().toJSON()); },
  get timeScale() { return chart.chart.timeScale(); },
  read: (name) => Array.from(candles.column(name)),
};
window.lakehouseChart = hook;
new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) hook.timings.longestTask = Math.max(hook.timings.longestTask, duration);
}).observe({ entryTypes: ["longtask"] });

async function start() {
  say("Loading instruments…");
  const asked = new URLSearchParams(location.search);
  const named = asked.get("secid");
  let instrument = await instrumentOf(named || (localStorage.getItem("lakehouse-secid") ?? "SBER"));
  if (!instrument && !named) [instrument] = await findInstruments("");
  if (!instrument) {
    say(
      named // then no other one is shown in its place
        ? `There are no candles of ${named}. Choose another instrument; admins can load more under Ingest.`
        : "There are no candles yet. Admins load them under Ingest; this page needs a reload then.",
    );
    hook.state = "empty";
  }
  const range = asked.get("from") && asked.get("till") ? { from: asked.get("from"), till: asked.get("till") } : {};
  choose({
    instrument,
    timeframe: asked.get("timeframe") ?? "1d",
    adjust: asked.get("adjust") === "none" ? "none" : "split",
    range: asked.get("range") ?? null,
    ...range,
  });
}

function listen() {
  for (const [name, group] of Object.entries(page.choices)) {
    group.addEventListener("click", ({ target }) => {
      if (target.value) choose(CHOICE[name](target.value));
    });
  }
  for (const end of ["from", "till"]) {
    page[end].addEventListener("change", () => {
      if (page.from.value && page.till.value) choose({ range: null, from: page.from.value, till: page.till.value });
    });
  }
  page.csv.addEventListener("click", () => {
    const { instrument, timeframe, till, adjust } = shown;
    const from = candles.count >= MAX_ROWS ? isoDate(candles.column("time")[0]) : shown.from;
    const prices = adjust === "split" ? "adjusted" : "raw";
    downloadCsv(candles, `${instrument.secid}_${timeframe}_${from}_${till}_${prices}.csv`);
  });
  page.note.addEventListener("click", ({ target }) => {
    if (target.value === "again") (shown.instrument ? load() : start().catch(showError));
    if (target.value === "all") choose(CHOICE.range("All"));
  });
}

const CHOICE = {
  timeframe: (timeframe) => ({ timeframe, range: RANGE_BY_TIMEFRAME[timeframe], from: null, till: null }),
  range: (range) => ({ range, from: null, till: null }),
  adjust: (adjust) => ({ adjust }),
};

/** Change what is chosen, make it fit what exists, and load it; without an instrument it is for the one to come. */
function choose(change) {
  Object.assign(shown, change);
  if (!shown.instrument) return;
  const series = shown.instrument.timeframes;
  shown.series = series.find(({ timeframe }) => timeframe === shown.timeframe) ?? series.find(({ timeframe }) => timeframe === "1d") ?? series[0];
  shown.timeframe = shown.series.timeframe;
  if (!(shown.from && shown.till)) shown.range ??= RANGE_BY_TIMEFRAME[shown.timeframe];
  if (shown.range) Object.assign(shown, spanOf(shown.series, shown.range));
  showChoices();
  load();
}

function spanOf({ first, last }, range) {
  const [oldest, till] = [first.slice(0, 10), last.slice(0, 10)];
  if (range === "All") return { from: oldest, till };
  const { months = 0, days = 0 } = SPAN_BY_RANGE[range];
  const from = new Date(`${till}T00:00:00Z`);
  from.setUTCMonth(from.getUTCMonth() - months, from.getUTCDate() - days + 1);
  const date = isoDate(from.getTime() / 1000);
  return { from: date < oldest ? oldest : date, till };
}

function showChoices() {
  page.field.set(shown.instrument);
  const exists = new Set(shown.instrument.timeframes.map(({ timeframe }) => timeframe));
  for (const [name, group] of Object.entries(page.choices)) {
    for (const button of group.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.value === shown[name]));
      if (name === "timeframe") button.disabled = !exists.has(button.value);
    }
  }
  for (const end of ["from", "till"]) {
    Object.assign(page[end], { value: shown[end], min: shown.series.first.slice(0, 10), max: shown.series.last.slice(0, 10) });
  }
  const { instrument, timeframe, range, from, till, adjust } = shown;
  const address = new URLSearchParams({ secid: instrument.secid, timeframe, ...(range ? { range } : { from, till }), adjust });
  history.replaceState(null, "", `?${address}`);
  localStorage.setItem("lakehouse-secid", instrument.secid);
}

/** Read and draw what is chosen, from the start again when a new version of the data appears meanwhile. */
async function load() {
  reading?.abort();
  const mine = (reading = new AbortController());
  const { instrument, timeframe, from, till, adjust } = shown;
  Object.assign(hook, { state: "loading", request: { secid: instrument.secid, board: instrument.board, timeframe, from, till, adjust } });
  hook.timings.longestTask = 0;
  page.csv.disabled = true; // until all is here
  say(`Loading ${instrument.secid} · ${TIMEFRAMES[timeframe]}…`, { quietly: candles.count > 0 });
  page.chart.parentElement.classList.add("lh-stale");
  try {
    for (let restarts = 0; ; restarts += 1) {
      try {
        await readAndDraw(mine.signal);
        break;
      } catch (error) {
        if (!(error instanceof DataMoved) || restarts === MOST_RESTARTS) throw error;
      }
    }
  } catch (error) {
    if (!mine.signal.aborted) showError(error);
  } finally {
    if (reading === mine) page.progress.hidden = true;
  }
}

async function readAndDraw(signal) {
  const started = performance.now();
  const fresh = new Candles();
  let drawnAt = 0;
  const { secid, board, timeframe, from, till, adjust } = hook.request;
  const span = { from: later(from, shown.series.first), till: earlier(till, shown.series.last), rowsPerDay: pace(shown.series) };
  showProgress(0);
  for await (const { columns, dataVersion, done } of readNewestFirst({ secid, board, timeframe, adjust }, span, signal)) {
    fresh.prepend(columns);
    hook.dataVersion = dataVersion;
    const isLast = done === 1 || fresh.count >= MAX_ROWS;
    if (fresh.count && (isLast || performance.now() - drawnAt > REDRAW_MS)) {
      draw(fresh);
      await painted();
      drawnAt = performance.now();
    }
    showProgress(done);
    if (fresh.count >= MAX_ROWS) break;
  }
  signal.throwIfAborted();
  if (fresh.count && candles !== fresh) draw(fresh);
  finish(fresh, started);
}

function draw(fresh) {
  if (candles === fresh) {
    chart.grow();
    return;
  }
  candles = fresh;
  shown.decimals = decimalsOf(candles);
  shown.quantity = candles.column("volume").some((volume) => volume > 0) ? "volume" : "value";
  page.note.hidden = true;
  page.chart.parentElement.classList.remove("lh-stale");
  chart.show(candles, shown);
  hook.timings.firstDrawn ??= performance.now();
}

function finish(fresh, started) {
  const { instrument, timeframe, from, till } = shown;
  page.csv.disabled = !fresh.count;
  if (!fresh.count) {
    clear();
    say(`${instrument.secid} has no ${TIMEFRAMES[timeframe].toLowerCase()} candles between ${from} and ${till}.`, { button: ["all", "Show all"] });
    hook.state = "empty";
    return;
  }
  page.status.replaceChildren(...statusItems(fresh));
  hook.timings.load = performance.now() - started;
  hook.timings.drawn = performance.now();
  hook.state = "drawn";
}

function statusItems(fresh) {
  const time = fresh.column("time");
  const { instrument, timeframe, adjust, quantity } = shown;
  const items = [
    `${grouped(fresh.count, 0)} ${fresh.count === 1 ? "candle" : "candles"}`,
    `${dateText(time[0], timeframe)} – ${dateText(time[fresh.count - 1], timeframe)}`,
    adjust === "split" ? "adjusted for splits" : "raw prices",
    ...(priceUnit(instrument) ? [`prices in ${priceUnit(instrument)}`] : []),
    ...(quantity === "value" ? ["turnover instead of volume"] : []),
    "Moscow time",
    `${instrument.board}, data version ${hook.dataVersion}`,
  ];
  if (fresh.count >= MAX_ROWS) items.unshift(`the newest ${grouped(fresh.count, 0)} only: choose dates to see older ones`);
  return items.map((text) => Object.assign(document.createElement("span"), { textContent: text }));
}

function priceUnit({ price_unit: unit, currency }) {
  return { currency, percent: "% of face value", points: "points" }[unit];
}

function showProgress(done) {
  page.progress.hidden = done === 1;
  page.progress.firstElementChild.style.width = `${Math.round(done * 100)}%`;
}

/** Show nothing: what is drawn does not belong to what is chosen. */
function clear() {
  candles = new Candles();
  chart.clear();
  page.chart.parentElement.classList.remove("lh-stale");
  page.legend.replaceChildren();
  page.status.replaceChildren();
  page.csv.disabled = true;
}

function showError(error) {
  if (error.name === "AbortError") return;
  clear();
  hook.state = "error";
  hook.error = error.message;
  const reason = error instanceof DataMoved ? "the data changed while it was being read, several times" : error.message;
  say(`The candles could not be read: ${reason}`, { isError: true, button: ["again", "Try again"] });
}

function say(text, { isError = false, quietly = false, button = null } = {}) {
  page.note.hidden = quietly;
  page.note.classList.toggle("lh-error", isError);
  page.note.replaceChildren(Object.assign(document.createElement("p"), { textContent: text }));
  if (button) {
    const [value, name] = button;
    page.note.append(Object.assign(document.createElement("button"), { type: "button", value, textContent: name, className: "lh-button" }));
  }
}

/** Decimals that the newest prices need, and no more than their size deserves (adjusted prices have endless ones). */
function decimalsOf(fresh) {
  const closes = fresh.column("close").slice(-200).filter((close) => close > 0);
  const typical = Math.max(...closes, 1e-9);
  const enough = Math.max(0, Math.min(8, 5 - Math.floor(Math.log10(typical))));
  const needed = closes.map((close) => (String(Number(close.toFixed(enough))).split(".")[1] ?? "").length);
  return Math.max(typical < 1e5 ? 2 : 0, ...needed);
}

function pace({ first, last, rows }) {
  return rows / (dayNumber(last.slice(0, 10)) - dayNumber(first.slice(0, 10)) + 1);
}

const later = (date, bound) => (date < bound.slice(0, 10) ? bound.slice(0, 10) : date);
const earlier = (date, bound) => (date > bound.slice(0, 10) ? bound.slice(0, 10) : date);
const painted = () => new Promise((resume) => requestAnimationFrame(() => setTimeout(resume)));
