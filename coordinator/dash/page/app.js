// The page: it asks for a token, follows the cluster by one stream, and shows one of its runs.

import * as charts from "/dash/charts.js";
import * as facts from "/dash/facts.js";
import * as matrix from "/dash/matrix.js";
import * as tables from "/dash/tables.js";
import * as theme from "/dash/theme.js";
import { get, moment, say } from "/dash/dom.js";
import { Series } from "/dash/series.js";
import { bearer, said, Stream } from "/dash/stream.js";

let stream = null, status = null, run = null, series = new Series(), events = [], saved = "", picture = "";

const token = () => sessionStorage.getItem("pupil-token");
const chosen = () => status?.runs.find((r) => r.run === run);

// ask asks for data of the shown run.
async function ask(what) {
  const answer = await fetch(`/v1/runs/${encodeURIComponent(run)}/${what}`, { headers: bearer(token()), cache: "no-store" });
  if (!answer.ok) throw new Error(await said(answer));
  return answer;
}

// follow opens the stream of the shown run in place of the one before.
function follow() {
  stream?.close();
  const path = "/v1/stream" + (run ? "?run=" + encodeURIComponent(run) : "");
  stream = new Stream(path, token(), {
    open() { get("login").hidden = true; get("cluster").hidden = false; get("leave").hidden = !token(); },
    lost(why) { link("lost", `No coordinator answers (${why}); trying again. What is shown is of ${status ? moment(status.time) : "before"}.`); },
    refused(why) { login(token() ? why : ""); sessionStorage.removeItem("pupil-token"); },
    status: show,
    events(list) { take(list); },
    series(update) {
      series.take(update);
      charts.draw(series);
      if (update.distributions) matrix.take(update.distributions);
      if (chosen()) tables.head(chosen(), series);
    },
  });
  stream.last = events.length ? String(events.at(-1).sequence) : "";
}

function link(state, text) {
  get("link").dataset.state = state;
  say(get("link"), text);
}

function show(newer) {
  status = newer;
  const workers = status.workers.length === 1 ? "1 worker" : `${status.workers.length} workers`;
  link("live", `Live · ${status.leader} leads · ${workers}`);
  if (!chosen() && status.runs.length) {
    const wished = decodeURIComponent(location.hash.slice(1));
    const first = status.runs.find((r) => r.run === wished) ?? status.runs.findLast((r) => r.phase === "running") ?? status.runs.at(-1);
    choose(first.run);
    return;
  }
  tables.jobs(status.runs, run, choose);
  const r = chosen();
  document.title = r ? `${r.run} · ${r.phase} · Pupil` : "Pupil";
  tables.workers(status, r);
  if (!r) return;
  tables.head(r, series);
  const newest = r.run + r.checkpoints.join() + r.phase;
  if (newest !== saved) {
    saved = newest;
    listCheckpoints();
  }
}

// choose shows another run.
function choose(name) {
  if (name === run) return;
  run = name;
  history.replaceState(null, "", "#" + encodeURIComponent(run));
  series = new Series();
  saved = "";
  charts.draw(series);
  matrix.take(null);
  forget();
  tables.events(events, run);
  show(status);
  follow();
}

// forget takes away what was asked for of another run.
function forget() {
  for (const id of ["audit-result", "checkpoints-error"]) get(id).replaceChildren();
  tables.checkpoints([]);
  get("views").hidden = true;
  get("views").removeAttribute("src");
  if (picture) URL.revokeObjectURL(picture);
  picture = "";
}

// take adds events; a stream that begins anew may repeat some.
function take(list) {
  const key = (e) => `${e.sequence} ${e.run} ${e.worker} ${e.text}`, known = new Set(events.map(key));
  events = events.concat(list.filter((e) => !known.has(key(e)))).slice(-1000);
  tables.events(events, run);
}

async function listCheckpoints() {
  const of = run;
  try {
    const list = await (await ask("checkpoints")).json();
    if (of === run) tables.checkpoints(list);
    say(get("checkpoints-error"), "");
  } catch (error) {
    if (of === run) { say(get("checkpoints-error"), error.message); saved = ""; }
  }
}

// task lets a button do what takes a while, and says how it goes.
function task(button, note, busy, work) {
  get(button).addEventListener("click", async () => {
    const of = run;
    if (!of) { say(get(note), "There is no run yet."); return; }
    get(button).disabled = true;
    get(note).classList.remove("error");
    say(get(note), busy);
    try {
      const done = await work(() => of === run);
      say(get(note), of === run ? done : "");
    } catch (error) {
      get(note).classList.add("error");
      say(get(note), error.message);
    } finally {
      get(button).disabled = false;
    }
  });
}

task("audit", "audit-note", "Proving …", async (current) => {
  const report = await (await ask("audit")).json();
  if (current()) facts.audit(report);
  return `As of ${moment(new Date())}.`;
});
task("draw", "views-note", "Drawing …", async (current) => {
  const data = await (await ask("views.png")).blob();
  if (!current()) return "";
  if (picture) URL.revokeObjectURL(picture);
  picture = URL.createObjectURL(data);
  get("views").src = picture;
  get("views").hidden = false;
  return "One image a row: the original, the teacher's views, the student's views.";
});

function login(why) {
  stream?.close();
  get("cluster").hidden = true;
  get("leave").hidden = true;
  get("login").hidden = false;
  link("wait", "A token is needed");
  say(get("refused"), why ?? "");
  get("token").focus();
}

get("login").querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const typed = get("token").value.trim();
  get("token").value = "";
  if (/[^\x20-\x7e]/.test(typed) || !typed) { say(get("refused"), "A token has only letters, digits and common signs."); return; }
  sessionStorage.setItem("pupil-token", typed);
  say(get("refused"), "");
  link("wait", "Connecting …");
  follow();
});
get("leave").addEventListener("click", () => {
  sessionStorage.removeItem("pupil-token");
  location.replace("/"); // with all that was shown
});
get("other").addEventListener("change", () => charts.draw(series));
get("all-events").addEventListener("change", () => tables.events(events, run));
get("keys").addEventListener("click", () => get("help").showModal());

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || get("help").open || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  const runs = status ? [...status.runs].reverse() : [], at = runs.findIndex((r) => r.run === run);
  if (event.key === "j" && at + 1 < runs.length) choose(runs[at + 1].run);
  else if (event.key === "k" && at > 0) choose(runs[at - 1].run);
  else if (event.key === "t") get("theme").click();
  else if (event.key === "?") get("help").showModal();
});

// A local run prints an address whose fragment has the token; it leaves the address bar at once.
if (location.hash.startsWith("#token=")) {
  sessionStorage.setItem("pupil-token", decodeURIComponent(location.hash.slice("#token=".length)));
  history.replaceState(null, "", "/");
}
theme.watch(() => { charts.draw(series); matrix.draw(); });
get("no-joint").hidden = false;
follow(); // without a token first: coordinators may let anybody look
