// The page: one stream of events from the server, the list, the run in view, and the keys.

import { byId, refusal, say } from "./dom.js";
import { RunList } from "./list.js";
import { RunView } from "./run.js";

const list = new RunList(byId("list"), byId("count"), byId("filter"), (name) => { location.hash = `#/${name}`; });
const view = new RunView(byId("run"), { back: () => { location.hash = ""; }, act: question });
const NAME = /^#\/([a-z0-9-]{1,40})$/;

// --- the stream

let stream = null, last = "", lost = 0;

/** A new one for each run in view: it says what it has, and is told what is new since. */
function listen(run) {
  stream?.close();
  const asked = new URLSearchParams({ since: last, ...(run ? { run } : {}) });
  const mine = (stream = new EventSource(`/api/events?${asked}`));
  const on = (name, take) => mine.addEventListener(name, (event) => {
    if (mine !== stream) return;
    last = event.lastEventId || last;
    take(JSON.parse(event.data));
    // What a profile shows: from the message to the picture. 0.1 s for ten thousand runs (November 2026).
    requestAnimationFrame(() => performance.measure(`${name} drawn`, { start: event.timeStamp }));
  });
  on("runs", (message) => list.take(message));
  on("run", (message) => view.take(message));
  on("log", (message) => view.log.take(message));
  // The last of what belongs together: only now is it known what was heard, or a run in view would cost all rows again.
  on("trouble", (message) => {
    trouble(message);
    if (!greeted) greet();
  });
  mine.onopen = () => { lost = 0; trouble(""); };
  mine.onerror = () => {
    if (mine !== stream) return;
    lost += 1;
    if (lost > 1 || mine.readyState === EventSource.CLOSED) explain();
    if (mine.readyState === EventSource.CLOSED) setTimeout(() => mine === stream && listen(run), 2000);
  };
}

// A page out of sight lets go: nobody looks, so the store is not asked; and a browser has six connections to a server, so
// that the seventh tab would wait for ever. Some seconds later, for who only looks something up.
const AWAY_MS = 3000;
let away = null;

document.addEventListener("visibilitychange", () => {
  clearTimeout(away);
  if (document.hidden) {
    away = setTimeout(() => { stream?.close(); stream = null; }, AWAY_MS);
  } else if (stream === null) {
    listen(view.opened);
  }
});

/** It is not there, or it is another one, which does not know this browser. */
async function explain() {
  const answer = await fetch("/api/place").catch(() => null);
  trouble(answer?.status === 401 ? await refusal(answer) : "spotrelay ui does not answer. The page tries again by itself.");
}

function trouble(words) {
  byId("trouble").hidden = !words;
  say(byId("trouble"), words);
}

// --- which run is in view

let greeted = false;

/** Where both have room, the first run of the list stands beside it from the beginning. */
function greet() {
  const first = list.order.find((row) => row.state);
  if (!first) return;
  greeted = true;
  if (view.opened || narrow()) return;
  history.replaceState(null, "", `#/${first.name}`);
  route();
}

function route() {
  const name = NAME.exec(location.hash)?.[1] ?? null;
  document.body.dataset.view = name ? "run" : "list";
  document.title = name ? `${name} · spotrelay` : "spotrelay";
  list.choose(name);
  if (!name) list.restore();
  view.open(name);
  listen(name);
  if (name && matchMedia("(max-width: 800px)").matches) byId("run").focus();
}

// --- stop and resume

const WORDS = {
  stop: {
    title: (name) => `Stop ${name}?`, yes: "Stop the run", no: "Let it run",
    text: "Its command is told to save and end, the directory is saved, and the machine is given back.",
  },
  resume: {
    title: (name) => `Resume ${name}?`, yes: "Resume the run", no: "Leave it",
    text: "It goes on from its newest snapshot, on a new machine.",
  },
};

function question(action, story) {
  const dialog = byId("question"), words = WORDS[action], yes = byId("question-yes"), error = byId("question-error");
  say(byId("question-title"), words.title(story.name));
  say(byId("question-text"), words.text);
  say(byId("question-no"), words.no);
  say(yes, words.yes);
  yes.dataset.action = action;
  yes.disabled = false;
  error.hidden = true;
  yes.onclick = async () => {
    yes.disabled = true;
    const response = await fetch(`/api/runs/${story.name}/${action}`, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: "{}",
    }).catch(() => null);
    if (response?.ok) return void dialog.close();
    yes.disabled = false;
    error.hidden = false;
    say(error, response ? await refusal(response) : "The page's server does not answer.");
  };
  dialog.showModal();
}

// --- keys

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const typing = event.target.matches("input[type=search]");
  if (event.key === "Escape") {
    if (typing && event.target.value) return; // it clears itself
    location.hash = "";
    byId("list").focus();
    return;
  }
  if (typing) return;
  const open = view.opened !== null;
  const steps = {
    "/": () => { location.hash = narrow() ? "" : location.hash; byId("filter").focus(); byId("filter").select(); },
    "?": () => byId("help").showModal(),
    l: () => open && view.select("log"),
    f: () => open && view.select("files"),
    a: () => open && view.select("attempts"),
    s: () => open && view.ask(),
    g: () => open && view.log.toBeginning(),
    G: () => open && view.log.toEnd(),
  };
  const step = steps[event.key];
  if (!step) return;
  event.preventDefault();
  step();
});

const narrow = () => matchMedia("(max-width: 800px)").matches;

fetch("/api/place").then((answer) => answer.json()).then((place) => { view.resumes = place.resumes; view.tick(); }).catch(() => {});
addEventListener("hashchange", route);
setInterval(() => list.draw(), 15_000); // "3 m" becomes "4 m"
route();
if (!view.opened) byId("list").focus({ preventScroll: true });
