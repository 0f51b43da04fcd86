// What is shown of a role, by its kind. All of it comes from one object of the API and is text.

import { button } from "./actions.js";
import { ago, chip, clock, h, ms, number, short, table } from "./dom.js";
import { disagreements, strip } from "./strip.js";

const LEVELS = {
  well: "well", degraded: "degraded", down: "down",
  fit: "well", kept: "degraded", warming: "degraded", joining: "degraded", syncing: "degraded", lagging: "degraded", drained: "neutral",
  unknown: "neutral", unfit: "down", misconfigured: "down",
  suspect: "degraded", gone: "neutral", silent: "degraded", behind: "degraded", disagrees: "down",
};

export const levelOf = (word) => LEVELS[word] ?? "neutral";

const VERBS = { cordon: "Cordon", drain: "Drain", uncordon: "Uncordon", remove: "Remove", prefer: "Prefer" };
const ROLE_VERBS = { add: "Add a node", recheck: "Recheck", majority: "Set majority" };

const identity = (role) => JSON.stringify([role.role, role.name]);

function actionsOf(role, node) {
  const verbs = Object.keys(VERBS).filter((verb) => role.actions.includes(verb) && isOfUse(verb, role, node));
  return h("td", null, h("div", { class: "buttons" },
    verbs.map((verb) => button(verb, VERBS[verb], node.name, { "data-role": identity(role), "data-node": node.name, "data-key": verb }))));
}

/** What is so already isn't offered. */
function isOfUse(verb, role, node) {
  const drained = node.standing === "drained" || node.draining === true || node.condition === "drained";
  const cordoned = node.standing === "cordoned";
  const of = { uncordon: drained || cordoned, drain: !drained, cordon: !cordoned, prefer: role.state.preferred !== node.name };
  return of[verb] ?? true;
}

function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h("dl", { class: "facts", "data-key": "facts" }, known.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
}

/** A table of things with a name. A column: title, what it gives of a row, whether that is a number. */
function list(title, columns, items, role) {
  const heads = role && role.actions.some((verb) => verb in VERBS) ? [...columns, { title: "Actions", actions: true }] : columns;
  const row = (item) => h("tr", { "data-key": item.key ?? item.name }, heads.map((column, nth) => {
    if (column.actions) return actionsOf(role, item);
    const value = column.of(item);
    return h(nth === 0 ? "th" : "td", { scope: nth === 0 && "row", class: column.number ? "number" : column.why ? "why" : null }, value ?? "");
  }));
  return h("div", { "data-key": title }, h("h3", null, title),
    items.length === 0 ? h("p", null, "None.") : table(title, heads, items.map(row)));
}

const NAME = { title: "Node", of: (node) => node.name };
const STATE = { title: "State", of: (node) => stateOf(node) };
const SINCE = { title: "Since", number: true, of: (node) => ago(node.since_seconds) };
const REASON = { title: "Reason", why: true, of: (node) => (node.fit && node.reason === "fit" ? "" : node.reason) };
const LATENCY = { title: "Latency, ms", number: true, of: (node) => ms(node.latency_us) };
const HEAD = { title: "Head", number: true, of: (node) => number(node.head) };

function stateOf(node) {
  const more = [];
  if (node.standing && node.standing !== "votes") more.push(node.standing);
  if (node.draining) more.push("draining");
  if (node.resting) more.push("resting");
  return [chip(node.condition, levelOf(node.condition)), more.map((word) => [" ", chip(word, "degraded")])];
}

/** How far behind the best head. */
function lagOf(nodes) {
  const best = Math.max(...nodes.map((node) => node.head ?? -1));
  return { title: "Lag", number: true, of: (node) => (node.head === null || node.head === undefined ? "" : number(node.lag ?? best - node.head)) };
}

function execution(role, recent) {
  const { nodes } = role.state;
  return [
    strip(identity(role), nodes.map((node) => node.name), recent.rounds ?? []),
    list("Nodes", [NAME, STATE, SINCE, REASON, LATENCY,
      { title: "newPayload p95, ms", number: true, of: (node) => ms(node.payload_p95_us) },
      lagOf(nodes), HEAD, { title: "Queue", number: true, of: (node) => number(node.queued) },
      { title: "Client", of: (node) => node.client ?? "" }], nodes, role),
    disagreements(recent.disagreements ?? []),
  ];
}

