// Statements to choose from: examples, and what this user ran in this browser.

const KEPT = 50;

/** What a user ran, newest first, in this browser's storage. */
export class History {
  constructor(user) {
    this.key = `lakehouse-sql-history:${user}`;
  }

  get entries() {
    try {
      return JSON.parse(localStorage.getItem(this.key) ?? "[]");
    } catch {
      return [];
    }
  }

  /** Put `statement` first; one that was run before moves up. */
  add(statement, at) {
    const others = this.entries.filter((entry) => entry.statement !== statement);
    const entries = [{ statement, at, ran: new Date().toISOString() }, ...others].slice(0, KEPT);
    try {
      localStorage.setItem(this.key, JSON.stringify(entries));
    } catch {
      // the browser's storage is full or closed: the statement runs all the same
    }
  }

  forget() {
    localStorage.removeItem(this.key);
  }
}

/** List `entries` of {name, statement} in `element`; `choose` gets the one clicked. */
export function listStatements(element, entries, choose, nothing) {
  if (!entries.length) {
    element.replaceChildren(Object.assign(document.createElement("li"), { className: "lh-hint", textContent: nothing }));
    return;
  }
  element.replaceChildren(...entries.map((entry) => {
    const line = document.createElement("li");
    const button = Object.assign(document.createElement("button"), { type: "button", title: entry.statement });
    button.append(
      Object.assign(document.createElement("b"), { textContent: entry.name }),
      Object.assign(document.createElement("code"), { textContent: entry.statement.replace(/\s+/g, " ").slice(0, 140) }),
    );
    button.addEventListener("click", () => choose(entry));
    line.append(button);
    return line;
  }));
}
