// The line above the candles: date, prices, volume and indicators of one bar.
import { stepName } from "./bars.js";

const WEEKDAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** Write bar `index` of `bars` into `element`. */
export function showLegend(element, bars, index, { timeframe, decimals, quantity }) {
  const price = (value) => grouped(value, decimals);
  const change = changeOf(bars, index);
  const items = [
    ["date", "", dateText(bars.time[index], timeframe, bars.step)],
    ["open", "O", price(bars.open[index])],
    ["high", "H", price(bars.high[index])],
    ["low", "L", price(bars.low[index])],
    ["close", "C", price(bars.close[index])],
    ["change", "", Number.isNaN(change) ? "" : `${change >= 0 ? "+" : "−"}${Math.abs(change).toFixed(2)} %`],
    ["volume", quantity === "value" ? "Value" : "Vol", shortNumber(bars[quantity][index])],
    ["sma", "SMA 20", price(bars.sma_20[index])],
    ["rsi", "RSI 14", grouped(bars.rsi_14[index], 1)],
  ];
  element.replaceChildren(...items.map(([name, label, text]) => itemOf(name, label, text)));
  element.dataset.way = bars.close[index] >= bars.open[index] ? "up" : "down";
  if (bars.step) element.append(itemOf("step", "", `${stepName(bars.step)} bars: zoom in for every candle`));
}

/** The date of a bar as people say it; `seconds` are Moscow's wall clock. */
export function dateText(seconds, timeframe, step = null) {
  const at = new Date(seconds * 1000);
  const [day, month, year] = [at.getUTCDate(), MONTHS[at.getUTCMonth()], at.getUTCFullYear()];
  if (timeframe === "1q") return `Q${Math.floor(at.getUTCMonth() / 3) + 1} ${year}`;
  if (timeframe === "1mo") return `${month} ${year}`;
  const date = `${day} ${month} ${year}`;
  if (timeframe === "1w") return `week of ${date}`;
  if (timeframe === "1d" || step === 86400) return `${WEEKDAYS[at.getUTCDay()]} ${date}`;
  return `${WEEKDAYS[at.getUTCDay()]} ${date} ${at.toISOString().slice(11, 16)}`;
}

export function grouped(value, decimals) {
  if (Number.isNaN(value)) return "–";
  return value.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
}

function shortNumber(value) {
  if (Number.isNaN(value)) return "–";
  const [divisor, unit] = [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "K"]].find(([size]) => value >= size) ?? [1, ""];
  return `${(value / divisor).toLocaleString("en-US", { maximumFractionDigits: 2 })}${unit}`;
}

/** Per cent from the close before, or from the open where there is none. */
function changeOf(bars, index) {
  const before = index > 0 ? bars.close[index - 1] : bars.open[index];
  return ((bars.close[index] - before) / before) * 100;
}

function itemOf(name, label, text) {
  const item = document.createElement("span");
  item.className = `lh-${name}`;
  if (label) item.append(Object.assign(document.createElement("i"), { textContent: label }));
  item.append(Object.assign(document.createElement("b"), { textContent: text }));
  return item;
}
