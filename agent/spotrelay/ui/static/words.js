// Times, sizes and states as a person reads them.

const MINUTE = 60, HOUR = 3600, DAY = 86400;

/** 0.17 s · 42 s · 3 m 10 s · 2 h 5 m · 3 d 4 h */
export function seconds(value) {
  if (value === null || value === undefined) return "–";
  const s = Math.max(0, value);
  if (s < 1) return `${s === 0 ? 0 : s.toFixed(2)} s`;
  if (s < 9.95) return `${s.toFixed(1)} s`;
  const whole = Math.round(s);
  if (whole < MINUTE) return `${whole} s`;
  if (whole < HOUR) return pair(whole, MINUTE, "m", 1, "s");
  if (whole < DAY) return pair(whole, HOUR, "h", MINUTE, "m");
  return pair(whole, DAY, "d", HOUR, "h");
}

function pair(value, large, one, small, other) {
  const rest = Math.floor((value % large) / small);
  return `${Math.floor(value / large)} ${one}` + (rest ? ` ${rest} ${other}` : "");
}

/** Without the second half: for what is glanced at. */
export function about(value) {
  const s = Math.max(0, value);
  if (s < MINUTE) return `${Math.round(s)} s`;
  if (s < HOUR) return `${Math.floor(s / MINUTE)} m`;
  if (s < DAY) return `${Math.floor(s / HOUR)} h`;
  return `${Math.floor(s / DAY)} d`;
}

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  let rest = value;
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (rest < 1000) return `${unit === "B" || rest >= 100 ? Math.round(rest) : rest.toFixed(1)} ${unit}`;
    rest /= 1000;
  }
  return `${rest.toFixed(1)} TB`;
}

export function dollars(value) {
  if (value === null || value === undefined) return "–";
  return `$${value < 0.995 ? value.toFixed(3).replace(/0$/, "") : value.toFixed(2)}`;
}

export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

const TIME = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DATE = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const MOMENT = new Intl.DateTimeFormat("en-GB", {
  day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
});

export const clock = (at) => TIME.format(at * 1000);
export const day = (at) => DATE.format(at * 1000);
export const moment = (at) => MOMENT.format(at * 1000);

/** Where an attempt runs. */
export function place(leg) {
  return [leg.instance_type, leg.zone, leg.market].filter(Boolean).join(" · ");
}

const ENDS = {
  interrupted: "interrupted", error: "ended with an error", died: "died without a word",
  succeeded: "succeeded", failed: "failed", stopped: "stopped", limit: "reached a limit",
};
export const ended = (end) => ENDS[end] ?? end;
export const goesOn = (leg) => leg.end === "at work";
export const interruptions = (story) => story.legs.filter((leg) => ["interrupted", "died"].includes(leg.end)).length;

/** Work that no snapshot kept. Of a death there are bounds: nobody was there. */
export function lost({ end, lost_s, lost_most_s, unstarted }) {
  if (unstarted && lost_s === 0) return `nothing: not started${end === "died" && lost_most_s !== 0 ? " when last heard of" : ""}`;
  return lost_s === null ? "–" : between(lost_s, end === "died" ? lost_most_s : lost_s);
}

export function lostInAll({ legs, lost: { known } }) {
  const deaths = legs.filter((leg) => leg.end === "died" && leg.lost_s !== null);
  const most = deaths.reduce((sum, leg) => sum + leg.lost_most_s - leg.lost_s, known);
  return between(known, deaths.some((leg) => leg.lost_most_s === null) ? null : most);
}

function between(least, most) {
  if (most === null) return `at least ${seconds(least)}`;
  if (most < 0.05) return "nothing";
  if (most - least < 0.05) return seconds(least);
  return least < 0.05 ? `at most ${seconds(most)}` : `${seconds(least)} to ${seconds(most)}`;
}

/** The colour of a state: calm where nothing is to be done. */
const TONES = {
  running: "good", starting: "busy", waiting: "wait", ending: "wait", stuck: "bad", silent: "bad",
  succeeded: "done", failed: "bad", limit: "bad", stopped: "off", unreadable: "bad",
};
export const tone = (state) => TONES[state] ?? "off";

const OVER = new Set(["succeeded", "failed", "stopped", "limit"]);
export const isOver = (state) => OVER.has(state);
