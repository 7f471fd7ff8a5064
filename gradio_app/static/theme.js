// Light or dark: the system's wish, or the reader's own choice, kept in this browser.
// A classic script: it must run before the page is painted. Gradio sets the class `dark` on the body by the system's
// wish each time it mounts, so the class is put right whenever it changes.
(() => {
  if (window.lakehouseTheme) return; // it ran already
  const KEY = "lakehouse-theme";
  const system = matchMedia("(prefers-color-scheme: dark)");

  function choice() {
    return localStorage.getItem(KEY) ?? "system";
  }

  function isDark() {
    return choice() === "system" ? system.matches : choice() === "dark";
  }

  function apply() {
    if (document.body.classList.contains("dark") !== isDark()) {
      document.body.classList.toggle("dark", isDark());
    }
  }

  function choose(name) {
    if (name === "system") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, name);
    apply();
  }

  function start() {
    apply();
    new MutationObserver(apply).observe(document.body, { attributeFilter: ["class"] });
    system.addEventListener("change", apply);
  }

  window.lakehouseTheme = { choice, choose, isDark };
  if (document.body) start();
  else document.addEventListener("DOMContentLoaded", start);
})();
