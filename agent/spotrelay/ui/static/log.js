// The log: all attempts as one text, of which a few hundred kilobytes are here, whatever its length.
//
// What is here is a row of pieces that follow each other. Scrolling towards an end fetches the next piece there and lets
// go of one at the other; the slider says where in the whole it is, and leads anywhere. Following means: what is new is
// fetched as the server tells of it.

import { el, refusal, say } from "./dom.js";
import { bytes, place } from "./words.js";

const MOST_PIECES = 6;
const NEAR = 900; // px from an end of what is here
const MERGED = 256 << 10; // bytes up to which what is new joins the last piece
const STEPS = 10000; // of the slider

const ESCAPES = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)/g;
const REDRAWN = /^[^\n]*\r(?=[^\n])/gm; // a progress bar that wrote over itself
const CONTROL = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/g;
const DIRECTION = /[\u202a-\u202e\u2066-\u2069\u200e\u200f]/g; // would show one thing and say another

export function readable(text) {
  return text
    .replace(ESCAPES, "").replace(/\r+\n/g, "\n").replace(REDRAWN, "").replace(/\r/g, "")
    .replace(CONTROL, (sign) => (sign === "\x7f" ? "\u2421" : String.fromCharCode(0x2400 + sign.charCodeAt(0))))
    .replace(DIRECTION, (sign) => `\\u${sign.charCodeAt(0).toString(16)}`);
}

export class Log {
  constructor() {
    this.text = el("div", { class: "text" });
    this.pane = el("div", { class: "pane", tabindex: 0, role: "log", "aria-label": "Output", "aria-live": "off" }, this.text);
    this.slider = el("input", { type: "range", min: 0, max: STEPS, value: STEPS, "aria-label": "Place in the log" });
    this.size = el("span", { class: "soft" });
    this.follow = el("button", { type: "button", "aria-pressed": "true", onclick: () => this.toEnd() }, "Follow");
    this.top = el("button", { type: "button", onclick: () => this.toBeginning() }, "Beginning");
    this.message = el("p", { class: "empty" });
    this.tools = el("div", { class: "tools" }, this.top, this.slider, this.follow, this.size);
    this.root = el("section", { class: "log" }, this.tools, this.message, this.pane);
    this.pane.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.slider.addEventListener("input", () => this.jump(this.slider.value / STEPS));
    this.reset(null);
  }

  /** Another run. */
  reset(run) {
    Object.assign(this, { run, sizes: [], pieces: [], following: true, shown: this.shown ?? false, places: new Map() });
    this.turn = (this.turn ?? 0) + 1; // answers to what was asked before are dropped
    this.work = Promise.resolve();
    this.text.replaceChildren();
    this.update();
  }

  /** Which machine each attempt had, for the seams; what is over has an end, and nothing to follow. */
  describe(attempts, over) {
    say(this.follow, over ? "End" : "Follow");
    for (const each of attempts) this.places.set(each.number, place(each));
  }

  take(sizes) {
    this.sizes = sizes;
    this.update();
    if (this.shown && (this.following || !this.pieces.length)) this.queue(() => this.catchUp());
  }

  show(shown) {
    this.shown = shown;
    if (shown && (this.following || !this.pieces.length)) this.queue(() => this.catchUp());
  }

  get total() {
    return this.sizes.reduce((sum, [, size]) => sum + size, 0);
  }

  update() {
    const total = this.total;
    this.pane.hidden = this.tools.hidden = total === 0;
    this.message.hidden = total > 0;
    say(this.message, this.run ? "It has not written anything yet." : "");
    say(this.size, total ? bytes(total) : "");
    this.follow.setAttribute("aria-pressed", this.following);
  }

  /** One thing at a time, in order. */
  queue(step) {
    const turn = this.turn;
    this.work = this.work.then(async () => {
      if (turn !== this.turn) return;
      try {
        await step();
      } catch (error) {
        if (turn !== this.turn) return;
        say(this.message, error.message);
        this.message.hidden = false;
      }
      this.placeSlider();
    });
    return this.work;
  }

  async fetch(attempt, where) {
    const turn = this.turn;
    const response = await fetch(`/api/runs/${this.run}/log/${attempt}?${new URLSearchParams(where)}`);
    if (!response.ok) throw new Error(await refusal(response));
    const data = new Uint8Array(await response.arrayBuffer());
    if (turn !== this.turn) throw new Error("");
    const number = (name) => Number(response.headers.get(name));
    return { attempt, start: number("X-Log-Start"), end: number("X-Log-End"), data };
  }

  // --- towards the ends

  async catchUp() {
    if (!this.sizes.length) return;
    const last = this.pieces.at(-1), [attempt, size] = this.sizes.at(-1);
    const behind = last ? this.offset(attempt, size) - this.offset(last.attempt, last.end) : Infinity;
    if (behind > 3 * MERGED) {
      this.clear();
      this.append(await this.fetch(attempt, {}));
    } else {
      while (this.following && await this.down());
    }
    if (this.following) this.pane.scrollTop = this.pane.scrollHeight;
    if (this.pane.scrollHeight <= this.pane.clientHeight + NEAR) await this.up();
    if (this.following) this.pane.scrollTop = this.pane.scrollHeight;
  }