const KINDS = {
  engine(role, recent) {
    const { primary, head, listen } = role.state;
    return [facts([["Primary", primary], ["Head", h("code", { title: head }, short(head))], ["Majority", number(role.state.majority)], ["Listens", listen]]), execution(role, recent)];
  },

  sync(role, recent) {
    const { leader, slot, head, clients, listen } = role.state;
    return [
      facts([["Leader", leader ?? "none yet"], ["Slot", number(slot)], ["Head", h("code", { title: head }, short(head))], ["Majority", number(role.state.majority)], ["Listens", listen]]),
      list("Consensus clients", [{ title: "Client", of: (client) => client.name },
        { title: "State", of: (client) => [chip(client.state, levelOf(client.state)), client.leads ? [" ", chip("leads", "well")] : ""] },
        { title: "Reason", why: true, of: (client) => client.reason },
        { title: "Slot", number: true, of: (client) => number(client.slot) },
        { title: "Head", of: (client) => h("code", { title: client.head }, short(client.head)) },
        { title: "Last call", number: true, of: (client) => `${ago(client.silent_seconds)} ago` }], clients),
      execution(role, recent),
    ];
  },

  rpc(role) {
    const { lanes, nodes, store, listen } = role.state;
    return [
      facts([["Listens", listen], ["List of nodes", `${store.place}${store.reachable ? "" : ", can't be reached"}`]]),
      list("Lanes", [{ title: "Lane", of: (lane) => lane.lane }, { title: "Waiting", number: true, of: (lane) => number(lane.waiting) },
        { title: "The first waits for, ms", number: true, of: (lane) => number(lane.oldest_ms) }], lanes.map((lane) => ({ ...lane, name: lane.lane }))),
      list("Nodes", [NAME, STATE, SINCE, REASON, LATENCY, lagOf(nodes), HEAD,
        { title: "In flight", number: true, of: (node) => `${node.in_flight} of ${node.open}${node.open === node.workers ? "" : ` (${node.workers})`}` },
        { title: "Tries", number: true, of: (node) => number(node.tries) },
        { title: "Client", of: (node) => node.client ?? "" }], nodes, role),
    ];
  },

  beacon(role) {
    const { nodes } = role.state;
    const check = (one) => h("li", { "data-key": one.name }, chip(`${one.holds ? "✓" : "✗"} ${one.name}`, one.holds ? "well" : one.soft ? "degraded" : "down", { title: one.saw }),
      one.holds ? "" : ` ${one.saw}`);
    const flips = nodes.flatMap((guard) => guard.flips.map((flip) => ({ ...flip, guard: guard.name })));
    flips.sort((one, other) => one.ago_seconds - other.ago_seconds);
    const words = (flip) => (flip.check === null ? (flip.holds ? "opened" : "closed") : `${flip.check} ${flip.holds ? "holds" : "fails"}`);
    return [
      list("Guards", [{ title: "Guard", of: (guard) => guard.name }, STATE, SINCE,
        { title: "Checks", why: true, of: (guard) => h("ul", { class: "chips" }, guard.checks.map(check)) },
        LATENCY, lagOf(nodes), { title: "Head slot", number: true, of: (guard) => number(guard.head) },
        { title: "Streams", number: true, of: (guard) => number(guard.open_streams) },
        { title: "Listens", of: (guard) => guard.listen }], nodes, role),
      flips.length === 0 ? null : h("details", { class: "part", "data-key": "flips" }, h("summary", null, `Last flips (${flips.length})`),
        h("ul", null, flips.slice(0, 40).map((flip) => h("li", null, `${ago(flip.ago_seconds)} ago: ${flip.guard} ${words(flip)}. ${flip.saw}`)))),
    ];
  },

  relay(role) {
    const { chain_id, preferred, nodes, outer, rounds, claims, alarms } = role.state;
    const won = (round) => round.won.map(([node, slots]) => `${node === "" ? "elsewhere" : node} ${slots}`).join(", ");
    return [
      h("div", { class: "head", "data-key": "prefer" },
        facts([["Chain", chain_id === null ? "not known yet" : h("code", { title: chain_id }, short(chain_id))], ["Preferred", preferred ?? "by rank"]]),
        preferred === null ? null : button("unprefer", "Prefer none", "", { "data-role": identity(role) })),
      list("Legs", [NAME, STATE, SINCE, HEAD, lagOf(nodes), { title: "From", of: (leg) => leg.peer }, { title: "Outer peer", of: (leg) => leg.outer },
        { title: "Rank", number: true, of: (leg) => number(leg.rank) }, { title: "Irreversible", number: true, of: (leg) => number(leg.inner.lib) },
        { title: "Agent", of: (leg) => leg.inner.agent }], nodes.map((leg) => ({ ...leg, key: `${leg.name} ${leg.leg}` })), role),
      list("Outer peers", [{ title: "Peer", of: (peer) => peer.name }, { title: "Legs", number: true, of: (peer) => number(peer.legs) },
        { title: "Trouble", why: true, of: (peer) => peer.trouble }], outer),
      h("div", { "data-key": "claims" }, h("h3", null, "Claims"),
        h("p", null, chip(claims.ready ? "ready" : "not ready", claims.ready ? "well" : "down"), ` kept in ${claims.place}`, claims.shared ? ", shared" : "",
          claims.failed_ago_seconds === null ? "" : `; ${ago(claims.failed_ago_seconds)} ago: ${claims.failure}`)),
      list("Rounds", [{ title: "First slot", number: true, of: (round) => number(round.slot) }, { title: "Producer", of: (round) => round.producer },
        { title: "Slots won", of: won }, { title: "Gaps", number: true, of: (round) => round.gaps ?? "not over" }],
        rounds.toReversed().map((round) => ({ ...round, key: `${round.producer} ${round.slot}` }))),
      alarms.length === 0 ? null : h("div", { "data-key": "alarms" }, h("h3", null, "Alarms"),
        h("ul", null, alarms.toReversed().map((alarm) => h("li", null, chip(alarm.kind, "down"), ` ${alarm.node}: ${alarm.what} (${alarm.times} times, the last ${ago(alarm.ago_seconds)} ago)`)))),
    ];
  },
};

