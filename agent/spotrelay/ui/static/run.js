// One run: what became of it in a sentence, its timeline, its numbers, and behind tabs its log, files and attempts.

import { el, say } from "./dom.js";
import { Files } from "./files.js";
import { Log } from "./log.js";
import { sentence } from "./sentence.js";
import { Timeline } from "./timeline.js";
import {
  bytes, clock, count, dollars, ended, goesOn, interruptions, isOver, lost, lostInAll, place, seconds, tone,
} from "./words.js";

const TABS = [["log", "Log"], ["files", "Files"], ["attempts", "Attempts"]];
// EC2's notice comes 120 s before the end; core/forecast.py counts on 110 of them.
const USABLE_S = 110;

export class RunView {
  constructor(root, { back, act }) {
    Object.assign(this, { root, act, story: null, tab: "log" });
    this.timeline = new Timeline();
    this.log = new Log();
    this.files = new Files();
    this.name = el("h2", {});
    this.state = el("span", { class: "badge" });
    this.command = el("code", { class: "command" });
    this.said = el("p", { class: "sentence" });
    this.warned = el("p", { class: "warning", hidden: true });
    this.button = el("button", { type: "button", class: "act", "aria-keyshortcuts": "s", onclick: () => this.ask() });
    this.numbers = el("dl", { class: "numbers" });
    this.table = el("section", { class: "attempts" });
    this.panels = { log: this.log.root, files: this.files.root, attempts: this.table };
    this.tabs = this.makeTabs();
    this.body = el("article", {},
      el("header", {}, el("button", { type: "button", class: "back", onclick: back, "aria-label": "Back to the runs" }, "‹"),
        el("div", { class: "title" }, this.name, this.state), this.button),
      this.said, this.warned, this.command, this.timeline.root, this.numbers, this.tabs,
      ...Object.values(this.panels));
    this.hint = el("div", { class: "hint" }, el("p", {}, "Choose a run."), el("p", { class: "soft" },
      el("kbd", {}, "↑"), " ", el("kbd", {}, "↓"), " and ", el("kbd", {}, "Enter"), " do, too. ", el("kbd", {}, "?"), " shows all keys."));
    this.select("log");
    this.open(null);
    setInterval(() => this.tick(), 1000);
  }

  makeTabs() {
    const tabs = el("div", { role: "tablist", "aria-label": "Of this run" });
    for (const [name, words] of TABS) {
      tabs.append(el("button", {
        role: "tab", id: `tab-${name}`, type: "button", "aria-controls": `panel-${name}`, onclick: () => this.select(name),
      }, words));
      const panel = this.panels[name];
      panel.id = `panel-${name}`;
      panel.setAttribute("role", "tabpanel");
      panel.setAttribute("aria-labelledby", `tab-${name}`);
    }
    tabs.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const names = TABS.map(([name]) => name);
      const next = names[(names.indexOf(this.tab) + step + names.length) % names.length];
      this.select(next);
      tabs.querySelector(`#tab-${next}`).focus();
    });
    return tabs;
  }

  select(name) {
    this.tab = name;
    for (const [each] of TABS) {
      const chosen = each === name, button = this.tabs.querySelector(`#tab-${each}`);
      button.setAttribute("aria-selected", chosen);
      button.tabIndex = chosen ? 0 : -1;
      this.panels[each].hidden = !chosen;
    }
    this.log.show(name === "log");
    this.files.show(name === "files");
  }

  /** Another run, of which nothing is known yet; null: none. */
  open(name) {
    this.opened = name;
    this.story = null;
    this.log.reset(name);
    this.files.reset(name);
    say(this.name, name ?? "");
    this.body.classList.add("unknown");
    this.root.replaceChildren(name === null ? this.hint : this.body);
    if (name !== null) for (const element of [this.said, this.command, this.state]) say(element, "");
    this.numbers.replaceChildren();
    this.button.hidden = true;
  }

  take(story) {
    if (story.name !== this.opened) return;
    this.story = story;
    this.body.classList.remove("unknown");
    this.log.describe(story.legs, story.outcome !== null);
    this.files.take(story.snapshot, story.saved_at);
    this.timeline.show(story);
    this.fillTable(story);
    this.tick();
  }

  /** What changes by itself as time goes by. */
  tick() {
    const { story } = this;
    if (!story) return;
    const now = Date.now() / 1000;
    this.body.dataset.tone = tone(story.state);
    say(this.state, story.stopping ? "stopping" : story.state);
    say(this.said, sentence(story, now));
    say(this.command, story.command ? story.command.join(" ") : "");
    const warning = story.trouble || (story.now?.warning ?? "");
    this.warned.hidden = !warning;
    say(this.warned, warning);
    this.offer(story);
    this.fillNumbers(numbers(story, now));
    if (this.timeline.live) this.timeline.draw();
  }

  offer(story) {
    const over = isOver(story.state);
    this.button.hidden = over ? !this.resumes : story.stopping || story.state === "unreadable";
    say(this.button, over ? "Resume" : "Stop");
  }

  ask() {
    if (!this.button.hidden && this.story) this.act(isOver(this.story.state) ? "resume" : "stop", this.story);
  }

  fillNumbers(wanted) {
    const same = this.numbers.children.length === wanted.length
      && wanted.every(([name], index) => this.numbers.children[index].firstChild.textContent === name);
    if (!same) {
      this.numbers.replaceChildren(...wanted.map(([name]) =>
        el("div", {}, el("dt", {}, name), el("dd", {}), el("dd", { class: "soft" }))));
    }
    wanted.forEach(([, value, more], index) => {
      const [, first, second] = this.numbers.children[index].children;
      say(first, value);
      say(second, more ?? "");
    });
  }

  fillTable(story) {
    const told = JSON.stringify([story.state, story.legs]);
    if (told === this.told) return;
    this.told = told;
    const head = ["", "Machine", "Began", "Ran", "Ended", "Saved", "Lost", "Back after"];
    const rows = story.legs.map((each) => legRow(each, story)).reverse();
    this.table.replaceChildren(el("table", {},
      el("thead", {}, el("tr", {}, head.map((words) => el("th", { scope: "col" }, words)))), el("tbody", {}, rows)));
  }
}

