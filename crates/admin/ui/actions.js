// Changes, with the admin token. It is in a variable of this module and nowhere else: no storage, no URL.

import { h } from "./dom.js";

let token = "";

const dialog = () => document.getElementById("dialog");

/** Tells something at the edge of the page, and to screen readers. */
export function tell(text, level) {
  const note = h("p", { class: level }, text);
  document.getElementById("told").append(note);
  setTimeout(() => note.remove(), 8000);
}

/** The buttons of an action that a role does, for a node or for the role itself. */
export function button(action, title, of, attributes) {
  return h("button", { type: "button", "data-act": action, "aria-label": of ? `${title} ${of}` : null, ...attributes }, title);
}

/** Asks in the dialog. Resolves with the form's fields, or null. */
function ask(title, text, fields, yes) {
  document.getElementById("dialog-title").textContent = title;
  document.getElementById("dialog-text").textContent = text;
  document.getElementById("dialog-yes").textContent = yes;
  document.getElementById("dialog-fields").replaceChildren(...fields);
  const shown = dialog();
  shown.returnValue = "no";
  shown.showModal();
  return new Promise((resolve) => {
    shown.addEventListener("close", () => {
      resolve(shown.returnValue === "yes" ? new FormData(document.getElementById("dialog-form")) : null);
    }, { once: true });
  });
}

const QUESTIONS = {
  remove: (node) => ask(`Remove ${node}?`, "It is forgotten until it is added again.", [], "Remove it"),
  drain: (node) => ask(`Drain ${node}?`, "It gets no new work and ends what it has.", [], "Drain it"),
  cordon: (node) => ask(`Cordon ${node}?`, "Nothing relies on it any more, whatever its health.", [], "Cordon it"),
  add: () => ask("Add a node", "As in the configuration.", [
    h("label", { for: "add-uri" }, "URI"),
    h("input", { id: "add-uri", name: "uri", type: "text", required: true, autocomplete: "off", spellcheck: "false" }),
    h("label", null, h("input", { name: "force", type: "checkbox" }), " Also if it doesn't answer"),
  ], "Add it"),
  majority: (now) => ask("Majority", "The share of the votes that makes a majority, until the next start or reload.", [
    h("label", { for: "majority-share" }, "From 0 to 1"),
    h("input", { id: "majority-share", name: "majority", type: "number", min: "0", max: "1", step: "any", required: true, value: now }),
  ], "Set it"),
};

async function act(element) {
  const { act: action, role, node, now } = element.dataset;
  const question = QUESTIONS[action];
  const given = question ? await question(node ?? now) : true;
  if (given === null) return;
  const [kind, name] = JSON.parse(role).map(encodeURIComponent);
  const base = `api/v1/${kind}/${name}`;
  const of = node === undefined ? "" : `/nodes/${encodeURIComponent(node)}`;
  const calls = {
    add: () => ["POST", `${base}/nodes`, { uri: given.get("uri"), force: given.has("force") }],
    remove: () => ["DELETE", `${base}${of}`],
    majority: () => ["POST", `${base}/majority`, { majority: Number(given.get("majority")) }],
    unprefer: () => ["POST", `${base}/unprefer`],
    recheck: () => ["POST", `${base}/recheck`],
  };
  const [method, path, body] = calls[action]?.() ?? ["POST", `${base}${of}/${action}`];
  const words = `${action} ${node ?? ""}`.trim();
  try {
    const reply = await fetch(path, {
      method,
      headers: token === "" ? {} : { authorization: `Bearer ${token}` },
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "omit",
    });
    if (reply.ok) return tell(`${words}: done`, "well");
    const error = await reply.json().catch(() => ({}));
    tell(`${words}: ${error.error?.message ?? `HTTP ${reply.status}`}`, "down");
    if (reply.status === 401 || reply.status === 403) {
      document.getElementById("token-part").open = true;
      document.getElementById("token").focus();
    }
  } catch {
    tell(`${words}: mainstay can't be reached`, "down");
  }
}

/** Wires the page. */
export function start() {
  document.addEventListener("click", (event) => {
    const element = event.target.closest?.("[data-act]");
    if (element) act(element);
  });
  const field = document.getElementById("token");
  document.getElementById("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    token = field.value.trim();
    field.value = "";
    tell(token === "" ? "no token is used" : "the token is used from now on", "neutral");
  });
  document.getElementById("token-forget").addEventListener("click", () => {
    token = field.value = "";
    tell("the token is forgotten", "neutral");
  });
}
