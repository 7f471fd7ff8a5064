// The chart: candles and SMA, volume, RSI in three panes of lightweight-charts, and which bars it is given.
//
// The library numbers bars from the left and takes longer the more it holds, so it holds the bars around the view only:
// every candle while they are few, joined ones where a pixel would hide them anyway (bars.js). The view is kept in rows
// counted back from the newest candle, which older pages arriving on the left do not move.
import { chooseStep, makeBars, MAX_BARS } from "./bars.js";
import "./lightweight-charts.js"; // sets window.LightweightCharts

const SETTLE_MS = 120; // a drag or a turn of the wheel is over

export class CandleChart {
  candles = null;
  bars = null;
  view = null; // {from, till}: rows back from the newest; null shows all
  #settling = 0;
  #pressed = false;
  #resized = false;
  #placed = null; // the range of bars in view as we left it
  #placing = false; // the library sets a range with the next frame

  /** `onBar(bars, index)` is told the bar under the cursor, or the last one, whenever that changes. */
  constructor(container, onBar) {
    this.container = container;
    this.onBar = onBar;
    const library = window.LightweightCharts;
    this.chart = library.createChart(container, OPTIONS);
    const line = { lineWidth: 1.5, priceLineVisible: false, lastValueVisible: false, crosshairMarkerRadius: 3 };
    this.sma = this.chart.addSeries(library.LineSeries, line); // first: the candles lie over it
    this.price = this.chart.addSeries(library.CandlestickSeries, { borderVisible: false });
    this.volume = this.chart.addSeries(library.HistogramSeries, { ...QUIET, priceFormat: { type: "volume" } }, 1);
    this.rsi = this.chart.addSeries(library.LineSeries, { ...line, autoscaleInfoProvider: () => RSI_SCALE }, 2);
    this.bounds = [70, 30].map((price) => this.rsi.createPriceLine({ price, lineWidth: 1, lineStyle: 2 }));
    this.rsi.priceScale().applyOptions({ scaleMargins: { top: 0.08, bottom: 0.06 } });
    this.volume.priceScale().applyOptions({ scaleMargins: { top: 0.16, bottom: 0 } });
    [5, 1.3, 1.5].forEach((factor, pane) => this.chart.panes()[pane].setStretchFactor(factor));
    this.#listen();
    this.setColours();
    requestAnimationFrame(() => this.#namePanes()); // the panes' elements appear with the first frame
  }

  /** Show other candles; all of them are in view at first. */
  show(candles, { timeframe, decimals, quantity }) {
    Object.assign(this, { candles, timeframe, quantity, view: null, bars: null });
    this.price.applyOptions({ priceFormat: { type: "price", precision: decimals, minMove: 10 ** -decimals } });
    this.chart.applyOptions({ timeScale: { timeVisible: ["1m", "10m", "1h"].includes(timeframe) } });
    this.#showNames();
    this.#redraw();
  }

  /** Draw again after candles were added on the left; what the reader looks at stays where it is. */
  grow() {
    this.#readView();
    this.#redraw();
  }

  clear() {
    Object.assign(this, { candles: null, bars: null, view: null });
    for (const series of [this.price, this.sma, this.volume, this.rsi]) series.setData([]);
  }

  /** Draw the view: the bars in it and as many again to its left and right. */
  #redraw() {
    const { first, end } = this.#rowsInView();
    const step = this.#stepInView();
    const margin = this.view ? Math.max(end - first, step ? 0 : MAX_BARS) : 0;
    this.bars = makeBars(this.candles, Math.max(0, first - margin), Math.min(this.candles.count, end + margin), step);
    this.#fill();
    this.#place();
    this.onBar(this.bars, this.bars.length - 1);
  }

  /** Take the colours of the page's theme. */
  setColours() {
    const style = getComputedStyle(this.container);
    const colour = (name) => style.getPropertyValue(`--lh-${name}`).trim();
    this.tint = { up: colour("up-soft"), down: colour("down-soft") };
    this.chart.applyOptions({
      layout: {
        background: { color: colour("panel") },
        textColor: colour("muted"),
        fontFamily: colour("font"),
        panes: { separatorColor: colour("line"), separatorHoverColor: colour("accent-soft") },
      },
      grid: { vertLines: { color: colour("grid") }, horzLines: { color: colour("grid") } },
      crosshair: Object.fromEntries(
        ["vertLine", "horzLine"].map((axis) => [axis, { color: colour("muted"), labelBackgroundColor: colour("text") }]),
      ),
      rightPriceScale: { borderColor: colour("line") },
      timeScale: { borderColor: colour("line") },
    });
    const [up, down] = [colour("up"), colour("down")];
    this.price.applyOptions({ upColor: up, wickUpColor: up, downColor: down, wickDownColor: down });
    this.sma.applyOptions({ color: colour("sma") });
    this.rsi.applyOptions({ color: colour("rsi") });
    this.bounds.forEach((bound) => bound.applyOptions({ color: colour("line-strong"), axisLabelVisible: false }));
    if (this.bars) this.volume.setData(this.#volumes());
  }

  #namePanes() {
    this.names = [1, 2].map((pane) => {
      const name = Object.assign(document.createElement("span"), { className: "lh-pane-name" });
      const cell = this.chart.panes()[pane].getHTMLElement().querySelectorAll("td")[1];
      cell.firstElementChild.append(name);
      return name;
    });
    this.#showNames();
  }

