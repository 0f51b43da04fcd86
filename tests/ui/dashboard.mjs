// The dashboard as people use it. See README.md.

import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { after, test } from "node:test";

import { browser, faults, mainstay, open, proxy, sim, tooWide } from "./harness.mjs";

const { ADMIN, CONFIG, TOKEN, SCREENSHOTS } = process.env;
const HERE = `http://${ADMIN}`;

after(() => browser.close());

const section = (page, name) => page.getByRole("region", { name, exact: true }).and(page.locator("section"));
const live = (page) => page.locator("#connection", { hasText: /^live$/ }).waitFor();

async function shot(page, name) {
  if (SCREENSHOTS) await page.screenshot({ path: `${SCREENSHOTS}/${name}.png` });
}

test("every role is shown with its nodes", async () => {
  const { page, complaints, close } = await open(HERE);
  await live(page);
  for (const [role, texts] of [
    ["engine", ["Primary", "el1", "el2", "el3", "Last rounds", "newPayload p95, ms"]],
    ["sync", ["Leader", "Consensus clients", "s1", "s2", "Last rounds"]],
    ["rpc", ["Lanes", "fast-track", "high", "low", "In flight"]],
    ["beacon", ["Guards", "✗ peers", "✓ syncing"]],
    ["relay", ["Legs", "Outer peers", "Claims", "node-a", "node-b"]],
  ]) {
    const part = section(page, role);
    for (const text of texts) await part.getByText(text, { exact: false }).first().waitFor();
  }
  // Figures of all roles are plotted, without a word to Prometheus.
  for (const [role, figure] of [["engine", "latency, ms"], ["rpc", "waiting"], ["beacon", "failing checks"], ["relay", "legs"]]) {
    const plot = section(page, role).locator("figure", { has: page.getByRole("heading", { name: figure, exact: true }) });
    await plot.locator("canvas").waitFor();
    await plot.getByText(/now/).first().waitFor();
  }
  assert.deepEqual(complaints, []);
  await close();
});

test("a strip shows who voted what, and a lie becomes a disagreement", async () => {
  const { page, complaints, close } = await open(HERE);
  await live(page);
  const engine = section(page, "engine");
  await engine.locator(".strip td span", { hasText: "V" }).first().waitFor();
  // Who lies of heads lets no payload be built: the consensus client hears no VALID any more.
  await engine.getByRole("radio", { name: "heads" }).check();
  await engine.getByText("forkchoiceUpdated", { exact: false }).first().waitFor();
  await sim("el2", "lie");
  await engine.locator(".strip tr", { has: page.getByRole("rowheader", { name: "el2" }) }).locator("span", { hasText: "I" }).first().waitFor();
  await engine.locator(".strip tr", { has: page.getByRole("rowheader", { name: "answer" }) }).locator("span", { hasText: "S" }).first().waitFor();
  const dispute = engine.locator("details", { hasText: "Disagreements" });
  await dispute.getByText("split vote").first().waitFor();
  await dispute.locator("li", { hasText: "el2" }).getByText("INVALID").first().waitFor();
  await engine.locator(".head").getByText("degraded").waitFor();
  await shot(page, "dashboard-engine");
  // One round, by keyboard.
  const picks = engine.locator("[data-pick]");
  await picks.last().focus();
  await page.keyboard.press("ArrowLeft");
  const seq = await page.evaluate(() => document.activeElement.dataset.seq);
  await engine.locator(`[data-pick][data-seq="${seq}"][aria-pressed=true]`).waitFor();
  await engine.getByText(`Round ${seq} at`, { exact: false }).waitFor();
  await sim("el2", "heal");
  await engine.getByRole("radio", { name: "new payloads" }).check();
  await engine.locator(".round").getByText(/newPayload/).first().waitFor();

  await sim("el3", "crash");
  const row = engine.locator("table:not(.strip) tbody tr", { has: page.getByRole("rowheader", { name: "el3" }) });
  await row.getByText("unfit").first().waitFor();
  await page.locator("#changes-list tr", { hasText: "el3" }).getByText(/→ unfit/).first().waitFor();
  await sim("el3", "heal");
  await row.getByText("fit", { exact: true }).first().waitFor();
  assert.deepEqual(complaints, []);
  await close();
});

