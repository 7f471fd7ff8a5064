// Candles of one series: reading them from /api/v1/candles, newest first, into columns.
import { ApiError, getJson } from "./api.js";

const PAGE_ROWS = 10000; // the most that the function gives at once
const WINDOW_ROWS = 8000; // what a window of dates is sized for, so that it is one page as a rule
const IN_FLIGHT = 2;
const DAY_S = 86400;
const VALUES = ["open", "high", "low", "close", "value", "volume", "sma_20", "rsi_14"];

/** A new version of the data was published while we read: what was read so far belongs to the old one. */
export class DataMoved extends Error {}

/**
 * Candles by columns, oldest first, in Float64Arrays; null is NaN.
 *
 * `instant` is the start in UTC, `time` the same start on Moscow's wall clock, both in seconds: the chart knows no time
 * zones and is given the wall clock as if it were UTC. Grows to the left, because the newest are read first.
 */
export class Candles {
  static names = ["instant", "time", ...VALUES];
  count = 0;
  #capacity = 0;
  #columns = Object.fromEntries(Candles.names.map((name) => [name, new Float64Array(0)]));

  column(name) {
    return this.#columns[name].subarray(this.#capacity - this.count);
  }

  prepend(columns) {
    const added = columns.time.length;
    if (this.count + added > this.#capacity) this.#grow(this.count + added);
    for (const name of Candles.names) {
      this.#columns[name].set(columns[name], this.#capacity - this.count - added);
    }
    this.count += added;
  }

  #grow(needed) {
    const capacity = Math.max(needed, this.#capacity * 2, 16384);
    for (const name of Candles.names) {
      const grown = new Float64Array(capacity);
      grown.set(this.column(name), capacity - this.count);
      this.#columns[name] = grown;
    }
    this.#capacity = capacity;
  }
}

/**
 * Yield `{columns, dataVersion, done}` from the newest window of dates to the oldest; `done` counts from 0 to 1.
 *
 * `query` is {secid, board, timeframe, adjust}; `span` is {from, till, rowsPerDay} with ISO dates, both inclusive.
 * Throws DataMoved when the pages do not belong to one version of the data.
 */
export async function* readNewestFirst(query, span, signal) {
  const windows = planWindows(span);
  const reading = [];
  let dataVersion = null;
  for (let taken = 0; taken < windows.length; taken += 1) {
    for (let next = taken + reading.length; reading.length < IN_FLIGHT && next < windows.length; next += 1) {
      const pages = readWindow(query, windows[next], signal);
      pages.catch(() => {}); // told when its turn comes; an earlier window may fail first
      reading.push(pages);
    }
    for (const page of (await reading.shift()).reverse()) {
      dataVersion ??= page.data_version;
      if (page.data_version !== dataVersion) throw new DataMoved();
      yield { columns: toColumns(page, query.timeframe), dataVersion, done: (taken + 1) / windows.length };
    }
  }
}

/** Cut the dates `from`..`till` into windows of about WINDOW_ROWS rows, newest first. */
function planWindows({ from, till, rowsPerDay }) {
  const days = Math.max(1, Math.floor(WINDOW_ROWS / Math.max(rowsPerDay, 0.01)));
  const windows = [];
  for (let last = dayNumber(till); last >= dayNumber(from); last -= days) {
    windows.push({ from: isoDate(Math.max(last - days + 1, dayNumber(from)) * DAY_S), till: isoDate(last * DAY_S) });
  }
  return windows;
}

export function dayNumber(date) {
  return Date.parse(`${date}T00:00:00Z`) / 1000 / DAY_S;
}

export function isoDate(seconds) {
  return new Date(seconds * 1000).toISOString().slice(0, 10);
}

async function readWindow(query, window, signal) {
  const pages = [];
  let token = null;
  do {
    const page = await readPage({ ...query, ...window, limit: PAGE_ROWS, token }, signal);
    pages.push(page);
    token = page.next;
  } while (token);
  return pages;
}

async function readPage(parameters, signal) {
  try {
    return await getJson("/api/v1/candles", parameters, signal);
  } catch (error) {
    if (error instanceof ApiError && error.status === 409) throw new DataMoved();
    throw error;
  }
}

function toColumns(page, timeframe) {
  const at = Object.fromEntries(page.columns.map((name, position) => [name, position]));
  const columns = Object.fromEntries(Candles.names.map((name) => [name, new Float64Array(page.rows.length)]));
  const byDate = !["1m", "10m", "1h"].includes(timeframe);
  page.rows.forEach((row, index) => {
    const instant = Date.parse(row[at.begin_at]) / 1000;
    columns.instant[index] = instant;
    columns.time[index] = byDate ? dayNumber(row[at.trade_date]) * DAY_S : instant + moscowOffset(instant);
    for (const name of VALUES) columns[name][index] = row[at[name]] ?? NaN;
  });
  return columns;
}

const moscowClock = new Intl.DateTimeFormat("en-GB", {
  timeZone: "Europe/Moscow",
  hourCycle: "h23",
  year: "numeric",
  month: "2-digit",
  day: "2-digit",
  hour: "2-digit",
});
const offsetByHour = new Map();

/** Seconds that Moscow's wall clock is ahead of UTC at `instant` (UTC+4 from 2011 to 2014): one look-up an hour. */
function moscowOffset(instant) {
  const hour = Math.floor(instant / 3600);
  let offset = offsetByHour.get(hour);
  if (offset === undefined) {
    const part = Object.fromEntries(moscowClock.formatToParts(hour * 3600e3).map(({ type, value }) => [type, +value]));
    offset = Date.UTC(part.year, part.month - 1, part.day, part.hour) / 1000 - hour * 3600;
    offsetByHour.set(hour, offset);
  }
  return offset;
}
