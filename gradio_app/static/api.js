// Reading the platform's functions: same origin, same session cookie.

const LEAVING_MS = 60000;

let isLeaving = false; // several answers may say that the session is over: to leave again would break off the leaving

/** An answer other than 200, with what the platform said. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Return the JSON document at `path`; leave for the login page when the session is over. */
export async function getJson(path, parameters = {}, signal = undefined) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value != null && value !== ""));
  return documentOf(await fetch(query.size ? `${path}?${query}` : path, { signal, credentials: "same-origin" }));
}

/** Send a JSON document to `path` and return the one answered; `reviver` is JSON.parse's. */
export async function postJson(path, document, reviver = undefined) {
  return sendJson("POST", path, document, reviver);
}

/** Ask for a change by `method`, with a JSON document or without. */
export async function sendJson(method, path, document = {}, reviver = undefined) {
  const headers = { "Content-Type": "application/json" };
  return documentOf(await fetch(path, { method, headers, body: JSON.stringify(document), credentials: "same-origin" }), reviver);
}

/** Send a file's bytes to `path`; return the document answered. */
export async function postFile(path, parameters, file) {
  const headers = { "Content-Type": "application/octet-stream" };
  const query = new URLSearchParams(parameters);
  return documentOf(await fetch(`${path}?${query}`, { method: "POST", headers, body: file, credentials: "same-origin" }));
}

async function documentOf(answer, reviver) {
  if (answer.ok) return reviver ? JSON.parse(await answer.text(), reviver) : answer.json();
  const { code, detail } = await problemOf(answer);
  if (answer.status === 401 && code !== "login_failed" && !isLeaving) { // a wrong password is no end of the session
    isLeaving = true;
    setTimeout(() => { isLeaving = false; }, LEAVING_MS); // one stopped it, or came back
    location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  }
  throw new ApiError(answer.status, detail);
}

async function problemOf(answer) {
  const text = await answer.text();
  try {
    const { code, detail } = JSON.parse(text);
    return { code, detail: detail ?? text };
  } catch {
    return { detail: text.slice(0, 300) || answer.statusText };
  }
}
