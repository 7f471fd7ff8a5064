// A table of a result: a page of rows at a time, all of them as a file.
import { csvOf, isNumber } from "./csv_text.js";

const PAGE_ROWS = 15;

/** Return the element of a table: cells are text, `row_count` is how many rows the program's table had. */
export function tableElement({ name, columns, rows, row_count: rowCount }) {
  const element = document.createElement("section");
  element.className = "lh-table";
  element.setAttribute("aria-label", name || "Table");
  const bar = document.createElement("div");
  bar.className = "lh-table-bar";
  const table = document.createElement("table");
  table.className = "lh-plain";
  const scroll = Object.assign(document.createElement("div"), { className: "lh-scroll", tabIndex: 0 });
  scroll.role = "region";
  scroll.setAttribute("aria-label", `${name || "Table"}, rows`);
  scroll.append(table);
  element.append(bar, scroll);

  const numeric = columns.map((_, column) => rows.length > 0 && rows.every((row) => row[column] === "" || isNumber(row[column])));
  let first = 0;
  const show = () => {
    table.replaceChildren(headOf(columns, numeric), bodyOf(rows.slice(first, first + PAGE_ROWS), numeric));
    position.textContent = positionText(first, rows.length, rowCount);
    back.disabled = first === 0;
    next.disabled = first + PAGE_ROWS >= rows.length;
  };
  const turn = (step) => () => {
    first = Math.max(0, first + step);
    show();
  };
  const title = Object.assign(document.createElement("b"), { textContent: name });
  const position = Object.assign(document.createElement("span"), { className: "lh-position" });
  const back = button("‹", "Rows before", turn(-PAGE_ROWS));
  const next = button("›", "Rows after", turn(PAGE_ROWS));
  const part = rows.length < rowCount ? `-first-${rows.length}-rows` : ""; // the file goes where nobody sees the page
  const csv = button("CSV", "Download as CSV", () => download(csvOf(columns, rows), `${fileName(name)}${part}.csv`));
  bar.append(title, position, ...(rows.length > PAGE_ROWS ? [back, next] : []), csv);
  show();
  return element;
}

function positionText(first, shown, rowCount) {
  const whole = (number) => number.toLocaleString("en-US");
  if (!rowCount) return "no rows";
  const last = Math.min(first + PAGE_ROWS, shown);
  const of = `rows ${whole(first + 1)}–${whole(last)} of ${whole(rowCount)}`;
  return shown < rowCount ? `${of}; the first ${whole(shown)} are here` : of;
}

function headOf(columns, numeric) {
  const row = document.createElement("tr");
  columns.forEach((name, index) => {
    const cell = Object.assign(document.createElement("th"), { textContent: name, scope: "col" });
    cell.classList.toggle("lh-number", numeric[index]);
    row.append(cell);
  });
  const head = document.createElement("thead");
  head.append(row);
  return head;
}

function bodyOf(rows, numeric) {
  const body = document.createElement("tbody");
  for (const values of rows) {
    const row = document.createElement("tr");
    values.forEach((text, index) => {
      const cell = Object.assign(document.createElement("td"), { textContent: text });
      cell.classList.toggle("lh-number", numeric[index]);
      row.append(cell);
    });
    body.append(row);
  }
  return body;
}

function button(text, label, act) {
  const element = Object.assign(document.createElement("button"), { type: "button", className: "lh-button", textContent: text });
  element.setAttribute("aria-label", label);
  element.title = label;
  element.addEventListener("click", act);
  return element;
}

function fileName(name) {
  return (name || "table").replace(/[^\p{L}\p{N}._-]+/gu, "-").slice(0, 60) || "table";
}

function download(text, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
