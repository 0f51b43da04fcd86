// Cases that somebody thinks up, played by mainstay itself. The case is in the URL's fragment, so a link shows it to others.

import { chip, h, number, show, table } from "./dom.js";
import { DECISIONS, ROWS } from "./fields.js";
import { tell } from "./actions.js";

const WAIT = 150;
const VERDICTS = { VALID: "well", INVALID: "down", SYNCING: "degraded", ACCEPTED: "degraded" };
const LANES = { "fast-track": "down", high: "degraded", low: "neutral" };

const place = () => document.getElementById("playground");

let what = "";
/** Texts by key; a list's items are lines. */
let values = {};
let fragment = "";
let timer = 0;
let asked = 0;

/** Shows what the fragment says. */
export function open(hash) {
  if (hash === fragment && what !== "") return;
  const [path, query = ""] = hash.replace(/^#\/playground\/?/, "").split(/\?(.*)/s);
  what = path in DECISIONS ? path : "verdict";
  const decision = DECISIONS[what];
  const given = new URLSearchParams(query);
  values = Object.fromEntries(decision.fields.map((field) => [field.key, given.getAll(field.key).join("\n") || field.by]));
  if (decision.rows) values[decision.rows] = given.get(decision.rows) ?? decision.first;
  if (decision.samples && !given.has("expect")) [, values.expect, values.body] = decision.samples[0];
  fragment = hash;
  build();
  play();
}

/** The case as it is put: what is as by itself is left out. */
function current() {
  const decision = DECISIONS[what];
  const all = {};
  if (decision.rows) all[decision.rows] = values[decision.rows];
  for (const { key, by, list } of decision.fields) {
    const value = values[key];
    if (list) {
      const lines = value.split("\n").map((line) => line.trim()).filter((line) => line !== "");
      if (lines.length > 0) all[key] = lines;
    } else if (value !== by) all[key] = value;
  }
  return all;
}

function changed() {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(current())) {
    for (const one of Array.isArray(value) ? value : [value]) query.append(key, one);
  }
  fragment = `#/playground/${what}?${query}`;
  history.replaceState(null, "", fragment);
  clearTimeout(timer);
  timer = setTimeout(play, WAIT);
}

function build() {
  const decision = DECISIONS[what];
  const tab = ([key, { title }]) => h("a", { href: `#/playground/${key}`, "aria-current": key === what && "page" }, title);
  place().replaceChildren(
    h("nav", { class: "tabs", "aria-label": "Decisions" }, Object.entries(DECISIONS).map(tab)),
    h("div", { class: "pg" },
      h("section", { class: "card", "aria-label": "The case" },
        h("h2", null, decision.title), h("p", null, decision.about),
        decision.rows ? h("div", { id: "rows" }) : null,
        decision.samples ? samples(decision.samples) : null,
        h("h3", null, "Settings"),
        h("div", { class: "fields" }, decision.fields.filter((field) => field.type !== "area").map(input)),
        decision.fields.filter((field) => field.type === "area").map(input)),
      h("section", { class: "card", "aria-label": "What comes of it" },
        h("div", { class: "head" }, h("h2", null, "What comes of it"),
          h("div", { class: "buttons" }, copier("Copy the link", () => location.href))),
        h("div", { id: "result", "aria-live": "polite" }, h("p", null, "…")))));
  if (decision.rows) rows();
}

function copier(title, text) {
  const made = h("button", { type: "button" }, title);
  made.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      tell("copied", "neutral");
    } catch {
      tell(text(), "neutral");
    }
  });
  return made;
}

function samples(all) {
  const choice = h("select", { id: "sample" }, h("option", { value: "" }, "…"), all.map(([title], nth) => h("option", { value: nth }, title)));
  choice.addEventListener("change", () => {
    if (choice.value === "") return;
    [, values.expect, values.body] = all[choice.value];
    build();
    changed();
  });
  return h("div", { class: "field" }, h("label", { for: "sample" }, "Begin with a sample"), choice);
}