  /** The piece after the last; false: there is none. */
  async down() {
    const last = this.pieces.at(-1);
    const here = this.sizes.findIndex(([attempt]) => attempt === last?.attempt);
    if (here < 0) return false;
    const [attempt, start] = last.end < this.sizes[here][1] ? [last.attempt, last.end] : [this.sizes[here + 1]?.[0], 0];
    if (attempt === undefined) return false;
    const piece = await this.fetch(attempt, { start });
    if (!piece.data.length) return false;
    this.append(piece);
    return true;
  }

  /** The piece before the first. */
  async up() {
    const first = this.pieces[0];
    const here = this.sizes.findIndex(([attempt]) => attempt === first?.attempt);
    if (here < 0) return false;
    const [attempt, end] = first.start > 0 ? [first.attempt, first.start] : this.sizes[here - 1] ?? [];
    if (attempt === undefined) return false;
    const piece = await this.fetch(attempt, { end });
    if (!piece.data.length) return false;
    const height = this.pane.scrollHeight, at = this.pane.scrollTop;
    this.pieces.unshift(this.made(piece));
    this.text.prepend(this.pieces[0].root);
    this.pane.scrollTop = at + this.pane.scrollHeight - height;
    while (this.pieces.length > MOST_PIECES) this.pieces.pop().root.remove();
    return true;
  }

  append(piece) {
    const last = this.pieces.at(-1);
    if (last && last.attempt === piece.attempt && last.end === piece.start && last.end - last.start < MERGED) {
      last.raw += decoded(piece.data);
      last.end = piece.end;
      last.body.textContent = readable(last.raw);
      return;
    }
    const made = this.made(piece);
    this.pieces.push(made);
    this.text.append(made.root);
    while (this.pieces.length > MOST_PIECES) {
      const height = this.pane.scrollHeight, at = this.pane.scrollTop;
      this.pieces.shift().root.remove();
      this.pane.scrollTop = at - (height - this.pane.scrollHeight);
    }
  }

  made(piece) {
    const raw = decoded(piece.data), body = el("pre", {}, readable(raw));
    const seam = piece.start === 0
      ? el("p", { class: "seam" }, `attempt ${piece.attempt}`, el("span", {}, this.places.get(piece.attempt) ?? "")) : null;
    return { attempt: piece.attempt, start: piece.start, end: piece.end, raw, body, root: el("div", {}, seam, body) };
  }

  clear() {
    this.pieces = [];
    this.text.replaceChildren();
  }

  // --- where we are, and going elsewhere

  /** Of all bytes of all attempts, those before this one. */
  offset(attempt, at) {
    let before = 0;
    for (const [each, size] of this.sizes) {
      if (each === attempt) return before + at;
      before += size;
    }
    return before;
  }

  scrolled() {
    const { pane } = this, below = pane.scrollHeight - pane.scrollTop - pane.clientHeight;
    const last = this.pieces.at(-1), end = this.sizes.at(-1);
    const atEnd = last && end && last.attempt === end[0] && last.end >= end[1] && below < 4;
    // Only a person scrolls up: what we append moves down.
    if (this.following !== atEnd && (atEnd || pane.scrollTop < (this.before ?? 0))) {
      this.following = atEnd;
      this.update();
    }
    this.before = pane.scrollTop;
    if (!this.fetching && (below < NEAR || pane.scrollTop < NEAR)) {
      this.fetching = true;
      this.queue(() => (below < NEAR ? this.down() : this.up())).then(() => { this.fetching = false; });
    }
    this.placeSlider();
  }

  placeSlider() {
    if (document.activeElement === this.slider && this.jumping) return;
    const { pane } = this, top = pane.getBoundingClientRect().top;
    const piece = this.pieces.find((each) => each.root.getBoundingClientRect().bottom > top) ?? this.pieces.at(-1);
    if (!piece || !this.total) return;
    const box = piece.root.getBoundingClientRect();
    const part = Math.min(1, Math.max(0, (top - box.top) / Math.max(1, box.height)));
    const at = this.offset(piece.attempt, piece.start + part * (piece.end - piece.start));
    this.slider.value = this.following ? STEPS : Math.round((at / this.total) * STEPS);
  }

  jump(part) {
    this.following = part >= 1;
    this.update();
    if (this.following) return void this.toEnd();
    this.jumping = true;
    this.wanted = part;
    // Only where the slider has come to: what it passed is not fetched.
    this.queue(async () => {
      if (this.wanted !== part) return;
      let at = Math.floor(part * this.total), attempt = 0;
      for (const [each, size] of this.sizes) {
        attempt = each;
        if (at < size) break;
        at -= size;
      }
      const piece = await this.fetch(attempt, { start: at });
      const line = at ? piece.data.indexOf(10) + 1 : 0; // the rest of a line that began before
      if (line && line < piece.data.length) Object.assign(piece, { start: at + line, data: piece.data.subarray(line) });
      this.clear();
      this.append(piece);
      this.pane.scrollTop = 0;
      this.before = 0;
      this.jumping = false;
      await this.up();
    });
  }

  toBeginning() {
    this.jump(0);
    this.pane.focus();
  }

  toEnd() {
    this.following = true;
    this.update();
    this.queue(() => this.catchUp());
    this.pane.focus();
  }
}

function decoded(data) {
  return new TextDecoder().decode(data);
}
