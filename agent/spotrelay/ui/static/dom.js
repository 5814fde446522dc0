// Elements out of text. Nothing here, or anywhere in the page, reads a string as markup: what lies in a bucket is
// foreign, and the page's policy (Trusted Types) would refuse it.

const SVG = "http://www.w3.org/2000/svg";

/** el("p", {class: "soft"}, "text", another) — attributes that are null or false are left out; on* are listeners. */
export function el(tag, attributes = {}, ...children) {
  return build(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return build(document.createElementNS(SVG, tag), attributes, children);
}

function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Text that is the same stays untouched, so that a selection in it survives the next message. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function byId(id) {
  return document.getElementById(id);
}

/** What went wrong, in the server's words. */
export async function refusal(response) {
  if (response.status === 401) return "This browser is not let in any more: open the address that spotrelay ui printed.";
  try {
    const { what, next_step: next } = await response.json();
    return next ? `${what} — ${next}` : what;
  } catch {
    return `spotrelay ui answered ${response.status}.`;
  }
}
