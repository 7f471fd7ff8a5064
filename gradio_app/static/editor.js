// The SQL editor: CodeMirror, as Gradio's Code component brings it, and the place of an error in it.

const FOUND_MS = 60000;
const ERROR = "lh-sql-error"; // a highlight's name, see sql.css

/** Gradio's code editor `selector`, moved into `slot` once it is drawn: the page may be there before it. */
export class SqlEditor {
  static async movedInto(slot, selector) {
    slot.append(await appearing(document.body, selector));
    const content = await appearing(slot, ".cm-content");
    const editor = new SqlEditor();
    // CodeMirror's way from a node to its view; EditorView.findFromDOM would need the class, which Gradio keeps
    editor.view = (content.cmTile ?? content.cmView).view;
    content.setAttribute("aria-label", "SQL statement");
    return editor;
  }

  get text() { return this.view.state.doc.toString(); }

  set text(text) {
    this.clearError();
    this.view.dispatch({ changes: { from: 0, to: this.view.state.doc.length, insert: text }, selection: { anchor: text.length } });
    this.view.focus();
  }

  /** Put `text` where the cursor is, apart from the word before it. */
  insert(text) {
    const { from, to } = this.view.state.selection.main;
    const before = this.view.state.doc.sliceString(Math.max(0, from - 1), from);
    const spaced = /[\s(.,]|^$/.test(before) ? text : ` ${text}`;
    this.view.dispatch({ changes: { from, to, insert: spaced }, selection: { anchor: from + spaced.length } });
    this.view.focus();
  }

  /** Mark the word at `line` and `column`, which count from 1 and in characters, and put the cursor there. */
  showError(line, column) {
    const { doc } = this.view.state;
    const { from, to, text } = doc.line(Math.min(line, doc.lines));
    const before = [...text].slice(0, column - 1).join("").length; // CodeMirror counts in UTF-16
    const start = Math.min(from + before, to);
    const word = /^[\p{L}\p{N}_]+|^./u.exec(doc.sliceString(start, to))?.[0] ?? "";
    this.view.dispatch({ selection: { anchor: start }, scrollIntoView: true });
    this.view.focus();
    this.marked = { start, end: start + word.length };
    requestAnimationFrame(() => this.#paint());
  }

  clearError() {
    this.marked = null;
    CSS.highlights?.delete(ERROR);
  }

  #paint() {
    if (!this.marked) return;
    const range = document.createRange();
    const [first, last] = [this.view.domAtPos(this.marked.start, 1), this.view.domAtPos(this.marked.end, -1)];
    range.setStart(first.node, first.offset);
    range.setEnd(last.node, last.offset);
    CSS.highlights?.set(ERROR, new Highlight(range));
  }
}

function appearing(element, selector) {
  return new Promise((resolve, reject) => {
    const look = () => {
      const found = element.querySelector(selector);
      if (!found) return;
      watch.disconnect();
      clearTimeout(timer);
      resolve(found);
    };
    const watch = new MutationObserver(look);
    const timer = setTimeout(() => reject(new Error("the editor did not appear: reload the page")), FOUND_MS);
    watch.observe(element, { childList: true, subtree: true });
    look();
  });
}
