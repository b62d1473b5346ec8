// The results of an audit, and of a chaos run whose report the user gives the page.

import { fill, get, make, number, percent, say, whole } from "/dash/dom.js";

const fact = (name, text, className) => [make("dt", { text: name }), make("dd", { text, className: className ?? "" })];
const verdict = (name, good, yes = "yes", no = "NO") => fact(name, good ? yes : no, good ? "good" : "bad");

export function audit(r) {
  const left = r.left_out?.reduce((n, l) => n + l.samples.length, 0) ?? 0;
  fill(get("audit-result"), [
    verdict("each sample exactly once an epoch", r.exactly_once),
    verdict("steps without a gap", r.gapless),
    fact("committed steps", `${whole(r.committed_steps)} of ${whole(r.total_steps)}, ${whole(r.steps_per_epoch)} an epoch`),
    fact("uses of samples", `${whole(r.uses)} of ${whole(r.samples)} samples in ${whole(r.epochs)} whole epochs`),
    fact("missing, repeated", `${whole(r.missing?.length ?? 0)}, ${whole(r.repeated?.length ?? 0)}${r.truncated ? " and more" : ""}`),
    fact("left out by short last batches", whole(left)),
    ...(r.gaps ?? []).map((g) => fact("gap", g, "bad")),
  ].flat());
}

// chaos shows a report of coordinator chaos --json.
export function chaos(r) {
  const need = ["hash_equal", "faults", "steps_lost", "samples_lost", "recovery_ms", "recovery_by"];
  const lacks = need.filter((key) => r?.[key] === undefined);
  if (lacks.length) throw new Error(`this is no report of coordinator chaos: it has no ${lacks.join(", ")}`);
  const ms = (v) => `${number(v, 0)} ms`;
  fill(get("chaos-result"), [
    verdict("same weights as without faults", r.hash_equal),
    verdict("each sample exactly once", r.exactly_once),
    fact("outcome", `${r.outcome} after ${whole(r.steps)} steps, ${whole(r.generations)} generations`),
    fact("faults", `${whole(r.faults)} of ${whole(r.planned)} planned, on ${r.workers} workers and ${r.coordinators} coordinators`),
    fact("lost", `${whole(r.steps_lost)} steps, ${whole(r.samples_lost)} samples`, r.steps_lost + r.samples_lost ? "bad" : "good"),
    fact("recovery", `p50 ${ms(r.recovery_ms.p50)}, p99 ${ms(r.recovery_ms.p99)}, most ${ms(r.recovery_ms.max)}`),
    fact("goodput", percent(r.goodput)),
    r.goodput_between ? fact("at the pace between faults", percent(r.goodput_between)) : [],
  ].flat());
  const cell = (text) => make("td", { className: "n", text });
  fill(get("chaos-table").tBodies[0], r.recovery_by.map((x) => make("tr", {}, make("th", { scope: "row", text: x.fault }),
    cell(whole(x.faults)), cell(ms(x.p50)), cell(ms(x.p99)), cell(ms(x.max)))));
  get("chaos-scroll").hidden = r.recovery_by.length === 0;
}

async function read(file) {
  say(get("chaos-error"), "");
  get("chaos-result").replaceChildren();
  get("chaos-scroll").hidden = true;
  try {
    if (file.size > 16e6) throw new Error("it has more than 16 MB");
    chaos(JSON.parse(await file.text()));
  } catch (error) {
    say(get("chaos-error"), `${file.name}: ${error.message}`);
  }
}

const drop = get("drop");
get("file").addEventListener("change", (event) => { if (event.target.files[0]) read(event.target.files[0]); });
for (const kind of ["dragenter", "dragover"]) {
  drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  if (event.dataTransfer.files[0]) read(event.dataTransfer.files[0]);
});
