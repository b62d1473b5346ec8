// Jobs, the head of a run, workers and lanes, checkpoints, events.

import { bytes, duration, fill, get, make, milliseconds, moment, number, percent, ranges, say, whole } from "/dash/dom.js";

const palette = ["one", "two", "three", "four", "five", "six"];
const steps = (r) => (r.total ? `${whole(r.step)} of ${whole(r.total)}` : whole(r.step));

// jobs lists the runs, the newest first, without moving the keyboard's focus.
export function jobs(runs, chosen, choose) {
  const list = get("jobs");
  get("no-jobs").hidden = runs.length > 0;
  const wanted = [...runs].reverse();
  if (wanted.map((r) => r.run).join("\n") !== [...list.children].map((li) => li.dataset.run).join("\n")) {
    fill(list, wanted.map((r) => {
      const button = make("button", { type: "button" },
        make("span", { className: "name", text: r.run }), make("span", { className: "phase" }), make("span", { className: "step" }));
      button.addEventListener("click", () => choose(r.run));
      return make("li", { "data-run": r.run }, button);
    }));
  }
  wanted.forEach((r, i) => {
    const button = list.children[i].firstChild, [, phase, step] = button.children;
    button.setAttribute("aria-current", String(r.run === chosen));
    say(phase, r.phase);
    phase.dataset.phase = r.phase;
    say(step, steps(r));
  });
}

// head shows where a run stands; last are its newest values.
export function head(r, series) {
  say(get("run-name"), r.run);
  say(get("phase"), r.phase);
  get("phase").dataset.phase = r.phase;
  say(get("job"), `job ${r.job} · submitted ${moment(r.submitted, true)}`);
  get("reason").hidden = !r.reason;
  say(get("reason"), r.reason);
  const bar = get("progress");
  bar.setAttribute("aria-valuemax", r.total || 1);
  bar.setAttribute("aria-valuenow", r.step);
  bar.firstChild.style.width = (r.total ? 100 * Math.min(1, r.step / r.total) : 0) + "%";
  const last = (name, value) => value || series.last(name);
  const rows = [
    ["Step", steps(r)],
    ["Loss", number(last("loss", r.loss))],
    ["Mutual information", number(last("mutual_information", r.mutual_information)), "nat"],
    ["Throughput", r.images_per_second ? whole(Math.round(r.images_per_second)) : "–", "images/s"],
    ["Time left", r.images_per_second ? duration(r.eta_seconds) : "–"],
    ["Generation", whole(r.generation)],
  ];
  const figures = rows.map(([name, value, unit]) => make("div", {}, make("dt", { text: name }),
    make("dd", { text: value }, ...(unit && value !== "–" ? [make("small", { text: unit })] : []))));
  fill(get("figures"), figures);
  const most = r.max_workers ? `to ${r.max_workers}` : "or more";
  const more = [["storage", r.storage], ["digest of the job", r.digest], ["workers that it needs", `${r.min_workers} ${most}`]];
  if (r.weights_sha256) more.push(["SHA-256 of the weights", r.weights_sha256]);
  fill(get("more"), more.flatMap(([name, value]) => [make("dt", { text: name }), make("dd", { text: value })]));
}

// workers lists those of the run by rank, then the others of the cluster.
export function workers(status, r) {
  const of = r ? r.workers : [], ids = new Set(of.map((w) => w.id));
  const others = status.workers.filter((w) => !ids.has(w.id));
  const longest = Math.max(...of.map((w) => w.compute_seconds + w.wait_seconds + w.send_seconds), 1e-9);
  fill(get("workers").tBodies[0], [...of.map((w) => row(w, status.time, longest, r)), ...others.map((w) => row(w, status.time, 0, r))],
    get("no-workers"));
  get("workers").hidden = of.length + others.length === 0;
  get("slow").hidden = !r?.slow;
  if (r?.slow) {
    const verb = { compute: "computes", send: "sends", receive: "receives" }[r.slow.cause] ?? r.slow.cause;
    say(get("slow"), `${r.slow.worker} (rank ${r.slow.rank}) is slow: the others wait while it ${verb}.`);
  }
  lanes(of);
}

function row(w, now, longest, r) {
  const mine = longest > 0, cells = [
    make("th", { scope: "row", text: w.id, title: `process ${w.pid}, ${w.threads} threads, ${w.kernel} kernels` }),
    make("td", { text: w.host }), make("td", { className: "n", text: w.rank < 0 ? "" : w.rank }),
    make("td", { text: ranges(w.lanes) }), make("td", { text: mine || !w.run ? w.activity : `${w.activity}, ${w.run}` }),
    make("td", { className: "n", text: whole(w.step) }), make("td", {}, mine ? bar(w, longest) : ""),
    ...[w.compute_seconds, w.wait_seconds, w.send_seconds].map((v) => make("td", { className: "n", text: milliseconds(v) })),
    make("td", { className: "n", text: w.exchange_seconds > 0 ? percent(w.hidden) : "" }),
    make("td", { className: "n", text: duration((new Date(now) - new Date(w.heard)) / 1000) + " ago" }),
  ];
  return make("tr", { className: mine ? (r.slow?.worker === w.id ? "slow" : "") : "other" }, ...cells);
}

// bar shows where a worker's last step went.
function bar(w, longest) {
  const parts = [["compute", w.compute_seconds], ["wait", w.wait_seconds], ["send", w.send_seconds]];
  const text = parts.map(([name, v]) => `${name} ${milliseconds(v) || "0 ms"}`).join(", ");
  const e = make("div", { className: "bar", role: "img", "aria-label": text, title: text });
  for (const [name, v] of parts) {
    const part = make("i", { className: name });
    part.style.width = (100 * v) / longest + "%";
    e.append(part);
  }
  return e;
}

function lanes(of) {
  const carried = of.flatMap((w) => w.lanes.map((lane) => [lane, w])).sort((a, b) => a[0] - b[0]);
  fill(get("lanes"), carried.map(([lane, w]) => {
    const li = make("li", {}, make("b", { text: lane }), " " + w.id);
    li.style.setProperty("--lane", `var(--${palette[w.rank % palette.length]})`);
    return li;
  }));
}

export function checkpoints(list) {
  fill(get("checkpoints").tBodies[0], list.map((c) => make("tr", {},
    make("th", { scope: "row", className: "n", text: whole(c.step) }),
    make("td", { text: c.state + (c.reason ? ": " + c.reason : "") }),
    make("td", { className: "n", text: bytes(c.bytes) }), make("td", { text: moment(c.modified, true) }),
    make("td", { className: "n", text: number(c.metrics.loss) }))), get("no-checkpoints"));
  get("checkpoints").hidden = list.length === 0;
}

export function events(list, run) {
  const wanted = get("all-events").checked ? list : list.filter((e) => !e.run || e.run === run);
  fill(get("events"), [...wanted].reverse().map((e) => make("li", {},
    make("time", { datetime: e.time, text: moment(e.time, true) }),
    make("b", { text: [get("all-events").checked ? e.run : "", e.worker].filter(Boolean).join(" ") || "–" }),
    make("span", { text: e.text }))), get("no-events"));
}
