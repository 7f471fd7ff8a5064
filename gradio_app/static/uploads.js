// Saved pages on the Ingest page: upload one, see what became of all, accept one. The functions check the role.
import { getJson, postFile, postJson } from "./api.js";

const REFRESH_MS = 5000;
const ASK = "Its rows will count as if the exchange had given them last, and revise candles that differ. Accept?";

/** Start the section inside `element`. */
export function mountUploads(element) {
  const form = element.querySelector("form");
  const page = {
    note: element.querySelector(".lh-message"),
    table: element.querySelector(".lh-scroll"),
    rows: element.querySelector("tbody"),
    nothing: element.querySelector(".lh-stages"),
  };
  form.family.addEventListener("change", () => showFields(form));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    upload(form, page);
  });
  form.querySelector("button").disabled = false; // now it is the page that sends it
  page.rows.addEventListener("click", (event) => {
    const key = event.target.closest("button[data-key]")?.dataset.key;
    if (key && confirm(ASK)) accept(key, page);
  });
  showFields(form);
  refresh(page);
  setInterval(() => { if (!document.hidden) refresh(page); }, REFRESH_MS);
}

function showFields(form) {
  for (const field of form.querySelectorAll("[data-of]")) {
    field.hidden = field.dataset.of !== form.family.value;
    field.querySelector("input, select").disabled = field.hidden;
  }
}

async function upload(form, page) {
  const { file, ...fields } = Object.fromEntries(new FormData(form));
  form.querySelector("button").disabled = true;
  await say(page, async () => {
    const made = await postFile("/api/v1/uploads", { ...fields, name: file.name }, file);
    return `${file.name}: ${made.rows.toLocaleString("en-GB")} rows are imported.`;
  });
  form.querySelector("button").disabled = false;
}

async function accept(key, page) {
  await say(page, async () => {
    await postJson("/api/v1/uploads/accept", { upload_key: key });
    return `${key} is accepted.`;
  });
}

async function say(page, act) {
  try {
    page.note.textContent = await act();
    page.note.classList.remove("lh-error");
  } catch (error) {
    page.note.textContent = error.message;
    page.note.classList.add("lh-error");
  }
  page.note.hidden = false;
  await refresh(page);
}

async function refresh(page) {
  let uploads;
  try {
    ({ uploads } = await getJson("/api/v1/uploads"));
  } catch {
    return; // the next time; who has no session any more is led to the login page
  }
  page.table.hidden = !uploads.length;
  page.nothing.hidden = uploads.length > 0;
  page.rows.replaceChildren(...uploads.map(row));
}

function row(upload) {
  const cells = [
    upload.seen_at.slice(0, 19).replace("T", " "),
    state(upload.state),
    upload.rows.toLocaleString("en-GB"),
    upload.uploaded_by || "the store",
    upload.upload_key.replace("uploads/", ""),
    upload.fate.replace(`${upload.upload_key}: `, ""),
    upload.state === "imported" && !upload.accepted_by ? acceptButton(upload.upload_key) : "",
  ];
  const line = document.createElement("tr");
  line.replaceChildren(...cells.map((cell) => {
    const made = document.createElement("td");
    made.append(cell);
    return made;
  }));
  return line;
}

function state(name) {
  const shown = document.createElement("span");
  shown.className = `lh-state lh-state-${name === "imported" ? "done" : "failed"}`;
  shown.textContent = name;
  return shown;
}

function acceptButton(key) {
  const button = document.createElement("button");
  Object.assign(button, { type: "button", className: "lh-button", textContent: "Accept" });
  button.title = "Let its rows revise what the exchange gave";
  button.dataset.key = key;
  return button;
}
