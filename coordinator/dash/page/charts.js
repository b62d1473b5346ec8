// The curves, drawn by uPlot.

import uPlot from "/dash/uplot/uPlot.esm.js";
import { color, get, make, number, say, whole } from "/dash/dom.js";

const height = 190;
const palette = ["one", "two", "three", "four", "five", "six"];
const names = {
  mutual_information: "I(S;T)", student_entropy: "H(S)", conditional_entropy: "H(S|T)", prior_entropy: "H(prior)", log_classes: "log C",
  joint_information: "I of the joint", information_share: "I / log C", used_classes: "classes used, student",
  teacher_used_classes: "classes used, teacher", input_seconds: "wait for images, s", seconds: "step, s", bias: "bias of I, nat",
};

export const label = (name) => names[name] ?? name.replace(/^term\.\d+\./, "").replaceAll("_", " ");

// terms are the parts of the loss.
const terms = (series) => Object.keys(series.columns).filter((n) => n.startsWith("term.") && !n.endsWith(".weight")).sort();

// The columns that the last chart does not offer alone.
const entropies = ["student_entropy", "conditional_entropy", "prior_entropy", "log_classes"];
const shown = ["time", "loss", "images", "mutual_information", ...entropies];

const plots = {};

// draw brings all charts up to date.
export function draw(series) {
  const parts = terms(series);
  chart("loss", series, [["loss", series.column("loss")], ...(parts.length > 1 ? parts.map((n) => [label(n), series.column(n)]) : [])]);
  const lines = (columns) => columns.filter((n) => series.has(n)).map((n) => [label(n), series.column(n)]);
  chart("information", series, lines(["mutual_information"]));
  chart("throughput", series, [["images/s", series.rate()]]);
  const other = choices(series);
  chart("other", series, lines(other === "entropies" ? entropies : [other]));
  say(get("stride"), series.stride > 1 ? `each point is the mean of ${series.stride} steps` : "");
}

// choices offers what else was reported, and returns what is chosen.
function choices(series) {
  const select = get("other");
  const offered = Object.keys(series.columns).filter((n) => !shown.includes(n) && !n.startsWith("term.") && series.has(n)).sort();
  if (entropies.some((n) => series.has(n))) offered.unshift("entropies");
  if (offered.join() !== select.dataset.offered) {
    const before = select.value;
    select.dataset.offered = offered.join();
    select.replaceChildren(...offered.map((n) => make("option", { value: n, text: label(n) })));
    if (offered.includes(before)) select.value = before;
  }
  return select.value;
}

function chart(id, series, lines) {
  const host = get("chart-" + id);
  if (series.steps.length === 0 || lines.length === 0) {
    if (plots[id] || !host.firstChild) {
      plots[id]?.plot.destroy();
      delete plots[id];
      host.replaceChildren(make("p", { className: "empty", text: "No step was reported yet." }));
    }
    return;
  }
  const key = lines.map(([name]) => name).join() + document.documentElement.dataset.theme;
  const data = [series.steps, ...lines.map(([, values]) => values)];
  if (plots[id]?.key !== key) {
    plots[id]?.plot.destroy();
    host.replaceChildren();
    plots[id] = { key, plot: new uPlot(options(host, lines), data, host) };
    plots[id].plot.root.querySelector("canvas").setAttribute("role", "img");
  } else {
    plots[id].plot.setData(data);
  }
  describe(plots[id].plot, series, lines);
}

// describe says in words what a chart shows.
function describe(plot, series, lines) {
  const ends = lines.map(([name, values]) => {
    const known = values.filter((v) => v !== null);
    return `${name} from ${number(known[0])} to ${number(known.at(-1))}`;
  });
  plot.root.querySelector("canvas").setAttribute("aria-label", `${ends.join(", ")}; up to step ${series.steps.at(-1)}`);
}

function options(host, lines) {
  const axis = { stroke: color("quiet"), grid: { stroke: color("line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
  return {
    width: host.clientWidth, height,
    scales: { x: { time: false } },
    cursor: { sync: { key: "steps" }, drag: { x: true, y: false }, points: { size: 6 } },
    axes: [
      { ...axis, grid: { show: false }, size: 28, values: (_, ticks) => ticks.map((v) => (Number.isInteger(v) ? whole(v) : "")) },
      { ...axis, size: 52, values: (_, ticks) => ticks.map((v) => compact(v)) },
    ],
    series: [
      { label: "step", value: (u, v) => whole(v ?? u.data[0].at(-1)) },
      ...lines.map(([name], i) => ({
        label: name, stroke: color(palette[i % palette.length]), width: i === 0 ? 2 : 1.5, spanGaps: true, points: { show: false },
        dash: name === "log C" ? [4, 4] : undefined,
        value: (u, v, at) => number(v ?? u.data[at].findLast((x) => x !== null)), // under the cursor, else the newest
      })),
    ],
  };
}

function compact(v) {
  if (Math.abs(v) >= 10_000) return Math.round(v / 1000) + "k";
  return String(Number(v.toPrecision(4)));
}

// Charts follow the width of their place, and the theme.
new ResizeObserver(() => {
  for (const [id, { plot }] of Object.entries(plots)) {
    const width = get("chart-" + id).clientWidth;
    if (width > 0 && width !== plot.width) plot.setSize({ width, height });
  }
}).observe(document.body);
