// The tables beside the editor: found by name, put into the statement by a click.

/** Fill `element` with `tables` of the schema; `insert` is called with a name; `field` finds. */
export function showTables(element, field, tables, insert) {
  const parts = tables.map((table) => part(table, insert));
  element.replaceChildren(...parts);
  field.addEventListener("input", () => {
    const wanted = field.value.trim().toLowerCase();
    for (const details of parts) {
      const rows = [...details.querySelectorAll("li")];
      const isTable = details.dataset.name.includes(wanted);
      const hits = rows.filter((row) => row.dataset.name.includes(wanted));
      for (const row of rows) row.hidden = !isTable && !hits.includes(row);
      details.hidden = !isTable && !hits.length;
      details.open = wanted !== "" && hits.length > 0;
    }
  });
}

function part(table, insert) {
  const details = Object.assign(document.createElement("details"), { title: table.meaning });
  details.dataset.name = table.name;
  const summary = document.createElement("summary");
  summary.append(
    Object.assign(document.createElement("span"), { textContent: table.name }),
    button("insert", `Insert ${table.name}`, () => insert(table.name)),
  );
  const list = document.createElement("ul");
  list.append(...table.columns.map((column) => row(column, insert)));
  details.append(summary, list);
  return details;
}

function row(column, insert) {
  const line = document.createElement("li");
  line.dataset.name = column.name;
  const name = button(column.name, column.meaning, () => insert(column.name));
  const type = Object.assign(document.createElement("small"), { textContent: [column.type, column.unit].filter(Boolean).join(", ") });
  line.append(name, type);
  return line;
}

function button(text, title, act) {
  const made = Object.assign(document.createElement("button"), { type: "button", textContent: text, title });
  made.addEventListener("click", (event) => {
    event.preventDefault(); // in a summary it would open the table
    act();
  });
  return made;
}
