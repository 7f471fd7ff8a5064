// What is shown, as a file.
import { Candles, isoDate } from "./candles.js";

const ROWS_AT_ONCE = 20000; // then the page gets its turn

/** Give the browser the candles as a CSV file called `name`; instants in UTC, trade dates Moscow's, null empty. */
export async function downloadCsv(candles, name) {
  const values = Candles.names.filter((column) => column !== "instant" && column !== "time");
  const columns = values.map((column) => candles.column(column));
  const [instant, time] = [candles.column("instant"), candles.column("time")];
  const parts = [`begin_at,trade_date,${values.join(",")}\n`];
  for (let first = 0; first < candles.count; first += ROWS_AT_ONCE) {
    const rows = [];
    for (let row = first; row < Math.min(first + ROWS_AT_ONCE, candles.count); row += 1) {
      const begin = new Date(instant[row] * 1000).toISOString().replace(".000Z", "Z");
      const cells = columns.map((column) => (Number.isNaN(column[row]) ? "" : String(column[row])));
      rows.push(`${begin},${isoDate(time[row])},${cells.join(",")}\n`);
    }
    parts.push(rows.join(""));
    await new Promise((resume) => setTimeout(resume));
  }
  saveText(parts, name);
}

/** Give the browser `text` (or its parts) as a CSV file called `name`. */
export function saveText(text, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text].flat(), { type: "text/csv" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