/** What nodes have shown that are to prove what they run. */
function attestations(nodes) {
  const judged = nodes.filter((node) => node.attestation);
  if (judged.length === 0) return null;
  const shown = (value) => (value === null ? "" : h("code", { title: value }, short(value)));
  const level = (one) => (one.expected === null ? null : one.value === one.expected ? "well" : one.warn_only ? "degraded" : "down");
  const row = (one) => h("tr", { "data-key": one.name }, h("th", { scope: "row" }, one.name), h("td", null, shown(one.value)), h("td", null, shown(one.expected)),
    h("td", null, level(one) === null ? "only shown" : chip(level(one) === "well" ? "as expected" : "another", level(one))));
  const one = (node) => {
    const { form, verdict, step, reason, measured, tcb_status, warnings, at, until } = node.attestation;
    return h("details", { class: "part", "data-key": `attested ${node.name}` },
      h("summary", null, `${node.name} `, chip(verdict, verdict === "refused" ? "down" : warnings.length === 0 ? "well" : "degraded"), ` ${form.toUpperCase()}`),
      facts([["Judged", at], ["Good until", until], ["TCB", tcb_status], ["Refused by", step], ["Reason", reason]]),
      warnings.length === 0 ? null : h("ul", { class: "reasons" }, warnings.map((warning) => h("li", null, warning))),
      measured.length === 0 ? null : table(`Measured of ${node.name}`, ["Value", "Measured", "Expected", ""].map((title) => ({ title })), measured.map(row)));
  };
  return h("div", { "data-key": "attested" }, h("h3", null, "Attestation"), judged.map(one));
}

/** A kind that this page doesn't know. */
const other = (role) => list("Nodes", [NAME, STATE, SINCE, REASON], role.state.nodes ?? [], role);

/** All of a role but its plots. */
export function view(role, recent) {
  const title = role.role === role.name ? role.role : `${role.role} ${role.name}`;
  const verbs = Object.keys(ROLE_VERBS).filter((verb) => role.actions.includes(verb));
  return h("section", { class: "role", "data-key": identity(role), "aria-label": title },
    h("div", { class: "head" }, h("h2", null, title), chip(role.status, levelOf(role.status)),
      h("div", { class: "buttons" }, verbs.map((verb) => button(verb, ROLE_VERBS[verb], "", { "data-role": identity(role), "data-now": verb === "majority" ? role.state.majority : null })))),
    role.reasons.length === 0 ? null : h("ul", { class: "reasons", "data-key": "reasons" }, role.reasons.map((reason) => h("li", null, reason))),
    h("div", { "data-key": "own" }, (KINDS[role.role] ?? other)(role, recent), attestations(role.state.nodes ?? [])),
    h("details", { class: "part", open: true, "data-key": "plots" }, h("summary", null, "The last hour"),
      h("div", { class: "plots", "data-keep": true, "data-of": identity(role) })));
}

/** The last changes of all roles, the newest first. */
export function changes(all) {
  if (all.length === 0) return [h("p", null, "None since the start.")];
  const row = (one, nth) => h("tr", { "data-key": `${all.length - nth} ${one.at_ms}` }, h("td", null, clock(one.at_ms)),
    h("th", { scope: "row" }, one.role === one.name ? one.role : `${one.role} ${one.name}`), h("td", null, one.of),
    h("td", null, one.before === "" ? one.now : `${one.before} → ${one.now}`), h("td", { class: "why" }, one.why));
  return [table("Last changes", ["Time", "Role", "Of", "What", "Why, by whom"].map((title) => ({ title })), all.toReversed().slice(0, 50).map(row))];
}
