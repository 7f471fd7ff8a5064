// The page Account: one's own password, API tokens and sessions. The functions check whose they are.
import { getJson, sendJson } from "./api.js";
import { button, endEach, minute, onSubmit, partsOf, row, saying } from "./access_parts.js";

const ROLES = ["viewer", "analyst", "admin"];

/** Start the page inside `element`. */
export async function mountAccount(element) {
  const { forms, said, rows, acts } = partsOf(element);
  const secret = element.querySelector(".lh-secret");
  onSubmit(forms.password, said.password, changePassword);
  onSubmit(forms.token, said.token, async (given) => {
    const made = await makeToken(given);
    secret.hidden = false;
    secret.querySelector("input").value = made.token;
    await showTokens(rows.tokens, said.token);
    return `${made.name} is made: copy it now, it is not shown again.`;
  });
  secret.querySelector("button").addEventListener("click", () => copy(secret.querySelector("input"), said.token));
  acts.everywhere.addEventListener("click", () => logOutEverywhere(said.sessions));
  const { user, role } = await getJson("/session");
  forms.password.username.value = user;
  forms.token.role.replaceChildren(...ROLES.slice(0, ROLES.indexOf(role) + 1).reverse().map((name) => new Option(name)));
  await Promise.all([showTokens(rows.tokens, said.token), showSessions(rows.sessions, said.sessions)]);
}

async function changePassword({ present, new: wanted, again }) {
  if (wanted !== again) throw new Error("the new passwords differ: type the same twice");
  await sendJson("POST", "/api/v1/password", { present, new: wanted });
  return "Your password is changed, and your other sessions are over.";
}

async function makeToken({ name, role, days, is_read_only: isReadOnly }) {
  return sendJson("POST", "/api/v1/tokens", { name, role, days: Number(days), is_read_only: isReadOnly === "on" });
}

async function showTokens(place, said) {
  const { tokens } = await getJson("/api/v1/tokens");
  const revoke = (token) => saying(said, async () => {
    await sendJson("DELETE", `/api/v1/tokens/${token.token_id}`);
    await showTokens(place, said);
    return `${token.name} is revoked.`;
  });
  place.replaceChildren(...tokens.map((token) => row([
    token.name,
    `${token.role}${token.is_read_only ? ", may only read" : ""}`,
    minute(token.created_at),
    minute(token.expires_at),
    minute(token.used_at),
    button("Revoke", `Revoke ${token.name}`, () => revoke(token), `Programs with ${token.name} will be refused. Revoke it?`),
  ])));
  if (!tokens.length) place.append(row(["none"]));
}

async function showSessions(place, said) {
  const { sessions } = await getJson("/api/v1/sessions");
  const end = (session) => saying(said, async () => {
    await sendJson("DELETE", `/api/v1/sessions/${session.session_id}`);
    await showSessions(place, said);
    return `The session from ${session.address} is over.`;
  });
  place.replaceChildren(...sessions.map((session) => row([
    minute(session.created_at),
    minute(session.seen_at),
    minute(session.expires_at),
    session.address,
    session.program,
    session.is_this ? "this one" : button("End", `End the session of ${minute(session.created_at)} from ${session.address}`, () => end(session)),
  ])));
}

/** End all sessions, this one last. */
async function logOutEverywhere(said) {
  if (!confirm("You will be logged out here too. Log out everywhere?")) return;
  const isDone = await saying(said, async () => {
    const { sessions } = await getJson("/api/v1/sessions");
    await endEach(sessions.filter((session) => !session.is_this).map(({ session_id: id }) => `/api/v1/sessions/${id}`));
    await sendJson("POST", "/api/v1/logout", {});
    return "";
  });
  if (isDone) location.assign("/login");
}

async function copy(field, said) {
  field.select();
  await saying(said, async () => {
    await navigator.clipboard.writeText(field.value);
    return "The token is on the clipboard.";
  });
}
