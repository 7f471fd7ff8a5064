// The instrument field: type a ticker, a former ticker or part of a name, pick with mouse or keys.
import { getJson } from "./api.js";

const TYPED_MS = 120;
const SHOWN = 50;

/** Return the instruments with candles that `text` finds, best first; all of them for an empty text. */
export async function findInstruments(text) {
  return (await known(text)).filter(({ timeframes }) => timeframes.length);
}

/** Return the instrument whose code, today's or else a former one, is `secid`; undefined if it has no candles or there is none. */
export async function instrumentOf(secid) {
  const instrument = (await known(secid)).find(({ secids }) => secids.includes(secid)); // today's codes come first
  return instrument?.timeframes.length ? instrument : undefined;
}

async function known(text) {
  const { instruments } = await getJson("/api/v1/instruments", { q: text });
  return instruments;
}

/** The former tickers of an instrument. */
function formerSecids({ secid, secids }) {
  return secids.filter((other) => other !== secid);
}

/** A combobox over the instruments; `onPick(instrument)` is told what was chosen. */
export class InstrumentField {
  #found = [];
  #marked = 0;
  #typing = 0;
  #asked = 0;

  constructor(input, list, onPick) {
    Object.assign(this, { input, list, onPick });
    input.addEventListener("focus", () => {
      input.select();
      this.#search("");
    });
    input.addEventListener("input", () => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(() => this.#search(input.value.trim()), TYPED_MS);
    });
    input.addEventListener("keydown", (event) => this.#key(event));
    input.addEventListener("blur", () => this.#close());
    list.addEventListener("pointerdown", (event) => {
      event.preventDefault(); // keeps the focus until the click has picked
      const option = event.target.closest("[role=option]");
      if (option) this.#pick(this.#found[Number(option.dataset.index)]);
    });
  }

  set(instrument) {
    this.instrument = instrument;
    this.input.value = instrument.secid;
    this.input.title = instrument.name ?? "";
  }

  async #search(text) {
    const question = (this.#asked += 1);
    const found = await findInstruments(text);
    if (question !== this.#asked || document.activeElement !== this.input) return;
    this.#found = found.slice(0, SHOWN);
    this.#marked = 0;
    this.#show(found.length);
  }

  #show(count) {
    const options = this.#found.map((instrument, index) => optionOf(instrument, index === this.#marked, index));
    if (!count) options.push(remark("Nothing found. Admins can load more under Ingest."));
    if (count > SHOWN) options.push(remark(`${count - SHOWN} more: type to narrow`));
    this.list.replaceChildren(...options);
    this.list.hidden = false;
    this.input.setAttribute("aria-expanded", "true");
    this.#announce();
  }

  #announce() {
    const marked = this.list.querySelector("[aria-selected=true]");
    marked?.scrollIntoView({ block: "nearest" });
    if (marked) this.input.setAttribute("aria-activedescendant", marked.id);
    else this.input.removeAttribute("aria-activedescendant");
  }

  #key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && this.list.hidden) this.#search("");
    else if (step && this.#found.length) {
      event.preventDefault();
      this.#marked = (this.#marked + step + this.#found.length) % this.#found.length;
      this.list.querySelectorAll("[role=option]").forEach((option, index) => {
        option.setAttribute("aria-selected", String(index === this.#marked));
      });
      this.#announce();
    } else if (event.key === "Enter") this.#enter();
    else if (event.key === "Escape") this.input.blur();
  }

  /** Enter picks what is marked; of a text typed faster than it is searched for, what it finds. */
  async #enter() {
    clearTimeout(this.#typing);
    const text = this.input.value.trim();
    if (text && text !== this.instrument?.secid) await this.#search(text);
    if (this.#found.length && !this.list.hidden) this.#pick(this.#found[this.#marked]);
  }

  #pick(instrument) {
    this.set(instrument);
    this.input.blur();
    this.onPick(instrument);
  }

  #close() {
    this.#asked += 1;
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    if (this.instrument) this.input.value = this.instrument.secid;
  }
}

function optionOf(instrument, isMarked, index) {
  const option = document.createElement("li");
  option.id = `lh-option-${index}`;
  option.role = "option";
  option.dataset.index = index;
  option.setAttribute("aria-selected", String(isMarked));
  const former = formerSecids(instrument);
  option.append(
    Object.assign(document.createElement("b"), { textContent: instrument.secid }),
    Object.assign(document.createElement("span"), { textContent: instrument.name ?? instrument.shortname ?? "" }),
    Object.assign(document.createElement("small"), {
      textContent: former.length ? `formerly ${former.join(", ")}` : instrument.board,
    }),
  );
  return option;
}

function remark(text) {
  return Object.assign(document.createElement("li"), { textContent: text, className: "lh-remark" });
}
