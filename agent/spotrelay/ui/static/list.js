// The list of runs: of ten thousand, the twenty that are in sight are elements, used again as it scrolls.

import { el, say } from "./dom.js";
import { about, count, isOver, tone } from "./words.js";

const ROW = 56; // px, as page.css has it
const BEYOND = 6; // rows drawn out of sight, so that a quick wheel shows no gap

// What somebody must look at, what goes on, what is over, what nobody has looked at yet.
const rank = (row) =>
  row.state === "" ? 3 : isOver(row.state) ? 2 : ["stuck", "silent", "unreadable"].includes(row.state) ? 0 : 1;

/** What is over by its end; what goes on by name, for its heartbeat would shuffle it. */
function compare(one, other) {
  const ranks = rank(one) - rank(other);
  if (ranks) return ranks;
  if (isOver(one.state) && one.at !== other.at) return other.at - one.at;
  return one.name < other.name ? -1 : 1;
}

export class RunList {
  constructor(root, counter, filter, open) {
    Object.assign(this, { root, counter, filter, open });
    this.rows = new Map();
    this.order = [];
    this.elements = [];
    this.active = null; // the name that the keyboard is at
    this.chosen = null; // the one in view
    this.inner = el("div", { class: "rows", role: "presentation" });
    this.empty = el("p", { class: "empty", hidden: true });
    root.append(this.inner, this.empty);
    this.top = 0;
    root.addEventListener("scroll", () => {
      if (root.clientHeight) this.top = root.scrollTop;
      this.draw();
    }, { passive: true });
    root.addEventListener("keydown", (event) => this.key(event));
    root.addEventListener("focus", () => { this.active ??= this.order[0]?.name ?? null; this.draw(); });
    root.addEventListener("click", (event) => {
      const row = event.target.closest("[data-name]");
      if (row) this.pick(row.dataset.name);
    });
    filter.addEventListener("input", () => { root.scrollTop = 0; this.sort(); });
    filter.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown" || event.key === "Enter") {
        event.preventDefault();
        this.active = this.order[0]?.name ?? null;
        if (event.key === "Enter" && this.active) this.pick(this.active);
        else root.focus();
        this.draw();
      }
    });
    new ResizeObserver(() => this.draw()).observe(root);
  }

  /** A message of the server's. */
  take({ whole, rows, gone }) {
    if (whole) this.rows.clear();
    for (const row of rows) this.rows.set(row.name, row);
    for (const name of gone) this.rows.delete(name);
    this.known = true;
    this.sort();
  }

  choose(name) {
    this.chosen = name;
    this.active = name ?? this.active;
    this.draw();
  }

  /** In a narrow window it was away, and a browser forgets where such a list was. */
  restore() {
    this.root.scrollTop = this.top;
  }

  pick(name) {
    this.active = name;
    this.open(name);
  }

  sort() {
    const words = this.filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (row) => words.every((word) => `${row.name} ${row.state} ${row.where}`.toLowerCase().includes(word));
    const all = [...this.rows.values()];
    this.order = (words.length ? all.filter(fits) : all).sort(compare);
    this.inner.style.height = `${this.order.length * ROW}px`;
    say(this.counter, this.summary(all));
    this.empty.hidden = this.order.length > 0 || !this.known;
    say(this.empty, words.length ? "No run fits." : "There are no runs yet.");
    this.draw();
  }

  summary(all) {
    const open = all.filter((row) => row.state && !isOver(row.state)).length;
    if (!all.length) return "";
    return `${open.toLocaleString("en")} open · ${count(all.length, "run")}`;
  }

  draw() {
    const { root, order, elements } = this;
    const first = Math.max(0, Math.floor(root.scrollTop / ROW) - BEYOND);
    const last = Math.min(order.length, Math.ceil((root.scrollTop + root.clientHeight) / ROW) + BEYOND);
    while (elements.length < last - first) {
      const made = this.make();
      elements.push(made);
      this.inner.append(made.root);
    }
    elements.forEach((each, index) => {
      const row = first + index < last ? order[first + index] : null;
      each.root.hidden = row === null;
      if (row !== null) this.fill(each, row, first + index);
    });
    const active = this.elements.find((each) => !each.root.hidden && each.root.dataset.name === this.active);
    if (active) root.setAttribute("aria-activedescendant", active.root.id);
    else root.removeAttribute("aria-activedescendant");
  }

  make() {
    const name = el("span", { class: "name" }), when = el("span", { class: "when" });
    const dot = el("span", { class: "dot" }), state = el("span", { class: "state" });
    const more = el("span", { class: "more" });
    const root = el("div", { class: "row", role: "option", id: `row-${this.elements.length}` },
      dot, name, when, el("span", { class: "second" }, state, more));
    return { root, name, when, dot, state, more };
  }

  fill(each, row, index) {
    const { root } = each;
    root.style.transform = `translateY(${index * ROW}px)`;
    root.dataset.name = row.name;
    root.dataset.tone = tone(row.state);
    root.setAttribute("aria-posinset", index + 1);
    root.setAttribute("aria-setsize", this.order.length);
    root.setAttribute("aria-selected", row.name === this.chosen);
    root.classList.toggle("active", row.name === this.active);
    root.classList.toggle("over", isOver(row.state));
    say(each.name, row.name);
    say(each.when, row.at ? about(Date.now() / 1000 - row.at) : "");
    say(each.state, row.state || "…");
    say(each.more, this.more(row));
  }

  more(row) {
    if (!row.state) return "";
    const attempts = row.attempt ? (isOver(row.state) ? count(row.attempt, "attempt") : `attempt ${row.attempt}`) : "";
    const rest = isOver(row.state) ? "" : row.note && row.state !== "running" ? row.note : row.where;
    return [attempts, rest].filter(Boolean).map((part) => ` · ${part}`).join("");
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.root.clientHeight / ROW) - 1);
    const at = this.order.findIndex((row) => row.name === this.active);
    const to = {
      ArrowDown: at + 1, j: at + 1, ArrowUp: at - 1, k: at - 1, PageDown: at + page, PageUp: at - page,
      Home: 0, End: this.order.length - 1,
    }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" && at >= 0) this.pick(this.active);
    else if (to !== undefined) this.moveTo(Math.max(0, Math.min(to, this.order.length - 1)));
    else return;
    event.preventDefault();
  }

  moveTo(index) {
    if (!this.order.length) return;
    this.active = this.order[index].name;
    const { root } = this, top = index * ROW;
    if (top < root.scrollTop) root.scrollTop = top;
    else if (top + ROW > root.scrollTop + root.clientHeight) root.scrollTop = top + ROW - root.clientHeight;
    this.draw();
  }
}