test("what an enclave has shown is there, and what refused another", async () => {
  const { page, complaints, close } = await open(HERE);
  await live(page);
  const nodes = section(page, "rpc private").locator("details", { hasText: "SGX" });
  const held = nodes.filter({ hasText: "held" });
  await held.locator("summary").click();
  await held.getByRole("rowheader", { name: "MRENCLAVE" }).waitFor();
  await held.getByText("as expected").first().waitFor();
  const refused = nodes.filter({ hasText: "refused" });
  await refused.locator("summary").click();
  await refused.getByText("MRENCLAVE is 0101", { exact: false }).first().waitFor();
  await shot(page, "dashboard-attestation");
  assert.deepEqual(complaints, []);
  await close();
});

test("actions are done, told and need the token from elsewhere", async () => {
  const way = await proxy();
  const { page, complaints, close } = await open(way.url);
  await live(page);
  const row = section(page, "engine").locator("table:not(.strip) tr", { has: page.getByRole("rowheader", { name: "el1" }) });
  await page.getByRole("button", { name: "Cordon el1", exact: true }).click();
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByRole("button", { name: "Cordon el1", exact: true }).click();
  await page.getByRole("heading", { name: "Cordon el1?" }).waitFor();
  await page.keyboard.press("Enter");
  await row.getByText("cordoned").waitFor();
  await page.locator("#changes-list").getByText(/this machine/).first().waitFor();
  await page.getByRole("button", { name: "Uncordon el1" }).click();
  await row.getByText("cordoned").waitFor({ state: "detached" });
  await section(page, "rpc").getByRole("button", { name: "Recheck" }).click();
  await page.locator("#told").getByText("recheck: done").waitFor();

  const engine = section(page, "engine");
  await engine.getByRole("button", { name: "Set majority" }).click();
  await page.getByLabel("From 0 to 1").fill("0.9");
  await page.getByRole("button", { name: "Set it" }).click();
  await engine.locator("dl div", { hasText: "Majority" }).getByText("0.9").waitFor();

  // A stranger is refused, then let in by the token, which is nowhere but in the page's memory.
  way.stranger(true);
  const rpc = section(page, "rpc");
  const drain = rpc.getByRole("button", { name: /^Drain / }).first();
  const node = (await drain.getAttribute("data-node"));
  await drain.click();
  await page.getByRole("button", { name: "Drain it" }).click();
  await page.locator("#told").getByText(/need the admin token/).waitFor();
  await page.locator("#token").fill("wrong-wrong-wrong-wrong");
  await page.getByRole("button", { name: "Use it" }).click();
  await drain.click();
  await page.getByRole("button", { name: "Drain it" }).click();
  await page.locator("#told").getByText(/this is not the admin token/).waitFor();
  await page.locator("#token").fill(TOKEN);
  await page.keyboard.press("Enter");
  await drain.click();
  await page.getByRole("button", { name: "Drain it" }).click();
  const drained = rpc.locator("tr", { has: page.getByRole("rowheader", { name: node, exact: true }) });
  await drained.getByText("draining").waitFor();
  await page.locator("#changes-list").getByText(/admin token/).first().waitFor();
  await rpc.getByRole("button", { name: `Uncordon ${node}` }).click();
  await drained.getByText("draining").waitFor({ state: "detached" });
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href, document.documentElement.outerHTML]));
  assert.ok(!kept.includes(TOKEN), "the token is kept nowhere");

  // Nodes come and go.
  way.stranger(false);
  await rpc.getByRole("button", { name: "Add a node" }).click();
  await page.getByLabel("URI").fill("http://127.0.0.1:1/");
  await page.getByLabel("Also if it doesn't answer").check();
  await page.getByRole("button", { name: "Add it" }).click();
  await rpc.getByRole("button", { name: "Remove 127.0.0.1:1" }).click();
  await page.getByRole("button", { name: "Remove it" }).click();
  await rpc.getByRole("button", { name: "Remove 127.0.0.1:1" }).waitFor({ state: "detached" });
  const relay = section(page, "relay");
  await relay.getByRole("button", { name: "Prefer node-b" }).click();
  await relay.locator("dl", { hasText: "Preferred" }).getByText("node-b").waitFor();
  await relay.getByRole("button", { name: "Prefer none" }).click();
  await relay.getByText("by rank").waitFor();
  // The browser tells of replies that are errors; nothing else went wrong.
  assert.deepEqual(complaints.filter((line) => !/401|403/.test(line)), []);
  await close();
  way.close();
});

