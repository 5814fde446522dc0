// One run's life, drawn to scale: a lane for each attempt, from left to right as it was.
//
//   1  ░░▓▓▓▓▓▓▓▓▓▓▓▓▓▓◆▒           a machine arrives and restores, the command works, a notice comes, it is saved
//   2               ┈┈┈┈░░▓▓▓▓▓▨✕    the wait for a machine; work that no snapshot kept; a death
//   3                        ┈░░▓▓▓
//
// What each was doing from when to when is the receipt's (person/timeline.py); here it gets its places. Below each bar
// stand the saves. What it shows is in the table of attempts too, in words.

import { el, svg } from "./dom.js";
import { clock, day, ended, goesOn, isOver, lost, moment, place, seconds } from "./words.js";

const BAR = 12, AXIS = 26, LEFT = 34, RIGHT = 16;
// A lane's height, and with many attempts.
const ROOMY = 30, TIGHT = 23, MANY = 7;
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];
const LABEL = 96; // px that a label of the axis needs
const SIGN = 6.3; // px of a sign, at most

export class Timeline {
  constructor() {
    this.scale = svg("svg", { class: "timeline axis", "aria-hidden": "true" });
    this.svg = svg("svg", { class: "timeline", role: "img", "aria-label": "Timeline of the attempts" });
    this.box = el("div", { class: "lanes" }, this.svg);
    this.root = el("figure", { class: "times" }, el("div", { class: "drawing" }, this.scale, this.box), legend());
    this.story = null;
    new ResizeObserver(() => this.draw()).observe(this.box);
  }

  show(story) {
    const grew = (story.legs.length !== this.story?.legs.length) || story.name !== this.story?.name;
    this.story = story;
    this.draw();
    if (grew) this.box.scrollTop = this.box.scrollHeight;
    // Where it scrolls, the keyboard must reach it.
    if (this.box.scrollHeight > this.box.clientHeight) this.box.tabIndex = 0;
    else this.box.removeAttribute("tabindex");
  }

  get live() {
    return this.story !== null && this.story.outcome === null;
  }

  draw() {
    const { story, box } = this, width = box.clientWidth;
    if (!story || width < 60) return;
    const now = story.ended_at ?? Date.now() / 1000;
    const lanes = Math.max(1, story.legs.length + (story.wait ? 1 : 0)), tall = lanes > MANY ? TIGHT : ROOMY;
    const from = story.asked_at ?? story.wait?.since ?? now;
    const until = Math.max(now, from + 1, ...story.legs.map((each) => each.left_at ?? 0));
    const x = (at) => LEFT + ((at - from) / (until - from)) * (width - LEFT - RIGHT);
    const height = lanes * tall + 8, top = (index) => 4 + index * tall + (tall - BAR) / 2 - 2;
    const steps = axis(from, until, width);
    resize(this.scale, width, AXIS);
    this.scale.replaceChildren(...steps.filter(([at, label]) => x(at) + 8 + label.length * SIGN < width).map(([at, label]) =>
      svg("text", { x: x(at) + 4, y: 18 }, label)), ...steps.map(([at]) => rule(x(at), 8, AXIS)));
    resize(this.svg, width, height);
    this.svg.replaceChildren(
      stripes(), svg("g", { class: "axis" }, steps.map(([at]) => rule(x(at), 0, height))),
      ...story.legs.map((each, index) => lane(story, each, index, x, until, width, top(index))),
      ...(story.wait ? [waiting(story, x, until, top(story.legs.length))] : []),
    );
  }
}

function resize(element, width, height) {
  element.setAttribute("viewBox", `0 0 ${width} ${height}`);
  element.setAttribute("width", width);
  element.setAttribute("height", height);
}

const rule = (x, from, to) => svg("line", { x1: Math.round(x) + 0.5, x2: Math.round(x) + 0.5, y1: from, y2: to });

