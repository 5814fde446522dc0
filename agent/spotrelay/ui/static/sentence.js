// What became of a run, as one would say it.

import { clock, count, interruptions, lostInAll, place, seconds } from "./words.js";

const STARTING = {
  arriving: "The machine has come up", claiming: "The machine has come up", waiting: "Waiting for the attempt before it to hand over",
  restoring: "Restoring the directory", starting: "Starting the command",
};
const ENDING = {
  draining: "A notice came: the command was told to save and end", stopping: "Stopping: the command was told to save and end",
  saving: "Saving what changed", "handing-over": "Handing over to the next attempt", concluding: "The command has ended: its last save",
  recording: "Writing down how it ended", publishing: "Publishing the results",
};

export function sentence(story, now) {
  const current = story.legs.at(-1), where = current ? place(current) : "";
  const on = where ? `, on ${where}` : "";
  switch (story.state) {
    case "running":
      return `Running for ${whole(now - (current.running_at ?? current.claimed_at ?? now))}${on}.`
        + (story.now?.line ? ` It says: ${story.now.line}` : "");
    case "starting":
      return `${STARTING[story.now?.phase] ?? "Starting"}${on}.`;
    case "ending":
      return `${ENDING[story.now?.phase] ?? "Ending"}${on}.` + (story.now?.gone_at ? ` EC2 takes the machine at ${clock(story.now.gone_at)}.` : "");
    case "waiting":
      return waiting(story, now);
    case "stuck":
      return `It needs you: ${story.wait.why}.`;
    case "silent":
      return `Nothing was heard of its machine for ${whole(now - story.at)}${on}.`;
    case "unreadable":
      return `It cannot be read: ${story.trouble}`;
    default:
      return over(story);
  }
}

function waiting(story, now) {
  const { wait } = story;
  if (!wait) return story.legs.length ? "The next machine has been asked for." : "A machine has been asked for.";
  const next = wait.next_at > now ? ` The next try is in ${whole(wait.next_at - now)}.` : "";
  return `Waiting for a machine for ${whole(now - wait.since)}: ${wait.why}.${next}`;
}

function over(story) {
  const { outcome, asked_at, ended_at } = story, times = interruptions(story);
  const took = asked_at !== null && ended_at !== null ? ` after ${seconds(ended_at - asked_at)}` : "";
  const words = { succeeded: "Succeeded", failed: "Failed", stopped: "Stopped", limit: "Ended by a limit" };
  const amount = lostInAll(story), lost = amount === "nothing" ? amount : `${amount} of work`;
  const through = times ? `, through ${count(times, "interruption")}, with ${lost} lost` : "";
  const said = `${words[story.state] ?? story.state}${took}${through}`;
  if (!outcome?.message) return `${said}.`;
  return `${said}: ${outcome.message}${/[.!?]$/.test(outcome.message) ? "" : "."}`;
}

const whole = (value) => seconds(Math.floor(Math.max(0, value)));
