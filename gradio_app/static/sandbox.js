// The page Analysis: draws what a run showed, keeps what was written in this browser, runs on Ctrl+Enter.
//
// Everything in a result is text of a stranger's program: it gets into the page by textContent and Plotly only, and
// Plotly is handed figures that the server has checked.
import { drawFigure, forgetFigures } from "./plots.js";
import { tableElement } from "./result_tables.js";

const KEPT = "lakehouse-analysis";
let isRestored = false; // before, what changes is the page's own doing
const FIELDS = ["code", "secids", "timeframe", "from", "till", "adjust"];

/** Prepare the page around the element of the results; called once, `value()` gives the result to show. */
export function mountResults(element, value) {
  document.addEventListener("keydown", runOnCtrlEnter, { capture: true });
  nameEditor(element.closest(".lh-sandbox"));
  if (value()) showResults(element, value());
}

/** Draw a result: a JSON document of items in the order made, the analyst's error, and notes of the platform. */
export async function showResults(element, text) {
  const place = element.querySelector(".lh-results");
  place.replaceChildren();
  forgetFigures();
  if (!text) return;
  const { items, error, notes, is_empty: isEmpty } = JSON.parse(text);
  const parts = [];
  for (const item of items) {
    const part = ELEMENT_OF[item.kind](item);
    parts.push(part);
    place.append(part);
  }
  if (error) place.append(textElement({ text: error, stream: "err" }, "lh-traceback"));
  for (const note of notes) place.append(paragraph("lh-message lh-error", note));
  if (isEmpty) place.append(paragraph("lh-empty", "The program showed nothing: print(...), show(...), or end it with a value."));
  for (const [index, item] of items.entries()) {
    if (item.kind !== "figure") continue;
    await drawFigure(parts[index].querySelector(".lh-plot"), item.document);
    if (!parts[index].isConnected) return; // another result is in the place of this one
  }
  place.dataset.drawn = String(items.length);
}

/** Remember the program in this browser. */
export async function keep(program) {
  if (!isRestored) return;
  const [key, values] = [await kept(), Object.fromEntries(FIELDS.map((name, index) => [name, program[index]]))];
  localStorage.setItem(key, JSON.stringify(values));
}

/** Return the program remembered, or the one at hand. */
export async function restore(program) {
  const values = JSON.parse(localStorage.getItem(await kept()) ?? "null");
  isRestored = true;
  return values ? FIELDS.map((name, index) => values[name] ?? program[index]) : program;
}

const ELEMENT_OF = {
  text: (item) => textElement(item, "lh-text"),
  table: (item) => tableElement(item),
  figure: figureElement,
};

function textElement({ text, stream }, className) {
  const element = document.createElement("pre");
  element.className = className;
  element.dataset.stream = stream;
  element.tabIndex = 0; // long lines scroll by keyboard too
  element.textContent = text;
  return element;
}

function figureElement({ document: figure, left_out: leftOut }) {
  const element = document.createElement("figure");
  element.className = "lh-figure";
  const plot = document.createElement("div");
  plot.className = "lh-plot";
  plot.role = "img";
  plot.setAttribute("aria-label", figure.layout.title?.text ?? figure.layout.title ?? "Figure");
  element.append(plot);
  if (leftOut.length) element.append(paragraph("lh-left-out", `Left out of this figure: ${leftOut.join(", ")}`, "figcaption"));
  return element;
}

function paragraph(className, text, tag = "p") {
  return Object.assign(document.createElement(tag), { className, textContent: text });
}

function runOnCtrlEnter(event) {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey) return;
  if (!event.target.closest?.(".lh-sandbox")) return;
  event.preventDefault();
  event.stopPropagation();
  setTimeout(() => document.querySelector("#lh-run-program").click(), 50); // what was typed last is on its way to the page's state
}

/** Give the editor a name for those who do not see it; it is made anew by Gradio at times. */
function nameEditor(page) {
  const name = () => {
    const editor = page.querySelector("#lh-code .cm-content");
    if (editor && !editor.hasAttribute("aria-label")) {
      editor.setAttribute("aria-label", "Python. Ctrl+Enter runs it; Escape, then Tab leaves the editor.");
    }
  };
  name();
  new MutationObserver(name).observe(page, { childList: true, subtree: true });
}

/** Several people may share a browser: each has a program of their own. */
async function kept() {
  const { user } = await (kept.session ??= fetch("/session", { credentials: "same-origin" }).then((answer) => answer.json()));
  return `${KEPT}:${user}`;
}