function stripes() {
  return svg("defs", {}, svg("pattern",
    { id: "lost", width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    svg("rect", { width: 5, height: 5, class: "lost-ground" }), svg("rect", { width: 2.2, height: 5, class: "lost-line" })));
}

/** Whole steps of this place's own clock, each with its label. */
function axis(from, until, width) {
  const span = until - from, most = Math.max(1, Math.floor((width - LEFT - RIGHT) / LABEL));
  const step = STEPS.find((each) => span / each <= most) ?? Math.ceil(span / most / 604800) * 604800;
  const zone = new Date(from * 1000).getTimezoneOffset() * 60, found = [];
  for (let at = Math.ceil((from - zone) / step) * step + zone; at <= until; at += step) {
    const date = new Date(at * 1000), midnight = date.getHours() === 0 && date.getMinutes() === 0;
    found.push([at, step >= 86400 || (midnight && step >= 300) ? day(at) : step >= 60 ? clock(at).slice(0, 5) : clock(at)]);
  }
  return found;
}

const SAYS = {
  in: (each, span) => `${place(each)}: arrived and restored in ${span}`,
  work: (each, span) => `at work ${span}`,
  out: (each, span) => `from notice to hand-over ${span}`,
  lost: (each) => `${lost(each)} of work lost`,
};

function lane(story, each, index, x, until, width, y) {
  const group = svg("g", { class: "lane" });
  const silent = story.state === "silent" && goesOn(each), before = story.legs[index - 1];
  const end = goesOn(each) && !silent ? until : each.left_at ?? each.claimed_at ?? until, begun = each.claimed_at ?? end;
  group.append(svg("text", { class: "number", x: LEFT - 10, y: y + BAR - 2, "text-anchor": "end" }, String(each.number)));
  const since = !before ? story.asked_at ?? begun : goesOn(before) ? begun : before.left_at ?? begun;
  const rested = before && isOver(before.end); // a person took it up again: nobody waited
  if (begun > since && !rested) group.append(gap(since, begun, x, y, `waited ${seconds(begun - since)} for a machine`));
  for (const { kind, start, end: left } of each.spans) {
    const stop = left ?? end;
    if (stop > start) group.append(svg("rect", { class: kind, x: x(start), y, width: Math.max(1, x(stop) - x(start)), height: BAR, rx: 1.5 },
      svg("title", {}, SAYS[kind](each, seconds(stop - start)))));
  }
  if (silent) group.append(gap(end, until, x, y, `nothing heard for ${seconds(until - end)}`));
  if (each.saves.length) group.append(saves(each, x, y));
  if (each.noticed_at !== null) group.append(diamond(x(each.noticed_at), y + BAR / 2, `notice, ${moment(each.noticed_at)}`));
  if (!goesOn(each) && each.end !== "interrupted") group.append(mark(each, x(end), y + BAR / 2, end));
  note(group, each, x(since), x(end), y, width);
  return group;
}

function gap(from, to, x, y, words) {
  return svg("line", { class: "gap", x1: x(from), x2: Math.max(x(from), x(to) - 1), y1: y + BAR / 2, y2: y + BAR / 2 },
    svg("title", {}, words));
}

/** One path however many there are; what falls on one pixel is one stroke. */
function saves(each, x, y) {
  const places = new Set(each.saves.map((at) => Math.round(x(at) * 2) / 2));
  const path = [...places].map((place) => `M${place} ${y + BAR + 2}v4`).join("");
  return svg("path", { class: "saves", d: path }, svg("title", {}, `${each.saves.length} saves`));
}

function diamond(x, y, words) {
  return svg("path", { class: "notice", d: `M${x} ${y - 6}l5 6l-5 6l-5-6z` }, svg("title", {}, words));
}

function mark(each, x, y, at) {
  const title = svg("title", {}, `${ended(each.end)}, ${moment(at)}`);
  if (each.end === "died") {
    return svg("path", { class: "died", d: `M${x - 4} ${y - 4}l8 8m0-8l-8 8` }, title);
  }
  return svg("circle", { class: `end ${each.end}`, cx: x, cy: y, r: 5 }, title);
}

/** How it ended, beside the bar where there is room. */
function note(group, each, left, right, y, width) {
  const words = each.end === "interrupted" && each.save_s !== null
    ? `interrupted, saved in ${seconds(each.save_s)}` : goesOn(each) ? "" : ended(each.end);
  const room = words.length * SIGN + 14;
  if (!words || (right + room > width && left - LEFT < room)) return;
  const after = right + room <= width;
  group.append(svg("text", {
    class: "note", x: after ? right + 10 : left - 8, y: y + BAR - 2, "text-anchor": after ? "start" : "end",
  }, words));
}

function waiting(story, x, until, y) {
  const last = story.legs.at(-1), since = (last && !goesOn(last) ? last.left_at : null) ?? story.wait.since ?? story.asked_at;
  return svg("g", { class: "lane" },
    svg("text", { class: "number", x: LEFT - 10, y: y + BAR - 2, "text-anchor": "end" }, String(story.wait.attempt)),
    gap(Math.min(since, until), until, x, y, story.wait.why));
}

function legend() {
  const item = (kind, words) => el("span", { class: `key ${kind}` }, words);
  return el("figcaption", {}, item("gap", "waiting"), item("in", "arriving"), item("work", "at work"),
    item("notice", "notice"), item("out", "saving, handing over"), item("saves", "save"), item("lost", "work lost"));
}
