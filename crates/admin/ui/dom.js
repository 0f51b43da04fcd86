// Elements from data. Text goes in as text nodes alone, so nothing that a node says is ever read as markup.

/** An element. `attributes` that are false, null or undefined are left out. */
export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

const SVG = "http://www.w3.org/2000/svg";

/** The same, of SVG. */
export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === false || value === null || value === undefined) continue;
    element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/**
 * Makes `old` what `next` is and touches nothing that is the same already, so that focus, scrolling, open details and what somebody
 * types stay. Elements with `data-key` are found again by it; the content of those with `data-keep` is left alone.
 */
export function patch(old, next) {
  if (old.nodeType !== next.nodeType || old.nodeName !== next.nodeName) {
    old.replaceWith(next);
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== next.data) old.data = next.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    const own = name === "open" && old.nodeName === "DETAILS";
    if (!own && !next.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    const own = name === "open" && old.nodeName === "DETAILS";
    if (!own && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  if (!next.hasAttribute("data-keep")) patchChildren(old, next);
}

function keyOf(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.getAttribute("data-key") : null;
}

function patchChildren(old, next) {
  const keyed = new Map();
  for (const child of old.childNodes) {
    const key = keyOf(child);
    if (key !== null) keyed.set(key, child);
  }
  let place = old.firstChild;
  for (const wanted of [...next.childNodes]) {
    const key = keyOf(wanted);
    let found = key === null ? null : (keyed.get(key) ?? null);
    if (key === null && place !== null && keyOf(place) === null) found = place;
    if (found === null) {
      old.insertBefore(wanted, place);
      continue;
    }
    if (found === place) place = place.nextSibling;
    else old.insertBefore(found, place);
    const before = found.previousSibling;
    patch(found, wanted);
    // It may have been replaced by another.
    const now = before === null ? old.firstChild : before.nextSibling;
    if (place !== null && place.parentNode !== old) place = now.nextSibling;
  }
  while (place !== null) {
    const after = place.nextSibling;
    place.remove();
    place = after;
  }
}

/** Puts `children` into `element`, as `patch` does. */
export function show(element, ...children) {
  const next = element.cloneNode(false);
  next.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  patchChildren(element, next);
}

/** `3 s`, `5 min`, `2 h`, `4 d`. */
export function ago(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

/** Microseconds as milliseconds with two digits that count. */
export function ms(micros) {
  if (micros === null || micros === undefined) return "";
  return number(micros / 1000);
}

/** A number with as many decimals as its size needs. */
export function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "";
  if (Number.isInteger(value)) return String(value);
  return value < 10 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : value.toFixed(0);
}

/** The time of day. */
export function clock(millis) {
  return new Date(millis).toLocaleTimeString([], { hour12: false });
}

/** A hash in short. */
export function short(hash) {
  return typeof hash === "string" && hash.length > 16 ? `${hash.slice(0, 10)}…${hash.slice(-4)}` : (hash ?? "");
}

/** A chip: a word with the colour of how good it is. */
export function chip(word, level, attributes) {
  return h("span", { class: `chip ${level}`, ...attributes }, word);
}

/** A table in a region that scrolls sideways by itself, and can be scrolled by keyboard. */
export function table(name, columns, rows, attributes) {
  const heads = columns.map((column) => h("th", { scope: "col", class: column.number && "number" }, column.title));
  return h("div", { class: "scroll", role: "region", "aria-label": name, tabindex: "0" },
    h("table", attributes, h("thead", null, h("tr", null, heads)), h("tbody", null, rows)));
}
