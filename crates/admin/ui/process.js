// The process itself: since when it runs, and what came of its settings being read anew last.

import { ago, chip, clock, h } from "./dom.js";

/** What is told of it, a line each, and every problem of a reload that was refused. */
export function view({ started_at_ms, up_seconds, at_ms, reload }) {
  const started = new Date(started_at_ms);
  return [
    h("p", { "data-key": "up" }, `Running for ${ago(up_seconds)}, since `, h("time", { datetime: started.toISOString() }, day(started)), "."),
    h("p", { "data-key": "settings" }, reload === null ? "Settings as they were read at the start." : settings(reload, at_ms)),
    reload === null || reload.problems.length === 0
      ? null
      : h("ul", { class: "reasons", "data-key": "problems" }, reload.problems.map((problem) => h("li", null, problem))),
  ];
}

function settings({ at_ms, by, outcome, changes }, now) {
  const at = h("time", { datetime: new Date(at_ms).toISOString() }, clock(at_ms));
  const when = [` ${ago(Math.max(0, Math.floor((now - at_ms) / 1000)))} ago, at `, at, `, by ${by}`];
  if (outcome !== "applied") return ["Reload ", chip("refused", "down"), ...when, ". The settings before hold:"];
  const differed = changes.length === 0 ? "nothing differed" : changes.length === 1 ? "1 change" : `${changes.length} changes`;
  return ["Settings ", chip("reloaded", "well"), ...when, `: ${differed}.`];
}

const day = (at) => at.toLocaleString([], { dateStyle: "medium", timeStyle: "short", hour12: false });
