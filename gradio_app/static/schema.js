// The Schema page: every table and column with type, unit and meaning, and a search over all of it.
import { getJson } from "./api.js";

const VERSIONS = "_versions";
const HEAD = ["Column", "Type", "Unit", "May be NULL", "Meaning"];

/** Start the page inside `element`; called once by the page itself. */
export async function mountSchema(element) {
  const [field, list, main, none] = ["find", "table-list", "schema-tables", "none"].map((name) => element.querySelector(`#lh-${name}`));
  let tables;
  try {
    ({ tables } = await getJson("/api/v1/schema"));
  } catch (error) {
    main.textContent = error.message;
    return;
  }
  const sections = joined(tables).map(section);
  main.append(...sections);
  list.append(...sections.map(({ id }) => {
    const line = document.createElement("li");
    line.append(Object.assign(document.createElement("a"), { href: `#${id}`, textContent: id }));
    return line;
  }));
  const find = () => {
    const wanted = beginningWith(field.value.trim());
    let hits = 0;
    sections.forEach((part, at) => {
      const isTable = matches(part.dataset.text, wanted);
      const rows = [...part.querySelectorAll("tbody tr")];
      for (const row of rows) row.hidden = !isTable && ![...row.cells].some((cell) => matches(cell.textContent, wanted));
      part.hidden = rows.every((row) => row.hidden);
      list.children[at].hidden = part.hidden;
      hits += !part.hidden;
    });
    none.hidden = hits > 0;
    mark(main, wanted);
  };
  field.addEventListener("input", find);
  field.value = new URLSearchParams(location.search).get("q") ?? "";
  find();
  if (location.hash) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

/** Each table once: with versions it has two names, and the columns of the fuller one. */
function joined(tables) {
  const byName = new Map(tables.map((table) => [table.name, table]));
  return tables.filter(({ name }) => !name.endsWith(VERSIONS)).map((table) => {
    const versions = byName.get(table.name + VERSIONS);
    return versions ? { ...table, meaning: versions.meaning, columns: versions.columns, versions: versions.name } : table;
  });
}

function section(table) {
  const part = Object.assign(document.createElement("section"), { id: table.name });
  part.dataset.text = `${table.name} ${table.versions ?? ""} ${table.meaning}`;
  const title = text("h2", table.name);
  if (table.versions) title.append(text("small", table.versions));
  const grid = Object.assign(document.createElement("table"), { className: "lh-plain lh-wrapping" });
  const head = grid.createTHead().insertRow();
  head.append(...HEAD.map((name) => Object.assign(text("th", name), { scope: "col" })));
  const body = grid.createTBody();
  for (const column of table.columns) {
    const only = table.versions && column.name === "known_till" ? `; only in ${table.versions}` : "";
    body.insertRow().append(
      cell(text("code", column.name)), cell(column.type), cell(column.unit), cell(column.nullable ? "yes" : "no"), cell(column.meaning + only),
    );
  }
  const facts = [`Key: ${table.key.join(", ")}${table.versions ? " (and known_from, of versions)" : ""}`];
  if (table.partitioned_by.length) facts.push(`partitioned by ${table.partitioned_by.join(", ")}: name them in WHERE where you can`);
  const scroll = Object.assign(document.createElement("div"), { className: "lh-schema-scroll" });
  scroll.append(grid);
  part.append(title, text("p", table.meaning), Object.assign(text("p", facts.join("; ")), { className: "lh-hint" }), scroll);
  return part;
}

/** Return a pattern of what begins a word, or a part of a name: `rsi` is in rsi_14 and not in versions. */
function beginningWith(wanted) {
  return new RegExp(`(?<![\\p{L}\\p{N}])${wanted.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}`, "giu");
}

function matches(content, pattern) {
  pattern.lastIndex = 0;
  return pattern.test(content);
}

/** Show where `pattern` stands. */
function mark(element, pattern) {
  if (!CSS.highlights) return;
  const ranges = [];
  const walk = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    for (const { 0: found, index } of node.data.matchAll(pattern)) {
      if (!found) break; // nothing is looked for
      const range = document.createRange();
      range.setStart(node, index);
      range.setEnd(node, index + found.length);
      ranges.push(range);
    }
  }
  CSS.highlights.set("lh-found", new Highlight(...ranges));
}

function text(name, content) {
  return Object.assign(document.createElement(name), { textContent: content });
}

function cell(content) {
  const made = document.createElement("td");
  made.append(content);
  return made;
}
