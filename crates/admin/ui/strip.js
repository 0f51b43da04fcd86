// The last rounds side by side: who voted what, the verdict, the time to the answer.

import { chip, clock, h, ms, short, svg } from "./dom.js";

const ROUNDS = 64;

const SAID = {
  VALID: ["V", "well"],
  INVALID: ["I", "down"],
  INVALID_BLOCK_HASH: ["I", "down"],
  SYNCING: ["S", "degraded"],
  ACCEPTED: ["A", "degraded"],
  error: ["E", "down"],
  pending: ["·", "neutral"],
};

/** Which round of which role is looked at, and of which calls. */
const chosen = new Map();
const calls = new Map();

const look = (said) => SAID[said] ?? ["–", "neutral"];

/** The rounds of a role. */
export function strip(key, nodes, rounds) {
  const heads = calls.get(key) === "heads";
  const shown = rounds.filter((round) => round.method.includes("newPayload") !== heads).slice(-ROUNDS);
  const names = [...new Set([...nodes, ...shown.flatMap((round) => round.votes.map((vote) => vote.node))])];
  const seq = chosen.get(key);
  const picked = shown.find((round) => round.seq === seq) ?? shown.at(-1);
  const slowest = Math.max(1, ...shown.map((round) => round.took_us));

  const radio = (value, title) => h("label", null,
    h("input", { type: "radio", name: `calls ${key}`, value, "data-calls": key, checked: (value === "heads") === heads }), ` ${title} `);
  const cell = (round, said, what) => {
    const [letter, level] = look(said);
    return h("td", { "data-key": round.seq }, h("span", { class: level, title: what }, letter));
  };
  const row = (name) => h("tr", { "data-key": `node ${name}` }, h("th", { scope: "row" }, name), shown.map((round) => {
    const vote = round.votes.find((vote) => vote.node === name);
    const took = vote?.took_us === null || vote === undefined ? "" : `, ${ms(vote.took_us)} ms`;
    return vote === undefined ? h("td", { "data-key": round.seq }) : cell(round, vote.said, `${name}: ${vote.said}${took}`);
  }));
  const bar = (round) => {
    const height = Math.max(1, (30 * round.took_us) / slowest);
    return h("td", { "data-key": round.seq }, svg("svg", { class: "bar", viewBox: "0 0 18 30", role: "img", "aria-label": `${ms(round.took_us)} ms` },
      svg("rect", { x: 3, width: 12, y: 30 - height, height })));
  };
  const pick = (round) => h("td", { "data-key": round.seq }, h("button", {
    type: "button", class: "pick", "data-pick": key, "data-seq": round.seq, "aria-pressed": String(round === picked),
    tabindex: round === picked ? "0" : "-1", "aria-label": `Round ${round.seq}, ${round.verdict}`,
  }, "▾"));

  return h("div", { "data-key": "strip" },
    h("h3", null, "Last rounds"),
    h("div", { role: "group", "aria-label": "Which calls" }, radio("payloads", "new payloads"), radio("heads", "heads")),
    shown.length === 0
      ? h("p", { "data-key": "none" }, "No round yet.")
      : [
        h("div", { class: "scroll strip-scroll", role: "region", "aria-label": "Votes of the last rounds", tabindex: "0", "data-key": "rounds" },
          h("table", { class: "strip" },
            h("tbody", null,
              names.map(row),
              h("tr", { "data-key": "verdict" }, h("th", { scope: "row" }, "answer"), shown.map((round) => cell(round, round.verdict, `answer: ${round.verdict}`))),
              h("tr", { "data-key": "took" }, h("th", { scope: "row" }, "time"), shown.map(bar)),
              h("tr", { "data-key": "pick" }, h("th", { scope: "row" }, "more"), shown.map(pick))))),
        h("p", { class: "dim", "data-key": "legend" }, "V VALID, I INVALID, S SYNCING, A ACCEPTED, E an error, – no answer, · still out. The newest is on the right."),
        details(picked, picked?.seq === seq ? `Round ${picked.seq}` : `Round ${picked.seq}, the newest`),
      ]);
}

/** Who said what in a round. */
export function details(round, title) {
  const vote = ({ node, said, took_us }) => h("li", null, `${node}: `, chip(said, look(said)[1]), took_us === null ? "" : ` after ${ms(took_us)} ms`);
  return h("div", { class: "round", "data-key": "details" },
    h("p", null, h("strong", null, title), ` at ${clock(round.at_ms)}: ${round.method}`,
      round.number === null ? "" : ` of block ${round.number}`, " ", h("code", { title: round.block }, short(round.block)),
      " was answered with ", chip(round.verdict, look(round.verdict)[1]), ` after ${ms(round.took_us)} ms`,
      round.early ? ", before all had answered" : ""),
    h("ul", { class: "chips" }, round.votes.map(vote)));
}

/** The last disagreements of a role, with who said what. */
export function disagreements(all) {
  if (all.length === 0) return null;
  return h("details", { class: "part", open: true, "data-key": "disagreements" },
    h("summary", null, `Disagreements (${all.length})`),
    h("p", null, "Kept for replay where evidence_dir is set: ", h("code", null, "mainstay evidence list")),
    all.toReversed().map((one) => h("div", { "data-key": `${one.cause} ${one.block}` }, details(one, one.cause))));
}

/** Wires choices; `again` draws anew. */
export function start(again) {
  document.addEventListener("change", (event) => {
    const key = event.target.dataset?.calls;
    if (key === undefined) return;
    calls.set(key, event.target.value);
    chosen.delete(key);
    again();
  });
  const choose = (element) => {
    chosen.set(element.dataset.pick, Number(element.dataset.seq));
    again();
  };
  document.addEventListener("click", (event) => {
    const element = event.target.closest?.("[data-pick]");
    if (element) choose(element);
  });
  // One of them is in the order of tabs, arrows lead to the others.
  document.addEventListener("keydown", (event) => {
    const element = event.target.closest?.("[data-pick]");
    const step = { ArrowLeft: "previousElementSibling", ArrowRight: "nextElementSibling" }[event.key];
    const next = element && step && element.parentElement[step]?.querySelector("[data-pick]");
    if (!next) return;
    event.preventDefault();
    choose(next);
    next.focus();
  });
}