function legRow(each, story) {
  const silent = story.state === "silent" && goesOn(each);
  const until = goesOn(each) && !silent ? Date.now() / 1000 : each.left_at;
  const ran = each.running_at !== null && until !== null ? until - each.running_at : null;
  const how = [silent ? "silent" : goesOn(each) ? each.phase : ended(each.end), each.exit].filter(Boolean).join(", ");
  return el("tr", {},
    el("th", { scope: "row" }, String(each.number)),
    el("td", {}, place(each), el("span", { class: "soft id" }, each.instance)),
    el("td", {}, each.claimed_at ? clock(each.claimed_at) : "–"),
    el("td", {}, seconds(ran)),
    el("td", {}, how, each.why ? el("span", { class: "soft message" }, each.why) : null),
    el("td", {}, saved(each)),
    el("td", {}, lost(each)),
    el("td", {}, seconds(each.again_s)));
}

/** Several saves may have sent it: what is known of all together is when they were done. */
function saved(each) {
  if (each.saved_bytes === null || each.save_s === null) return each.saves.length ? count(each.saves.length, "save") : "–";
  const took = each.noticed_at ? `${seconds(each.left_at - each.noticed_at)} after the notice` : `in ${seconds(each.save_s)}`;
  return `${bytes(each.saved_bytes)} ${took}`;
}

/** [what, value, more] of what is known. */
function numbers(story, now) {
  const times = interruptions(story), live = story.now, current = story.legs.at(-1);
  const found = [["Attempts", String(story.legs.length), `${times || "no"} interruption${times === 1 ? "" : "s"}`],
    ["Work kept", seconds(story.kept.known), `${lostInAll(story)} lost`]];
  const running = story.state === "running" && live?.phase === "running";
  if (story.outcome && story.asked_at !== null) found.push(["Took", seconds(story.ended_at - story.asked_at), waited(story)]);
  else if (story.saved_at) {
    const size = live?.last_save_bytes;
    found.push(["Last save", `${seconds(Math.floor(Math.max(0, now - story.saved_at)))} ago`,
      running ? nextSave(live, now) : size ? `${bytes(size)} sent` : `snapshot ${story.snapshot}`]);
  }
  if (running) {
    if (live.needed_s !== null) {
      const fits = live.needed_s <= USABLE_S ? "it fits" : "too much";
      found.push(["A notice needs", seconds(live.needed_s), `of 120 s: ${fits}, with ${bytes(live.dirty_bytes)} to send`]);
    }
    if (current?.running_at) {
      found.push(["A death would lose", seconds(Math.floor(Math.max(0, now - current.running_at - live.kept_s))), "if it came now"]);
    }
  }
  if (story.dollars.unknown < story.legs.length) found.push(["Cost", dollars(story.dollars.known), whose(story)]);
  return found;
}

/** Which attempts a cost is of. */
function whose({ dollars: { unknown }, legs, outcome }) {
  if (!unknown) return outcome ? "in all" : "so far";
  if (unknown > 1) return `without ${count(unknown, "attempt")}`;
  const other = legs.find((leg) => leg.dollars === null);
  return other === legs.at(-1) && !outcome ? "without this attempt" : `without attempt ${other.number}`;
}

/** How much of it went by without a machine. */
function waited(story) {
  let free = story.asked_at, sum = 0, before = null;
  for (const each of story.legs) {
    if (each.claimed_at !== null && free !== null && !isOver(before?.end)) sum += Math.max(0, each.claimed_at - free);
    free = each.left_at;
    before = each;
  }
  return `${seconds(sum)} of it waiting`;
}

function nextSave(live, now) {
  if (live.next_save_at === null) return "";
  return live.next_save_at > now ? `next in ${seconds(Math.ceil(live.next_save_at - now))}` : "saving now";
}
