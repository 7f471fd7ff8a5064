// The page Access (admins): users and the audit record. The functions check the role.
import { getJson, sendJson } from "./api.js";
import { button, endEach, onSubmit, partsOf, row, saying } from "./access_parts.js";

const ROLES = ["viewer", "analyst", "admin"];
const SHOWN = 100; // entries of the record at a time

/** Start the page inside `element`. */
export async function mountAccess(element) {
  const page = partsOf(element);
  onSubmit(page.forms.user, page.said.users, async (given) => {
    const made = await sendJson("POST", "/api/v1/users", given);
    await showUsers(page);
    return `${made.user} is ${made.role}.`;
  });
  onSubmit(page.forms.password, page.said.users, async ({ password }) => {
    const { user } = page.forms.password.dataset;
    await sendJson("PUT", `/api/v1/users/${encodeURIComponent(user)}/password`, { password });
    page.forms.password.hidden = true;
    await showUsers(page);
    return `The password of ${user} is set, and their sessions are over.`;
  });
  page.acts.keep.addEventListener("click", () => { page.forms.password.hidden = true; });
  page.forms.audit.addEventListener("submit", (event) => {
    event.preventDefault();
    showAudit(page, new FormData(page.forms.audit));
  });
  await Promise.all([showUsers(page), showAudit(page, new FormData(page.forms.audit))]);
}

async function showUsers(page) {
  const [{ users }, { sessions }, { tokens }] = await Promise.all([
    getJson("/api/v1/users"), getJson("/api/v1/sessions", { of: "all" }), getJson("/api/v1/tokens", { of: "all" }),
  ]);
  const of = (things, user) => things.filter((thing) => thing.user === user);
  page.rows.users.replaceChildren(...users.map(({ user, role }) => userRow(page, user, role, of(sessions, user), of(tokens, user))));
}

function userRow(page, user, role, sessions, tokens) {
  const path = `/api/v1/users/${encodeURIComponent(user)}`;
  const change = (act) => saying(page.said.users, act)
    .then(() => showUsers(page))
    .catch((error) => saying(page.said.users, () => Promise.reject(error)));
  const select = document.createElement("select");
  select.append(...ROLES.map((name) => new Option(name, name, false, name === role)));
  select.setAttribute("aria-label", `Role of ${user}`);
  select.addEventListener("change", () => change(async () => {
    await sendJson("PUT", path, { role: select.value });
    return `${user} is ${select.value}.`;
  }));
  const end = () => change(async () => {
    await endAll("session", user);
    return `${user} is logged out everywhere.`;
  });
  const revoke = () => change(async () => {
    await endAll("token", user);
    return `The tokens of ${user} are revoked.`;
  });
  const remove = () => change(async () => {
    await sendJson("DELETE", path);
    return `${user} is removed.`;
  });
  return row([
    user,
    select,
    [`${sessions.length} `, sessions.length ? button("End", `End the sessions of ${user}`, end, `${user} will be logged out. Go on?`) : ""],
    [`${tokens.length} `, tokens.length ? button("Revoke", `Revoke the tokens of ${user}`, revoke, `Programs of ${user} will be refused. Go on?`) : ""],
    [
      button("Password", `Set the password of ${user}`, () => askPassword(page, user)), " ",
      button("Remove", `Remove ${user}`, remove, `${user} will not be able to log in any more. Remove?`),
    ],
  ]);
}

/** End the sessions or the tokens that a user has by now, be they others than when the page was drawn. */
async function endAll(kind, user) {
  const { [`${kind}s`]: all } = await getJson(`/api/v1/${kind}s`, { of: "all" });
  const of = all.filter((each) => each.user === user).sort((one, other) => Boolean(one.is_this) - Boolean(other.is_this));
  await endEach(of.map((each) => `/api/v1/${kind}s/${each[`${kind}_id`]}`)); // the session at hand is the last
}

function askPassword(page, user) {
  const form = page.forms.password;
  form.dataset.user = user;
  form.querySelector("span").textContent = `New password of ${user}`;
  form.hidden = false;
  form.password.focus();
}

/** Let a field offer what was seen so far. */
function suggest(list, seen) {
  const values = new Set([...seen, ...[...list.options].map(({ value }) => value)]);
  list.replaceChildren(...[...values].sort().map((value) => Object.assign(document.createElement("option"), { value })));
}

/** Show what the record has of what is `asked`; with `before` add what is older to it. One answer is waited for at a time. */
async function showAudit(page, asked, before = undefined) {
  const buttons = [page.acts.older, page.forms.audit.querySelector("button")];
  for (const each of buttons) each.disabled = true;
  await saying(page.said.audit, async () => {
    const { entries, next } = await getJson("/api/v1/audit", { ...Object.fromEntries(asked), before, limit: SHOWN });
    const rows = entries.map((entry) => row([
      entry.at.slice(0, 19).replace("T", " "),
      `${entry.user || "nobody"}${entry.via ? ` (${entry.via})` : ""}`,
      entry.action,
      entry.target,
      outcome(entry.outcome),
      entry.address,
      Object.keys(entry.detail).length ? JSON.stringify(entry.detail) : "",
    ]));
    if (before === undefined) page.rows.audit.replaceChildren();
    page.rows.audit.append(...rows);
    suggest(document.getElementById("lh-actions"), entries.map(({ action }) => action));
    if (!page.rows.audit.children.length) page.rows.audit.append(row(["nothing of this is on the record"]));
    page.acts.older.hidden = next === null;
    page.acts.older.onclick = () => showAudit(page, asked, next); // the form may say something else by then
    return "";
  });
  for (const each of buttons) each.disabled = false;
}

function outcome(name) {
  const isBad = ["refused", "failed"].includes(name);
  return Object.assign(document.createElement("span"), { className: `lh-state lh-state-${isBad ? "failed" : "done"}`, textContent: name });
}
