// The head of every page: where one can go, who is logged in, whose data this is, light or dark.
import { getJson } from "./api.js";
import "./theme.js"; // where the page's head did not bring it

const PAGES = [
  { path: "/", name: "Market", roles: ["viewer", "analyst", "admin"] },
  { path: "/sql", name: "SQL", roles: ["analyst", "admin"] },
  { path: "/schema", name: "Schema", roles: ["viewer", "analyst", "admin"] },
  { path: "/sandbox", name: "Analysis", roles: ["analyst", "admin"] },
  { path: "/ingest", name: "Ingest", roles: ["admin"] },
  { path: "/quality", name: "Quality", roles: ["admin"] },
  { path: "/access", name: "Access", roles: ["admin"] },
];
const SOURCES = {
  simulator: ["simulated data", "Prices are made by the exchange simulator. They are not quotes."],
  recorded: ["recorded data", "Candles recorded from the exchange and replayed from files."],
};
const SESSION_CHECK_MS = 60000;
const NEXT_THEME = { system: "light", light: "dark", dark: "system" };

/** Fill the header inside `element`. */
export async function mountHeader(element) {
  const theme = element.querySelector(".lh-theme");
  const showTheme = () => { theme.dataset.theme = window.lakehouseTheme.choice(); };
  theme.title = "Theme: system, light, dark";
  theme.addEventListener("click", () => {
    window.lakehouseTheme.choose(NEXT_THEME[window.lakehouseTheme.choice()]);
    showTheme();
  });
  showTheme();
  const [user, health] = await Promise.all([getJson("/session"), getJson("/api/v1/health").catch(() => ({}))]);
  showUser(element, user);
  showSource(element.querySelector(".lh-source"), health.source);
  setInterval(() => getJson("/session").catch(() => {}), SESSION_CHECK_MS); // leaves for the login page once it is over
}

function showUser(element, { user, role }) {
  element.querySelector(".lh-user").textContent = user;
  element.querySelector(".lh-role").textContent = role;
  if (location.pathname === "/account") element.querySelector(".lh-who").setAttribute("aria-current", "page");
  const links = PAGES.filter(({ roles }) => roles.includes(role)).map(({ path, name }) => {
    const link = Object.assign(document.createElement("a"), { href: path, textContent: name });
    if (path === location.pathname) link.setAttribute("aria-current", "page");
    return link;
  });
  element.querySelector("nav").replaceChildren(...links);
}

function showSource(badge, source) {
  const [name, title] = SOURCES[source] ?? [];
  badge.hidden = !name;
  badge.textContent = name ?? "";
  badge.title = title ?? "";
}
