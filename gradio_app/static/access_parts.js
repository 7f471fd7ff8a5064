// What the pages Account and Access share: rows, buttons that ask before they act, and what is said of it.
import { sendJson } from "./api.js";

/** Return the parts of a page by their data attributes. */
export function partsOf(element) {
  const by = (name) => Object.fromEntries([...element.querySelectorAll(`[data-${name}]`)].map((part) => [part.dataset[name], part]));
  return { forms: by("form"), said: by("said"), rows: by("rows"), acts: by("act") };
}

/** Do what `act` does and say in `place` what it returns, or why it failed; return whether it was done. */
export async function saying(place, act) {
  let isDone = true;
  try {
    place.textContent = await act();
  } catch (error) {
    place.textContent = error.message;
    isDone = false;
  }
  place.classList.toggle("lh-error", !isDone);
  place.hidden = !place.textContent;
  return isDone;
}

/**
 * Send a form by `act`, which gets its fields; its button rests meanwhile and before, and it is empty afterwards.
 *
 * The button rests in the page as it comes: the browser itself would put the fields into the address.
 */
export function onSubmit(form, place, act) {
  const buttons = form.querySelectorAll("button");
  for (const button of buttons) button.disabled = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    for (const button of buttons) button.disabled = true;
    if (await saying(place, () => act(Object.fromEntries(new FormData(form))))) form.reset();
    for (const button of buttons) button.disabled = false;
  });
}

/** End the sessions or tokens at `paths`, one by one; what is over already is passed over. */
export async function endEach(paths) {
  for (const path of paths) {
    await sendJson("DELETE", path).catch((error) => {
      if (error.status !== 404) throw error;
    });
  }
}

/** Return a row of a table; cells are texts or elements. */
export function row(cells) {
  const line = document.createElement("tr");
  line.append(...cells.map((cell) => {
    const made = document.createElement("td");
    made.append(...[cell ?? ""].flat());
    return made;
  }));
  return line;
}

/** Return a button that does `act` at once, or after a question. */
export function button(text, label, act, question = "") {
  const made = Object.assign(document.createElement("button"), { type: "button", className: "lh-button", textContent: text, title: label });
  made.setAttribute("aria-label", label);
  made.addEventListener("click", () => { if (!question || confirm(question)) act(); });
  return made;
}

/** Return an instant as people read it, to the minute, in UTC. */
export function minute(instant) {
  return instant ? instant.slice(0, 16).replace("T", " ") : "never";
}