function input(field) {
  const { key, label, type, hint, of } = field;
  const id = `field-${key}`;
  const value = values[key];
  const more = { id, "aria-describedby": hint && `${id}-hint` };
  let element;
  if (type === "select") element = h("select", more, of.map((one) => h("option", { value: one, selected: one === value }, one)));
  else if (type === "area") element = h("textarea", { ...more, spellcheck: "false" }, value);
  else if (type === "checkbox") element = h("input", { ...more, type, checked: value === "true" });
  else element = h("input", { ...more, type, value, min: field.min, max: field.max, step: field.step, autocomplete: "off" });
  element.addEventListener("input", () => {
    values[key] = type === "checkbox" ? String(element.checked) : element.value.trim() === "" && !["area"].includes(type) ? field.by : element.value;
    changed();
  });
  return h("div", { class: "field" }, h("label", { for: id }, label), element, hint && h("p", { class: "hint", id: `${id}-hint` }, hint));
}

/** The rows of votes or requests, where they can be read as such, else the text alone. */
function rows() {
  const key = DECISIONS[what].rows;
  const kind = ROWS[key];
  const all = values[key].split(",").map(kind.read);
  const readable = all.every((row) => row !== null);
  const write = () => {
    values[key] = all.map(kind.write).join(",");
    document.getElementById("as-text").value = values[key];
    changed();
  };
  const cell = (row, nth, name, title, attributes) => {
    const made = h("input", { "aria-label": `${title} of ${nth + 1}`, ...attributes });
    made.addEventListener("input", () => {
      row[name] = made.type === "checkbox" ? made.checked : made.value === "" ? (name === "work" ? "" : 0) : Math.max(0, Math.floor(Number(made.value)));
      write();
    });
    return h("td", null, made);
  };
  const line = (row, nth) => {
    const says = h("select", { "aria-label": `${kind.columns[1]} of ${nth + 1}` }, kind.says.map(([value, title]) => h("option", { value, selected: value === row.says }, title)));
    says.addEventListener("input", () => {
      row.says = says.value;
      write();
    });
    const remove = h("button", { type: "button", "aria-label": `Leave out ${nth + 1}`, title: "Leave out" }, "✕");
    remove.addEventListener("click", () => {
      if (all.length === 1) return;
      all.splice(nth, 1);
      write();
      rows();
    });
    const cells = key === "votes"
      ? [cell(row, nth, "at", "After, ms", { type: "number", min: 0, value: row.at }),
        h("td", null, waited(row, nth, write)),
        cell(row, nth, "before", "Said INVALID before", { type: "checkbox", checked: row.before })]
      : [cell(row, nth, "times", "How many", { type: "number", min: 1, max: 1000, value: row.times }),
        cell(row, nth, "at", "Come at, ms", { type: "number", min: 0, value: row.at }),
        cell(row, nth, "work", "Work, ms", { type: "number", min: 0, value: row.work })];
    return h("tr", null, h("th", { scope: "row" }, nth + 1), h("td", null, says), cells, h("td", null, remove));
  };
  const add = h("button", { type: "button" }, key === "votes" ? "Another node" : "Another request");
  add.addEventListener("click", () => {
    all.push({ ...kind.fresh });
    write();
    rows();
  });
  const text = h("input", { id: "as-text", type: "text", value: values[key], autocomplete: "off", spellcheck: "false" });
  text.addEventListener("input", () => {
    values[key] = text.value;
    changed();
  });
  text.addEventListener("change", rows);
  const titles = [...kind.columns, ""].map((title) => ({ title }));
  titles[0].title = key === "votes" ? "Node" : "Request";
  titles.at(-1).title = "Leave out";
  document.getElementById("rows").replaceChildren(
    h("h3", null, kind.title),
    ...(readable ? [table(kind.title, titles, all.map(line), { class: "rows" }), add] : [h("p", null, "Written as text:")]),
    h("div", { class: "field" }, h("label", { for: "as-text" }, "As on the command line"), text));
}

function waited(row, nth, write) {
  const made = h("input", { type: "checkbox", "aria-label": `Waited for of ${nth + 1}`, checked: !row.maybe });
  made.addEventListener("input", () => {
    row.maybe = !made.checked;
    write();
  });
  return made;
}