test("since when it runs is told, and what became of a reload", async () => {
  const { page, complaints, close } = await open(HERE);
  await live(page);
  const part = page.getByRole("region", { name: "Process" });
  await part.getByText(/^Running for \d+ (s|min), since /).waitFor();
  await part.getByText("Settings as they were read at the start.").waitFor();
  const good = await readFile(CONFIG, "utf8");
  const reload = () => fetch(`${HERE}/api/v1/reload`, { method: "POST" });
  await writeFile(CONFIG, good.replace("min_peers = [10]", "min_pers = [10]"));
  assert.equal((await reload()).status, 422);
  await part.getByText("refused", { exact: true }).waitFor();
  await part.getByText(/ ago, at .*, by .*\. The settings before hold:/).waitFor();
  await part.getByRole("listitem").getByText(/m\.toml:\d+: .*min_pers/).waitFor();
  await shot(page, "dashboard-reload");
  await writeFile(CONFIG, good.replace("min_peers = [10]", "min_peers = [11]"));
  assert.equal((await reload()).status, 200);
  await part.getByText("reloaded", { exact: true }).waitFor();
  await part.getByText(/: 1 change\./).waitFor();
  await part.getByRole("listitem").waitFor({ state: "detached" });
  await writeFile(CONFIG, good);
  assert.equal((await reload()).status, 200);
  assert.deepEqual(complaints, []);
  await close();
});

test("a broken connection is told and heals", async () => {
  const way = await proxy();
  const { page, close } = await open(way.url);
  await live(page);
  way.cut();
  await page.locator("#connection", { hasText: /^stale/ }).waitFor();
  way.mend();
  await live(page);
  await close();
  way.close();
});

test("what somebody does in the page is left alone while it goes on", async () => {
  const { page, close } = await open(HERE);
  await live(page);
  const details = section(page, "engine").locator("details", { hasText: "The last hour" });
  await details.locator("summary").click();
  await page.locator("#token-part summary").click();
  await page.locator("#token").fill("half a tok");
  const since = page.locator("section", { hasText: "Legs" }).locator("td.number").first();
  const before = await since.textContent();
  // Some seconds have been drawn.
  await page.waitForFunction(([before]) => {
    const legs = [...document.querySelectorAll("section.role")].find((part) => part.textContent.includes("Legs"));
    return legs.querySelector("td.number").textContent !== before;
  }, [before]);
  assert.equal(await details.getAttribute("open"), null);
  assert.equal(await page.locator("#token").inputValue(), "half a tok");
  assert.ok(await page.locator("#token").evaluate((field) => field === document.activeElement));
  await close();
});

const CASES = [
  ["verdict", { votes: "V,V@20ms,I@250ms" }],
  ["verdict", { votes: "V,V,V", majority: "1" }],
  ["verdict", { votes: "I,V,V", on_dissent: "majority" }],
  ["verdict", { votes: "S,S@5ms,V@9ms", min_votes: "4" }],
  ["verdict", { votes: "V!,V,S@40ms", straggler_wait: "10ms" }],
  ["verdict", { votes: "-,-", on_shortfall: "error", timeout: "900ms" }],
  ["verdict", { votes: "V?,I?@3ms,E,A@10ms" }],
  ["lanes", { arrivals: "L*3,H*2@10ms,F*3@20ms" }],
  ["lanes", { arrivals: "L*3,H*2@10ms,F*3@20ms", fast_track_drain_first: "true", nodes: "2" }],
  ["lanes", { arrivals: "H*9/50ms", high_max: "2", request_timeout: "60ms" }],
  ["lanes", { arrivals: "H*4,L", low_max_wait: "150ms", node_workers: "1" }],
  ["check", { expect: "status == 200 && int(body.data.connected) >= guard.min_peers", body: '{"data": {"connected": "63"}}', min_peers: "64" }],
  ["check", { expect: 'headers["server"] == "x" && headers["a"] != "c"', headers: ["Server: x", "a: b"] }],
  ["check", { expect: "body == 'up'", body: "up\n", status: "0" }],
];