  #showNames() {
    const names = [this.quantity === "value" ? "Turnover" : "Volume", "RSI 14"];
    this.names?.forEach((element, index) => { element.textContent = names[index]; });
  }

  #rowsInView() {
    const { count } = this.candles;
    if (!this.view) return { first: 0, end: count };
    const first = Math.floor(Math.min(count - 1, Math.max(0, count - this.view.from)));
    return { first, end: Math.max(first + 1, Math.min(count, Math.ceil(count - this.view.till))) };
  }

  #stepInView() {
    const { first, end } = this.#rowsInView();
    return chooseStep(this.candles, this.timeframe, first, end);
  }

  #fill() {
    const { length, time, open, high, low, close, sma_20, rsi_14 } = this.bars;
    const points = (values) => Array.from({ length }, (_, bar) => point(time[bar], values[bar]));
    this.price.setData(
      Array.from({ length }, (_, bar) => {
        if (Number.isNaN(close[bar])) return { time: time[bar] };
        // Of a period in which a split fell only the close may be known: a dash
        const known = (price) => (Number.isNaN(price) ? close[bar] : price);
        return { time: time[bar], open: known(open[bar]), high: known(high[bar]), low: known(low[bar]), close: close[bar] };
      }),
    );
    this.sma.setData(points(sma_20));
    this.volume.setData(this.#volumes());
    this.rsi.setData(points(rsi_14));
  }

  #volumes() {
    const { length, time, open, close } = this.bars;
    const values = this.bars[this.quantity];
    return Array.from({ length }, (_, bar) => {
      const column = point(time[bar], values[bar]);
      column.color = close[bar] >= open[bar] ? this.tint.up : this.tint.down;
      return column;
    });
  }

  /** Put the view's rows at the edges of the panes. */
  #place() {
    const last = this.bars.length - 1;
    const count = this.candles.count;
    const range = this.view
      ? { from: this.#barAt(count - this.view.from), to: this.#barAt(count - this.view.till) }
      : { from: -0.5, to: last + 0.5 + Math.min(last * 0.02, 4) };
    this.chart.timeScale().setVisibleLogicalRange(range);
    this.#placing = true;
    this.#resized = false;
    this.#settle();
  }

  /** Bar position (with fraction) of a row position; positions outside the bars go on at the bars' own pace. */
  #barAt(position) {
    const { row, end, length } = this.bars;
    const pace = (end - row[0]) / length;
    if (position <= row[0]) return (position - row[0]) / pace;
    if (position >= end) return length + (position - end) / pace;
    let [low, high] = [0, length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (row[middle] <= position) low = middle;
      else high = middle - 1;
    }
    return low + (position - row[low]) / ((row[low + 1] ?? end) - row[low]);
  }

  #rowAt(position) {
    const { row, end, length } = this.bars;
    const pace = (end - row[0]) / length;
    if (position <= 0) return row[0] + position * pace;
    if (position >= length) return end + (position - length) * pace;
    const bar = Math.floor(position);
    return row[bar] + (position - bar) * ((row[bar + 1] ?? end) - row[bar]);
  }

  #listen() {
    this.chart.subscribeCrosshairMove(({ logical, point: cursor }) => {
      if (!this.bars?.length) return;
      const bar = cursor && logical != null ? Math.min(Math.max(Math.round(logical), 0), this.bars.length - 1) : null;
      this.onBar(this.bars, bar ?? this.bars.length - 1);
    });
    this.chart.timeScale().subscribeVisibleLogicalRangeChange(() => this.#settle());
    new ResizeObserver(() => { this.#resized = true; }).observe(this.container);
    this.container.addEventListener("pointerdown", () => { this.#pressed = true; }, true);
    window.addEventListener("pointerup", () => {
      this.#pressed = false;
      this.#settle();
    }, true);
  }

  #settle() {
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => {
      if (this.#pressed || !this.bars?.length) return;
      if (this.#placing) this.#placed = this.chart.timeScale().getVisibleLogicalRange();
      this.#placing = false;
      if (this.#resized) this.#place();
      else if (this.#readView() && !this.#fits()) this.#redraw();
    }, SETTLE_MS);
  }

  /** Take the view from the chart; return whether the reader moved it since we placed it. */
  #readView() {
    const range = this.chart.timeScale().getVisibleLogicalRange();
    if (!range || !this.bars?.length || this.#placing || isSame(range, this.#placed)) return false;
    const back = (position) => this.bars.count - this.#rowAt(position);
    this.view = { from: back(range.from), till: back(range.to) };
    this.#placed = range;
    return true;
  }

  /** Whether the bars in the chart reach beyond the view by a quarter of it, and are as long as they should be. */
  #fits() {
    const { count, row, end, step } = this.bars;
    const quarter = (this.view.from - this.view.till) / 4;
    const reachesLeft = row[0] <= Math.max(0, count - this.view.from - quarter);
    const reachesRight = end >= Math.min(count, count - this.view.till + quarter);
    return reachesLeft && reachesRight && step === this.#stepInView();
  }
}

function point(time, value) {
  return Number.isNaN(value) ? { time } : { time, value };
}

function isSame(range, other) {
  if (!other) return false;
  const tolerance = (other.to - other.from) * 1e-3;
  return Math.abs(range.from - other.from) < tolerance && Math.abs(range.to - other.to) < tolerance;
}

const QUIET = { priceLineVisible: false, lastValueVisible: false };
const RSI_SCALE = { priceRange: { minValue: 0, maxValue: 100 } };
const OPTIONS = {
  autoSize: true,
  layout: { fontSize: 11, attributionLogo: true },
  crosshair: { mode: 0 },
  rightPriceScale: { minimumWidth: 64 },
  timeScale: { minBarSpacing: 0.02, maxBarSpacing: 60, secondsVisible: false },
  localization: { locale: "en-GB", dateFormat: "yyyy-MM-dd" },
};