async function play() {
  const mine = ++asked;
  let shown;
  try {
    const reply = await fetch(`api/v1/explain/${what}`, { method: "POST", body: JSON.stringify(current()) });
    const told = await reply.json();
    if (mine !== asked) return;
    if (reply.status === 503) {
      timer = setTimeout(play, 4 * WAIT);
      return;
    }
    shown = reply.ok ? [RESULTS[what](told.told), footer(told)]
      : [h("div", { class: "problems", "data-key": "problems" }, h("p", null, "This case can't be read:"), h("ul", null, (told.error.problems ?? [told.error.message]).map((line) => h("li", null, line))))];
  } catch {
    if (mine !== asked) return;
    shown = [h("p", { class: "problems" }, "mainstay can't be reached.")];
  }
  const result = document.getElementById("result");
  if (result) show(result, shown);
}

function footer({ command, text }) {
  return h("div", { "data-key": "footer" }, h("h3", null, "On the terminal"), h("pre", { id: "command" }, command),
    h("details", null, h("summary", null, "What it prints"), h("pre", { id: "text" }, text)));
}

const RESULTS = {
  verdict(told) {
    const step = (one, nth) => h("tr", { "data-key": nth }, h("td", { class: "number" }, one.at_ms), h("th", { scope: "row" }, one.node === null ? "" : `node ${one.node}`),
      h("td", null, one.says ?? ""), h("td", { class: "number" }, one.tally.valid), h("td", { class: "number" }, one.tally.invalid), h("td", { class: "number" }, one.tally.syncing),
      h("td", { class: "why" }, one.then));
    const columns = [{ title: "ms", number: true }, { title: "Who" }, { title: "Says" }, { title: "VALID", number: true }, { title: "INVALID", number: true }, { title: "SYNCING", number: true }, { title: "What comes of it" }];
    return h("div", { "data-key": "verdict" },
      h("p", { class: "answer" }, chip(told.answer, VERDICTS[told.answer] ?? "neutral", { id: "answer" }), " after ", h("strong", { id: "answer-ms" }, told.at_ms), " ms"),
      h("p", { id: "why" }, told.why),
      table("Step by step", columns, told.steps.map(step)));
  },

  lanes(told) {
    const laneOf = (request) => told.steps.find((one) => one.request === request).lane;
    const step = (one, nth) => h("tr", { "data-key": nth }, h("td", { class: "number" }, one.at_ms), h("th", { scope: "row" }, one.request), h("td", null, chip(one.lane, LANES[one.lane])),
      h("td", null, one.then, one.node === null ? "" : ` on node ${one.node}`, one.why === null ? "" : `: ${one.why}`),
      h("td", { class: "number" }, one.then === "runs" || one.then === "expires" ? one.waited_ms : ""),
      one.waiting.map((waiting) => h("td", { class: "number" }, waiting)));
    const columns = ["ms", "Request", "Lane", "Then", "Waited, ms", "Fast-track", "High", "Low"].map((title, nth) => ({ title, number: nth === 0 || nth > 3 }));
    const longest = ["fast-track", "high", "low"].map((lane, nth) => [lane, told.longest_wait_ms[nth]]).filter(([, wait]) => wait !== null);
    return h("div", { "data-key": "lanes" },
      h("h3", null, "Order"),
      told.order.length === 0 ? h("p", null, "None ran.") : h("ol", { class: "chips", id: "order" }, told.order.map((request) => h("li", null, chip(String(request), LANES[laneOf(request)], { title: laneOf(request) })))),
      h("p", null, "The longest wait: ", longest.map(([lane, wait]) => `${lane} ${number(wait)} ms`).join(", ")),
      table("Step by step", columns, told.steps.map(step)));
  },

  check(told) {
    const condition = (one, nth) => h("tr", { "data-key": nth }, h("td", null, chip(one.met ? "met" : "not met", one.met ? "well" : "down")), h("th", { scope: "row" }, h("code", null, one.text)), h("td", { class: "why" }, one.saw));
    return h("div", { "data-key": "check" },
      h("p", { class: "answer" }, chip(told.met ? "a good round" : "a bad round", told.met ? "well" : "down", { id: "answer" })),
      h("p", null, "It saw: ", h("span", { id: "why" }, told.saw)),
      told.conditions.length === 0 ? null : table("Conditions", ["Is", "Condition", "Saw"].map((title) => ({ title })), told.conditions.map(condition)));
  },
};