test("the playground tells what the terminal does", async () => {
  const { page, complaints, close } = await open(`${HERE}/dashboard#/playground/verdict`);
  for (const [what, given] of CASES) {
    const query = new URLSearchParams();
    const flags = [];
    for (const [key, value] of Object.entries(given)) {
      for (const one of [value].flat()) {
        query.append(key, one);
        flags.push(`--${key.replaceAll("_", "-")}=${one}`);
      }
    }
    const told = await mainstay("explain", what, ...flags);
    await page.goto(`${HERE}/dashboard#/playground/${what}?${query}`);
    await page.reload();
    await page.locator("#text").waitFor({ state: "attached" });
    assert.equal(await page.locator("#text").textContent(), told, `${what} ${flags.join(" ")}`);
  }
  assert.deepEqual(complaints, []);
  await close();
});

test("a case is made by hand, is in the URL, and is shown again by it", async () => {
  const { page, complaints, close } = await open(`${HERE}/#/playground/verdict`);
  await page.locator("#answer", { hasText: "SYNCING" }).waitFor();
  await page.getByLabel("Says of 3").selectOption("VALID");
  await page.locator("#answer", { hasText: "VALID" }).waitFor();
  await page.getByRole("button", { name: "Another node" }).click();
  await page.getByLabel("After, ms of 4").fill("400");
  await page.getByLabel("Waited for of 4").uncheck();
  await page.getByLabel("Majority").fill("0.9");
  await page.locator("#command", { hasText: "--votes='V,V@20ms,V@250ms,V?@400ms' --majority=0.9" }).waitFor();
  const url = page.url();
  assert.match(decodeURIComponent(url), /votes=V,V@20ms,V@250ms,V\?@400ms&majority=0\.9$/);
  await shot(page, "playground-verdict");
  const told = await page.locator("#text").textContent();
  await page.goto("about:blank");
  await page.goto(url);
  await page.locator("#text").waitFor({ state: "attached" });
  assert.equal(await page.locator("#text").textContent(), told);
  assert.equal(await page.getByLabel("After, ms of 4").inputValue(), "400");
  await page.getByLabel("Majority").fill("7");
  await page.getByText("--majority: 7 is not between 0 and 1").waitFor();

  await page.getByRole("link", { name: "Lanes" }).click();
  await page.locator("#order").waitFor();
  await page.getByLabel("How many of 1").fill("1");
  await page.locator("#command", { hasText: "--arrivals='L,H*2@10ms,F*3@20ms'" }).waitFor();
  await page.getByRole("link", { name: "Check", exact: true }).click();
  await page.locator("#answer", { hasText: "a good round" }).waitFor();
  await page.getByLabel("Begin with a sample").selectOption("Peers");
  await page.getByLabel("guard.min_peers").fill("64");
  await page.locator("#answer", { hasText: "a bad round" }).waitFor();
  await page.getByLabel("Expression (CEL)").fill("body.data.connectd > 3 &&");
  await page.locator(".problems").getByText(/column/).waitFor();
  // The browser tells of replies that are errors; nothing else went wrong.
  assert.deepEqual(complaints.filter((line) => !/400/.test(line)), []);
  await close();
});

for (const colorScheme of ["light", "dark"]) {
  for (const width of [360, 1600]) {
    test(`nothing serious is found by axe, ${colorScheme}, ${width} px`, async () => {
      const { page, complaints, close } = await open(HERE, { colorScheme, viewport: { width, height: 900 } });
      await live(page);
      await section(page, "engine").locator(".strip td span").first().waitFor();
      await section(page, "engine").locator("canvas").first().waitFor();
      assert.deepEqual(await faults(page), []);
      assert.deepEqual(await tooWide(page), []);
      if ((colorScheme === "light") === (width === 360)) await shot(page, `dashboard-${colorScheme}-${width}`);
      for (const what of ["verdict", "lanes", "check"]) {
        await page.goto(`${HERE}/#/playground/${what}`);
        await page.locator("#text").waitFor({ state: "attached" });
        assert.deepEqual(await faults(page), [], what);
        assert.deepEqual(await tooWide(page), [], what);
      }
      assert.deepEqual(complaints, []);
      await close();
    });
  }
}
