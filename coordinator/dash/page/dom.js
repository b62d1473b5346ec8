// Small helpers: elements, and how numbers and times are written.

export const get = (id) => document.getElementById(id);

// make builds an element; text is never read as HTML.
export function make(name, { text, className, ...attributes } = {}, ...children) {
  const e = document.createElement(name);
  if (text !== undefined) e.textContent = text;
  if (className) e.className = className;
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  e.append(...children);
  return e;
}

// show puts children into an element, or says that there are none.
export function fill(element, children, none) {
  element.replaceChildren(...children);
  if (none) none.hidden = children.length > 0;
}

export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export const color = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

export function number(v, digits = 4) {
  if (v === null || v === undefined || !Number.isFinite(v)) return "–";
  const size = Math.abs(v);
  if (size !== 0 && (size < 1e-4 || size >= 1e7)) return v.toExponential(digits - 2);
  if (size >= 1000) return Math.round(v).toLocaleString("en");
  return v.toFixed(size >= 10 ? Math.min(digits, 1) : digits);
}

export const whole = (v) => v.toLocaleString("en");
export const percent = (v) => (100 * v).toFixed(0) + " %";

export function bytes(v) {
  for (const unit of ["B", "kB", "MB", "GB", "TB"]) {
    if (v < 1000 || unit === "TB") return (v < 10 && unit !== "B" ? v.toFixed(1) : Math.round(v)) + " " + unit;
    v /= 1000;
  }
}

export function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return s + " s";
  if (s < 3600) return Math.floor(s / 60) + " min " + String(s % 60).padStart(2, "0") + " s";
  return Math.floor(s / 3600) + " h " + String(Math.floor(s / 60) % 60).padStart(2, "0") + " min";
}

export const milliseconds = (v) => (v ? Math.round(1000 * v) + " ms" : "");

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

// moment writes a time of today without its day.
export function moment(text, withDay) {
  const t = new Date(text);
  return (withDay && t.toDateString() !== new Date().toDateString() ? day.format(t) + " " : "") + clock.format(t);
}

// ranges writes lanes as 0–3, 7.
export function ranges(lanes) {
  const parts = [];
  for (let i = 0; i < lanes.length;) {
    let j = i;
    while (j + 1 < lanes.length && lanes[j + 1] === lanes[j] + 1) j++;
    parts.push(i === j ? `${lanes[i]}` : `${lanes[i]}–${lanes[j]}`);
    i = j + 1;
  }
  return parts.join(", ");
}
