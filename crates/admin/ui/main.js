// The page: takes events in, shows them, and leads from view to view.

import * as actions from "./actions.js";
import { chip, show } from "./dom.js";
import { connect } from "./live.js";
import * as playground from "./playground.js";
import * as plots from "./plots.js";
import * as process from "./process.js";
import * as roles from "./roles.js";
import * as strip from "./strip.js";

const byId = (id) => document.getElementById(id);

const seen = { state: null, recent: [], changes: [], connection: "connecting" };
let waiting = false;

/** Draws once for however many events come at once. */
function again() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    draw();
  });
}

const CONNECTION = { connecting: ["connecting", "neutral"], live: ["live", "well"], stale: ["stale: what you see is old", "down"] };

function draw() {
  const [word, level] = CONNECTION[seen.connection];
  byId("connection").textContent = word;
  byId("connection").className = `chip ${level}`;
  document.body.classList.toggle("stale", seen.connection === "stale");
  if (seen.state === null) return;
  const { status, version, phase } = seen.state;
  show(byId("process"), `${version}, ${phase} `, chip(status, roles.levelOf(status)));
  document.title = status === "well" ? "mainstay" : `${status}: mainstay`;
  if (byId("overview").hidden) return;
  show(byId("process-part"), process.view(seen.state));
  const recentOf = (role) => seen.recent.find((one) => one.role === role.role && one.name === role.name)?.recent ?? {};
  const atEnd = [...document.querySelectorAll(".strip-scroll")].filter((part) => part.scrollLeft + part.clientWidth >= part.scrollWidth - 4);
  const before = document.querySelectorAll(".strip-scroll").length;
  show(byId("roles"), seen.state.roles.map((role) => roles.view(role, recentOf(role))));
  // Who looks at the newest round goes on to do so.
  const parts = [...document.querySelectorAll(".strip-scroll")];
  for (const part of parts.length === before ? atEnd : parts) part.scrollLeft = part.scrollWidth;
  show(byId("changes-list"), roles.changes(seen.changes));
  for (const place of document.querySelectorAll(".plots")) plots.draw(place, ...JSON.parse(place.dataset.of));
}

async function fetchHistory() {
  try {
    const reply = await fetch("api/v1/history");
    if (reply.ok) plots.history(await reply.json());
    again();
  } catch {
    // The connection's own state tells.
  }
}

function on(name, value) {
  if (name === "open") fetchHistory();
  else if (name === "sample") plots.sample(value);
  else seen[name] = value;
  again();
}

/** The fragment says which view it is, and what is put to the playground. */
function route() {
  const inPlayground = location.hash.startsWith("#/playground");
  byId("overview").hidden = inPlayground;
  byId("playground").hidden = !inPlayground;
  for (const link of document.querySelectorAll("nav a")) {
    const here = (link.dataset.view === "playground") === inPlayground;
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (inPlayground) playground.open(location.hash);
  again();
}

actions.start();
strip.start(again);
plots.start(again);
document.addEventListener("toggle", again, true);
addEventListener("hashchange", route);
route();
connect(on);
