// Plotly, from the platform itself, in the colours of the page.
import "./theme.js"; // sets window.lakehouseTheme

const HEIGHT = 420;
const COLOURS = {
  light: ["#1f5fbf", "#c77a06", "#13866b", "#cf3f43", "#6f4bc4", "#0e8fa8", "#b0487f", "#5d687b"],
  dark: ["#6ea2f5", "#e6a23c", "#2fb391", "#ee6266", "#ab8df0", "#4cc4d9", "#e182b4", "#94a0b4"],
};
const CONFIG = { responsive: true, displaylogo: false, showSendToCloud: false, plotlyServerURL: "", modeBarButtonsToRemove: ["lasso2d", "select2d"] };

let loading = null;
const drawn = new Map(); // elements and what was drawn into them

/** Draw a checked figure into `element`, if that is still in the page when Plotly is there. */
export async function drawFigure(element, figure) {
  const plotly = await load();
  if (!element.isConnected) return;
  drawn.set(element, figure);
  try {
    await plotly.newPlot(element, figure.data, withTheme(figure.layout), CONFIG);
  } catch (error) {
    element.textContent = `Plotly cannot draw this figure: ${error.message}`;
  }
}

/** Release the figures whose elements are in the page no more: Plotly keeps them, and listens to the window for them. */
export function forgetFigures() {
  for (const element of drawn.keys()) {
    if (element.isConnected) continue;
    window.Plotly.purge(element);
    drawn.delete(element);
  }
}

function load() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "/static/plotly.min.js";
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => reject(new Error("Plotly did not load: reload the page"));
    document.head.append(script);
  });
  return loading;
}

/** The page's own template under the figure's layout: what the figure sets itself stays. */
function withTheme(layout) {
  const colour = (name) => getComputedStyle(document.body).getPropertyValue(`--lh-${name}`).trim();
  const isDark = window.lakehouseTheme.isDark();
  const axis = { gridcolor: colour("line"), linecolor: colour("line-strong"), zerolinecolor: colour("line-strong"), automargin: true };
  const template = {
    layout: {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: colour("font"), size: 12, color: colour("text") },
      title: { font: { size: 14 }, x: 0.01, xanchor: "left" },
      colorway: COLOURS[isDark ? "dark" : "light"],
      xaxis: axis,
      yaxis: axis,
      hoverlabel: { bgcolor: colour("panel"), bordercolor: colour("line-strong"), font: { color: colour("text") } },
      legend: { orientation: "h", y: -0.18, x: 0 },
      margin: { l: 56, r: 20, t: 48, b: 48 },
    },
  };
  return { height: HEIGHT, ...layout, template, autosize: true };
}

new MutationObserver(() => {
  forgetFigures();
  for (const [element, figure] of drawn) window.Plotly.react(element, figure.data, withTheme(figure.layout), CONFIG);
}).observe(document.body, { attributeFilter: ["class"] });
