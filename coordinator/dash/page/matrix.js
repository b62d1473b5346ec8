// The joint distribution as a heat map, and the prior beside the student's marginal.

import { color, fill, get, make, number, say, whole } from "/dash/dom.js";

let shown = null; // the newest distributions
let cursor = null; // [row, column]

const group = () => shown.groups[Number(get("group").value) || 0];
const joined = () => shown.columns < shown.student || shown.rows < shown.teacher;

// take shows distributions; null: there are none.
export function take(distributions) {
  if (distributions?.run !== shown?.run) cursor = null;
  shown = distributions;
  get("distributions").hidden = !shown;
  get("no-joint").hidden = Boolean(shown);
  say(get("joint-step"), shown ? `step ${whole(shown.step)}` : "");
  get("group-label").hidden = !shown || shown.groups.length < 2;
  if (!shown) return;
  const select = get("group"), chosen = select.value;
  if (select.options.length !== shown.groups.length) {
    fill(select, shown.groups.map((_, i) => make("option", { value: i, text: `${i + 1} of ${shown.total}` })));
    if (Number(chosen) < shown.groups.length) select.value = chosen || "0";
  }
  draw();
}

export function draw() {
  if (!shown) return;
  drawJoint();
  drawPrior();
}

// heat is a colour of the scale, for a share of 0 to 1.
function heat(stops, share) {
  const x = Math.min(share, 1) * (stops.length - 1), i = Math.min(Math.floor(x), stops.length - 2);
  return stops[i].map((v, k) => Math.round(v + (x - i) * (stops[i + 1][k] - v)));
}

const stops = () => [0, 1, 2, 3].map((i) => color("heat-" + i).match(/[0-9a-f]{2}/gi).map((h) => parseInt(h, 16)));

// paint sets a canvas's pixels, which its style makes large.
function paint(canvas, width, height, share) {
  canvas.width = width; canvas.height = height;
  const context = canvas.getContext("2d"), image = context.createImageData(width, height), colors = stops();
  for (let i = 0; i < width * height; i++) image.data.set([...heat(colors, share(i)), 255], 4 * i);
  context.putImageData(image, 0, 0);
}

function drawJoint() {
  const { rows, columns } = shown, { joint } = group(), most = Math.max(...joint) || 1;
  const size = Math.max(1, Math.floor(512 / Math.max(rows, columns))); // pixels of a cell
  const canvas = get("joint"), width = columns * size;
  paint(canvas, width, rows * size, (i) => {
    const column = Math.floor((i % width) / size), row = Math.floor(i / width / size);
    return joint[row * columns + column] / most;
  });
  if (cursor) {
    const context = canvas.getContext("2d");
    context.lineWidth = Math.max(2, size / 12);
    context.strokeStyle = color("two");
    context.strokeRect(cursor[1] * size + 1, cursor[0] * size + 1, size - 2, size - 2);
  }
  paint(get("scale"), 256, 1, (i) => i / 255);
  say(get("most"), number(most));
  const blocks = joined() ? `, joined to ${rows} by ${columns} blocks` : "";
  canvas.setAttribute("aria-label",
    `Joint distribution of ${shown.teacher} classes of the teacher and ${shown.student} of the student${blocks}; the largest is ${number(most)}`);
  tell();
}

// tell says what is under the cursor.
function tell() {
  if (!cursor) return;
  const [row, column] = cursor, what = joined() ? "block" : "class";
  say(get("cell"), `teacher's ${what} ${row}, student's ${what} ${column}: ${number(group().joint[row * shown.columns + column])}`);
}

function marginal() {
  const out = new Array(shown.columns).fill(0);
  group().joint.forEach((v, i) => { out[i % shown.columns] += v; });
  return out;
}

function drawPrior() {
  const canvas = get("prior"), ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  canvas.width = width * ratio; canvas.height = height * ratio;
  const context = canvas.getContext("2d"), { prior } = group(), student = marginal();
  const most = Math.max(...prior, ...student) * 1.08 || 1, left = 44, floor = height - 20;
  const x = (j) => left + ((width - left) * j) / prior.length, y = (v) => floor - ((floor - 6) * v) / most;
  context.scale(ratio, ratio);
  context.font = "11px system-ui, sans-serif";
  context.fillStyle = color("quiet"); context.strokeStyle = color("line");
  context.textAlign = "right"; context.textBaseline = "middle";
  for (const share of [0, 0.5, 1]) {
    context.beginPath(); context.moveTo(left, y(share * most / 1.08)); context.lineTo(width, y(share * most / 1.08)); context.stroke();
    context.fillText(number(share * most / 1.08, 3), left - 6, y(share * most / 1.08));
  }
  const gap = Math.min(6, (width - left) / prior.length / 5), wide = (width - left) / prior.length - gap;
  context.fillStyle = color("one");
  prior.forEach((v, j) => context.fillRect(x(j) + gap / 2, y(v), wide, floor - y(v)));
  context.strokeStyle = color("two"); context.lineWidth = 2.5;
  student.forEach((v, j) => { context.beginPath(); context.moveTo(x(j), y(v)); context.lineTo(x(j) + wide + gap, y(v)); context.stroke(); });
  context.fillStyle = color("quiet"); context.textAlign = "center"; context.textBaseline = "top";
  const every = Math.ceil(prior.length / 16);
  for (let j = 0; j < prior.length; j += every) context.fillText(String(j), x(j) + (wide + gap) / 2, floor + 5);
  canvas.setAttribute("aria-label", `Prior over ${shown.student} classes, from ${number(Math.min(...prior))} to ${number(Math.max(...prior))}`);
  table(prior, student);
}

function table(prior, student) {
  const { m, d, a } = group(), plain = m.length === prior.length; // one summand
  const cell = (v) => make("td", { className: "n", text: v });
  fill(get("prior-table").tBodies[0], prior.map((p, j) => make("tr", {}, make("th", { scope: "row", className: "n", text: j }), cell(number(p)),
    cell(number(student[j])), ...[m, d, a].map((v) => cell(plain ? number(v[j]) : "–")))));
}

function move(row, column) {
  cursor = [Math.max(0, Math.min(shown.rows - 1, row)), Math.max(0, Math.min(shown.columns - 1, column))];
  drawJoint();
}

get("joint").addEventListener("pointermove", (event) => {
  const box = event.target.getBoundingClientRect();
  move(Math.floor((event.clientY - box.top) / box.height * shown.rows), Math.floor((event.clientX - box.left) / box.width * shown.columns));
});
get("joint").addEventListener("keydown", (event) => {
  const by = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  if (!by) return;
  event.preventDefault();
  const [row, column] = cursor ?? [-by[0], -by[1]];
  move(row + by[0], column + by[1]);
});
get("group").addEventListener("change", draw);
new ResizeObserver(() => { if (shown) drawPrior(); }).observe(get("prior").parentElement);
