// A table of any number of rows, of which only those in sight are in the document.

const ROW_PX = 26;
const BEYOND = 12; // rows drawn above and below those in sight
const MEASURED = 400; // rows looked at for the widths
const [LEAST_CH, MOST_CH] = [5, 46];
const NUMBER = /^(long|int|double|u?int\d+|float|decimal)/;

/** Draws an answer into `element`, which scrolls. */
export class ResultGrid {
  constructor(element) {
    this.element = element;
    element.addEventListener("scroll", () => this.#draw());
    new ResizeObserver(() => this.#draw()).observe(element);
  }

  /** Show `rows`, arrays in the order of `columns` of {name, type}. */
  show(columns, rows) {
    Object.assign(this, { columns, rows, first: -1, last: -1 });
    const table = make("table", { ariaRowCount: rows.length + 1 });
    const widths = make("colgroup");
    widths.append(...[rowNumberWidth(rows.length), ...columns.map((_, at) => width(columns, rows, at))].map((ch) => make("col", { style: `width: ${ch}ch` })));
    const head = make("tr");
    head.append(make("th", { className: "lh-at" }), ...columns.map(({ name, type }) => {
      const cell = make("th", { scope: "col", title: `${name}: ${type}`, className: NUMBER.test(type) ? "lh-number" : "" });
      cell.append(make("span", { textContent: name }), make("small", { textContent: type === "timestamp" ? "timestamp, UTC" : type }));
      return cell;
    }));
    this.body = make("tbody");
    const thead = make("thead");
    thead.append(head);
    table.append(widths, thead, this.body);
    this.element.replaceChildren(table);
    this.element.scrollTo(0, 0);
    this.#draw();
  }

  clear() {
    this.rows = null;
    this.element.replaceChildren();
  }

  #draw() {
    if (!this.rows) return;
    const top = Math.max(0, Math.floor(this.element.scrollTop / ROW_PX) - BEYOND);
    const bottom = Math.min(this.rows.length, Math.ceil((this.element.scrollTop + this.element.clientHeight) / ROW_PX) + BEYOND);
    if (top === this.first && bottom === this.last) return;
    [this.first, this.last] = [top, bottom];
    const drawn = this.rows.slice(top, bottom).map((row, at) => this.#row(row, top + at));
    this.body.replaceChildren(gap(top), ...drawn, gap(this.rows.length - bottom));
  }

  #row(row, at) {
    const line = make("tr", { ariaRowIndex: at + 2 });
    line.append(make("td", { className: "lh-at", textContent: (at + 1).toLocaleString("en") }));
    row.forEach((value, column) => {
      const { type } = this.columns[column];
      const text = shown(value, type);
      const cell = make("td", { textContent: text, className: value === null ? "lh-null" : NUMBER.test(type) ? "lh-number" : "" });
      if (text.length > MOST_CH - 4) cell.title = text.slice(0, 2000);
      line.append(cell);
    });
    return line;
  }
}

/** Return `value` as a person reads it. */
function shown(value, type) {
  if (value === null) return "NULL";
  if (type === "timestamp") return value.replace("T", " ").replace("Z", "");
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function width(columns, rows, at) {
  let longest = Math.max(columns[at].name.length, columns[at].type.length + 5);
  for (const row of rows.slice(0, MEASURED)) longest = Math.max(longest, shown(row[at], columns[at].type).length);
  return Math.min(MOST_CH, Math.max(LEAST_CH, longest)) + 4;
}

function rowNumberWidth(count) {
  return String(count).length + 3;
}

function gap(rows) {
  const line = make("tr", { className: "lh-gap", ariaHidden: "true" });
  line.style.height = `${rows * ROW_PX}px`;
  return line;
}

function make(name, properties = {}) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "style") element.style.cssText = value;
    else if (key === "scope") element.setAttribute(key, value);
    else element[key] = value;
  }
  return element;
}
