// The files of the newest snapshot, as a tree: a folder is asked for when it is opened.

import { el, refusal, say } from "./dom.js";
import { bytes, count, moment } from "./words.js";

export class Files {
  constructor() {
    this.title = el("span", { class: "soft" });
    this.newer = el("button", { type: "button", hidden: true, onclick: () => this.load() }, "Show the newer snapshot");
    this.all = el("a", { class: "all", download: "", hidden: true }, "Download all (.tar)");
    this.message = el("p", { class: "empty", hidden: true });
    this.tree = el("div", { role: "tree", "aria-label": "Files" });
    this.root = el("section", { class: "files" },
      el("div", { class: "tools" }, this.title, this.newer, this.all), this.message, this.tree);
    this.tree.addEventListener("keydown", (event) => this.key(event));
    this.reset(null);
  }

  reset(run) {
    Object.assign(this, { run, newest: null, saved: null, snapshot: null, shown: this.shown ?? false });
    this.tree.replaceChildren();
    this.update();
  }

  /** The run's newest snapshot, and when it was saved. */
  take(snapshot, saved) {
    Object.assign(this, { newest: snapshot, saved });
    this.update();
    if (this.shown && this.snapshot === null) this.load();
  }

  show(shown) {
    this.shown = shown;
    if (shown && this.snapshot === null) this.load();
  }

  update() {
    this.all.hidden = this.snapshot === null;
    this.newer.hidden = this.snapshot === null || this.snapshot === this.newest;
    if (this.snapshot === null) {
      say(this.title, "");
      this.complain(this.run && this.newest === null ? "Nothing has been saved yet." : "");
    }
  }

  complain(words) {
    this.message.hidden = !words;
    say(this.message, words);
  }

  async load() {
    if (this.newest === null) return;
    this.snapshot = this.newest;
    say(this.title, `Snapshot ${this.snapshot}` + (this.saved ? `, ${moment(this.saved)}` : ""));
    this.all.href = this.address("archive", "");
    this.update();
    const rows = await this.folder("", 1);
    if (rows === null) return;
    this.tree.replaceChildren(...rows);
    this.makeReachable(this.tree.querySelector("[role=treeitem]"));
    if (!rows.length) this.complain("The directory is empty.");
  }

  /** The rows of a folder; null, and it is said why, if it cannot be had. */
  async folder(path, level) {
    const { run, snapshot } = this;
    const response = await fetch(`/api/runs/${run}/folder?${new URLSearchParams({ snapshot, path })}`);
    if (run !== this.run || snapshot !== this.snapshot) return null;
    if (!response.ok) {
      this.complain(await refusal(response));
      return null;
    }
    this.complain("");
    const { entries, more } = await response.json();
    const rows = entries.map((entry) => this.row(entry, level));
    if (more) rows.push(el("p", { class: "rest" }, `and ${count(more, "entry", "entries")} more`));
    return rows;
  }

  row(entry, level) {
    const folder = entry.kind === "directory", file = entry.kind === "file" || entry.kind === "hardlink";
    const name = file ? el("a", { href: this.address("file", entry.path), download: entry.name, tabindex: -1 }, entry.name) : entry.name;
    const tar = folder ? el("a", {
      class: "tar", href: this.address("archive", entry.path), download: `${entry.name}.tar`, tabindex: -1, title: "Download the folder",
      "aria-label": `Download ${entry.name} as a tar`,
    }, ".tar") : null;
    const row = el("div", {
      role: "treeitem", "aria-level": level, "aria-expanded": folder ? "false" : null, tabindex: -1,
      class: `entry ${entry.kind}`, onclick: (event) => folder && event.target.closest("a") === null && this.toggle(row),
    },
    el("span", { class: "label" }, el("span", { class: "turn", "aria-hidden": "true" }), el("span", { class: "name" }, name),
      tar, el("span", { class: "note" }, this.note(entry))),
    el("span", { class: "size" }, this.size(entry)),
    el("span", { class: "changed" }, entry.changed ? moment(entry.changed) : ""));
    row.style.setProperty("--level", level);
    row.entry = entry;
    return row;
  }

  address(what, path) {
    return `/api/runs/${this.run}/${what}?${new URLSearchParams({ snapshot: this.snapshot, path })}`;
  }

  size(entry) {
    if (entry.kind === "directory") return entry.files ? `${bytes(entry.size)} in ${count(entry.files, "file")}` : "empty";
    return entry.kind === "file" ? bytes(entry.size) : "";
  }

  note(entry) {
    if (entry.kind === "symlink") return `→ ${entry.note}`;
    if (entry.kind === "hardlink") return `same file as ${entry.note}`;
    if (entry.kind === "skipped") return `not saved: ${entry.note}`;
    if (entry.kind === "fifo") return "a FIFO";
    return { kept: "an earlier version: it changed while it was saved", torn: "changed while it was saved" }[entry.note] ?? "";
  }

  async toggle(row) {
    if (row.getAttribute("aria-expanded") === "true") {
      row.setAttribute("aria-expanded", "false");
      const level = Number(row.getAttribute("aria-level"));
      const deeper = (next) => next && (Number(next.getAttribute("aria-level")) > level || next.classList.contains("rest"));
      while (deeper(row.nextElementSibling)) row.nextElementSibling.remove();
      return;
    }
    row.setAttribute("aria-expanded", "true");
    const rows = await this.folder(row.entry.path, Number(row.getAttribute("aria-level")) + 1);
    if (rows === null) row.setAttribute("aria-expanded", "false");
    else row.after(...rows);
  }

  // --- by keyboard, as trees are walked everywhere

  key(event) {
    const row = event.target.closest("[role=treeitem]");
    if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
    const rows = [...this.tree.querySelectorAll("[role=treeitem]")], at = rows.indexOf(row);
    const open = row.getAttribute("aria-expanded");
    const steps = {
      ArrowDown: () => this.reach(rows[at + 1]),
      ArrowUp: () => this.reach(rows[at - 1]),
      Home: () => this.reach(rows[0]),
      End: () => this.reach(rows.at(-1)),
      ArrowRight: () => (open === "false" ? this.toggle(row) : open === "true" && this.reach(rows[at + 1])),
      ArrowLeft: () => (open === "true" ? this.toggle(row) : this.reach(this.parent(rows, at))),
      d: () => row.querySelector("a")?.click(),
      Enter: () => (open === null ? row.querySelector("a")?.click() : this.toggle(row)),
    };
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    step();
  }

  parent(rows, at) {
    const level = Number(rows[at].getAttribute("aria-level"));
    return rows.slice(0, at).findLast((row) => Number(row.getAttribute("aria-level")) < level);
  }

  makeReachable(row) {
    for (const each of this.tree.querySelectorAll("[tabindex='0']")) each.tabIndex = -1;
    if (row) row.tabIndex = 0;
  }

  reach(row) {
    if (!row) return;
    this.makeReachable(row);
    row.focus();
  }
}
