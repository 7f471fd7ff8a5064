// From candles to the bars that are drawn: every candle while they are few, longer bars where they are many.

/**
 * More bars than this in view make a redraw slow (measured on two cores without a graphics card: 5,000 bars 0.1 s,
 * 20,000 0.5 s, 250,000 9 s). The library's own conflation is quick, but throws when the options of a line change (5.1).
 */
export const MAX_BARS = 7000;

/** Lengths, in seconds, to which candles are joined while too many are in view. Days are never too many. */
const STEPS = { "1m": [300, 900, 1800, 3600, 86400], "10m": [3600, 86400], "1h": [86400] };
const NAME_BY_STEP = { 300: "5-minute", 900: "15-minute", 1800: "30-minute", 3600: "hourly", 86400: "daily" };

export function stepName(step) {
  return NAME_BY_STEP[step];
}

/** Return the shortest step that shows the rows first..end in at most MAX_BARS bars; null for every candle. */
export function chooseStep(candles, timeframe, first, end) {
  if (end - first <= MAX_BARS) return null;
  const steps = STEPS[timeframe] ?? [];
  const time = candles.column("time");
  return steps.find((step) => countBars(time, first, end, step) <= MAX_BARS) ?? steps.at(-1) ?? null;
}

/**
 * Return the bars of the rows first..end (end excluded): columns; `row`, the first row of each bar; `count`, how many
 * rows there were.
 *
 * A joined bar has the open of its first candle, the extremes of all, the close and the indicators of its last, and
 * the sum of the volumes.
 */
export function makeBars(candles, first, end, step) {
  const time = candles.column("time");
  const row = step ? joinedRows(time, first, end, step) : Uint32Array.from({ length: end - first }, (_, i) => first + i);
  const bars = { step, row, end, length: row.length, count: candles.count };
  for (const [name, join] of Object.entries(JOIN)) {
    const column = candles.column(name);
    if (!step) {
      bars[name] = column.slice(first, end);
      continue;
    }
    const joined = new Float64Array(row.length);
    for (let bar = 0; bar < row.length; bar += 1) joined[bar] = join(column, row[bar], row[bar + 1] ?? end);
    bars[name] = joined;
  }
  if (step) bars.time = bars.time.map((seconds) => Math.floor(seconds / step) * step);
  return bars;
}

const opening = (column, from) => column[from];
const closing = (column, from, end) => column[end - 1];
const JOIN = {
  time: opening,
  open: opening,
  high: (column, from, end) => extreme(column, from, end, Math.max),
  low: (column, from, end) => extreme(column, from, end, Math.min),
  close: closing,
  volume: sum,
  value: sum,
  sma_20: closing,
  rsi_14: closing,
};

function extreme(column, from, end, better) {
  let found = column[from];
  for (let row = from + 1; row < end; row += 1) {
    if (!Number.isNaN(column[row])) found = Number.isNaN(found) ? column[row] : better(found, column[row]);
  }
  return found;
}

function sum(column, from, end) {
  let total = NaN; // nothing but nulls has no sum
  for (let row = from; row < end; row += 1) {
    if (!Number.isNaN(column[row])) total = Number.isNaN(total) ? column[row] : total + column[row];
  }
  return total;
}

function countBars(time, from, end, step) {
  let count = 0;
  let former = null;
  for (let row = from; row < end; row += 1) {
    const bucket = Math.floor(time[row] / step);
    if (bucket !== former) count += 1;
    former = bucket;
  }
  return count;
}

function joinedRows(time, from, end, step) {
  const rows = [];
  let former = null;
  for (let row = from; row < end; row += 1) {
    const bucket = Math.floor(time[row] / step);
    if (bucket !== former) rows.push(row);
    former = bucket;
  }
  return Uint32Array.from(rows);
}
