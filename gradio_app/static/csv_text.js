// Rows as CSV, for spreadsheets too.

const NUMBER = /^(?:[-+]?[0-9][0-9,]*(\.[0-9]+)?(e[-+]?[0-9]+)?%?|nan|[-+]?inf(inity)?)$/i;
const FORMULA = /^\s*[=@+\-]|^[\t\r\n]/; // what a spreadsheet takes for one

/** Return `rows` of cells (text, number, boolean, object, null) under the names in `head`; null is empty. */
export function csvOf(head, rows) {
  return [head, ...rows].map((row) => `${row.map(cellOf).join(",")}\n`).join("");
}

/** Whether `text` is a number as people and programs write one. */
export function isNumber(text) {
  return NUMBER.test(text);
}

/** A text that a spreadsheet would take for a formula begins with an apostrophe; `;` is quoted, for some part by it. */
function cellOf(value) {
  if (value === null) return "";
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  const safe = typeof value === "string" && FORMULA.test(text) && !isNumber(text) ? `'${text}` : text;
  return /[",;\t\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
