// What the tests share: the browser, a proxy whose connections can be cut, the simulated nodes' control, the binary.

import { execFile } from "node:child_process";
import http from "node:http";
import { createRequire } from "node:module";
import { promisify } from "node:util";

const { ADMIN, CONTROL, BINARY, TOOLS, CHROMIUM } = process.env;
const require = createRequire(`${TOOLS}/package.json`);
const { chromium } = require("playwright-core");
const axe = require("axe-core");

/** For what takes no time at all, on a machine that is busy. */
export const SOON = 30_000;

export const browser = await chromium.launch({
  executablePath: CHROMIUM,
  // In containers there is neither a sandbox to be had nor much shared memory.
  args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
});

/** A proxy before the admin listener: `cut` ends all connections and refuses new ones, `forwards` makes callers strangers. */
export async function proxy() {
  const state = { down: false, forwards: false };
  const sockets = new Set();
  const [host, port] = ADMIN.split(":");
  const server = http.createServer((request, response) => {
    const headers = { ...request.headers };
    if (state.forwards) headers["x-forwarded-for"] = "192.0.2.1";
    const onward = http.request({ host, port, method: request.method, path: request.url, headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    onward.on("error", () => response.destroy());
    response.on("close", () => onward.destroy());
    request.pipe(onward);
  });
  server.on("connection", (socket) => {
    if (state.down) return socket.destroy();
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  // A test that fails doesn't get to close it.
  server.unref();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    cut() {
      state.down = true;
      for (const socket of sockets) socket.destroy();
    },
    mend() {
      state.down = false;
    },
    stranger(is) {
      state.forwards = is;
    },
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** A page, and what its browser complained of. */
export async function open(url, options) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  context.setDefaultTimeout(SOON);
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => {
    if (!request.url().startsWith("http://127.0.0.1:")) complaints.push(`asks for ${request.url()}`);
  });
  await page.goto(url);
  return { page, complaints, close: () => context.close() };
}

/** What axe finds that is serious or worse, in words. */
export async function faults(page) {
  await page.evaluate(`${axe.source}; undefined`);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => `${node.html.slice(0, 160)} (${node.failureSummary})`).join(" | ")}`);
}

/** What makes the page wider than its window, in words. */
export function tooWide(page) {
  return page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    const wide = [...document.body.querySelectorAll("*")].filter((element) => element.getBoundingClientRect().right > width && !element.parentElement.closest(".scroll"));
    return wide.map((element) => `${element.outerHTML.slice(0, 120)}: ${element.getBoundingClientRect().right} px`);
  });
}

/** Tells a simulated execution client what to do: crash, lie, heal, … */
export async function sim(node, verb) {
  const reply = await fetch(`http://${CONTROL}/sim/nodes/${node}/${verb}`, { method: "POST" });
  if (!reply.ok) throw new Error(`${node} ${verb}: ${await reply.text()}`);
}

/** What the binary prints. */
export async function mainstay(...args) {
  return (await promisify(execFile)(BINARY, args)).stdout;
}
