// The page in a real browser: linked against the lab server, with alerts that come, a line that is cut, a relay that is started
// anew, and a page from elsewhere that tries what it may not. `tests/page/run` calls it with the browser, the lab and tautline.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { createServer } from "node:http";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const [, , browserPath, labPath, tautlinePath] = process.argv;
const PATIENCE = 60000;
const BYTES_MAX = 60 * 1024;

const folder = mkdtempSync(join(tmpdir(), "tautline-page-"));
const config = join(folder, "tautline.toml");
const state = join(folder, "state");
const children = new Set();

function start(program, args, options = {}) {
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "ignore"], ...options });
  children.add(child);
  child.on("exit", () => children.delete(child));
  return child;
}

async function line(child, pattern) {
  for await (const text of createInterface({ input: child.stdout })) {
    const found = pattern.exec(text);
    if (found) return found;
  }
  throw new Error(`the end came before ${pattern}`);
}

const tautline = (...args) => spawnSync(tautlinePath, ["--state", state, ...args], { encoding: "utf8" });

const relay = () => start(tautlinePath, ["--config", config, "--state", state, "run"], { stdio: "ignore" });

async function until(what, look) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const found = await look().catch(() => undefined);
    if (found) return found;
    if (Date.now() > end) throw new Error(`${what} never came`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const done = (what) => console.log(`ok: ${what}`);

let browser;
let elsewhere;
try {
  const lab = start(labPath, ["--listen", "127.0.0.1:0"]);
  const [, endpoint] = await line(lab, /endpoint = "(.*)"/);
  lab.stdout.resume();
  const configure = (listen) => writeFileSync(config, `[[session]]
name = "default"
endpoint = "${endpoint}"
[[route]]
name = "family"
to = ["+15550100002"]
[gateway]
listen = ["${listen}"]
`);
  configure("127.0.0.1:0");
  let run = relay();
  const address = await until("the relay", async () => JSON.parse(tautline("status", "--json").stdout).listen[0]);
  configure(address);
  const base = `http://${address}`;
  const publish = async (text, headers = {}) =>
    (await (await fetch(`${base}/family`, { method: "POST", body: text, headers })).json()).id;
  const journal = async () => (await (await fetch(`${base}/v1/events?kind=alert&limit=1000`)).text())
    .trim().split("\n").map((text) => JSON.parse(text).number);

  browser = await chromium.launch({ executablePath: browserPath, args: ["--no-sandbox"] });
  const said = [];
  const open = async (options, url) => {
    const page = await (await browser.newContext(options)).newPage();
    page.on("pageerror", (error) => said.push(error.message));
    page.on("request", (request) => {
      const there = request.url();
      if (!there.startsWith(base) && !there.startsWith("data:")) said.push(`it asks ${there}`);
    });
    await page.goto(url ?? `${base}/`);
    return page;
  };
  const page = await open({ viewport: { width: 1280, height: 900 } });
  page.on("console", (message) => { if (!expected) said.push(message.text()); });
  let expected = false;
  const sentence = (pattern) => page.waitForFunction(
    (source) => new RegExp(source).test(document.getElementById("sentence").textContent), pattern, { timeout: PATIENCE });

  await sentence("^Not linked");
  const pair = start(tautlinePath, ["--state", state, "pair", "--raw"]);
  const [code] = await line(pair, /^[^,\s]+(,[^,\s]+){3,}.*$/);
  pair.stdout.resume();
  lab.stdin.write(`scan ${code}\n`);
  await sentence("^Alive");
  await page.waitForSelector("#stream.good", { timeout: PATIENCE });
  done("it says that it is not linked, and by itself that it is");

  const bytes = await page.evaluate(() => performance.getEntriesByType("resource").concat(performance.getEntriesByType("navigation"))
    .filter((entry) => !entry.name.includes("/v1/")).reduce((sum, entry) => sum + entry.decodedBodySize, 0));
  assert.ok(bytes > 0 && bytes <= BYTES_MAX, `${bytes} bytes`);

  await page.evaluate(() => {
    window.told = [];
    window.mine = new Tautline({ since: 0, kind: ["alert"], onevent: ({ number }) => window.told.push(number) });
  });
  const id = await publish("<b>Backup</b> failed <img src=x onerror=alert(1)>", { Title: "NAS" });
  const badge = (of) => page.waitForFunction((row) => /delivered|read/.test(document.querySelector(`#alert-${row} .badge`)?.textContent),
    of, { timeout: PATIENCE });
  await badge(id);
  assert.equal(await page.locator("#list img, #list b b").count(), 0, "what a sender wrote became markup");
  await page.locator(`#alert-${id} summary`).focus();
  await page.keyboard.press("Enter");
  await page.waitForSelector(`#alert-${id} .history li:nth-child(3)`, { timeout: PATIENCE });
  assert.match(await page.textContent(`#alert-${id} .life pre`), /^<b>Backup<\/b> failed/);
  assert.equal(await page.locator(`#alert-${id} .actions`).count(), 0, "a button for what the caller may not");
  await page.fill("#search", "nothing like it");
  assert.equal(await page.locator("#list > li:visible").count(), 0);
  await page.fill("#search", "nas");
  assert.equal(await page.locator("#list > li:visible").count(), 1);
  await page.fill("#search", "");
  done("an alert comes as text, with its whole life, by keyboard");

  const lines = async () => (await (await fetch(`${base}/v1/status`)).json()).sessions[0].lines;
  const before = await lines();
  lab.stdin.write("cut\n");
  await until("another line", async () => await lines() > before);
  await sentence("^Alive");
  await page.waitForSelector(".gaps li", { timeout: PATIENCE });
  done("a cut is healed, and stands in the timeline");

  expected = true;
  const gone = new Promise((resolve) => run.on("exit", resolve));
  run.kill("SIGTERM");
  await page.waitForFunction(() => document.getElementById("stream").textContent.startsWith("not live"), null, { timeout: PATIENCE });
  await sentence("does not answer");
  // Until then the state is another's.
  await gone;
  run = relay();
  const late = await until("the relay", () => publish("while the page was without"));
  await page.waitForSelector("#stream.good", { timeout: PATIENCE });
  await badge(late);
  expected = false;
  await until("all events", async () => {
    const all = await journal();
    const told = await page.evaluate(() => window.told);
    return all.length === told.length && all.every((number, at) => number === told[at]);
  });
  done("a restart is said, and every event told once");

  // A page from elsewhere, in the same browser.
  elsewhere = createServer((_, answer) => answer.setHeader("content-type", "text/html").end("<!doctype html><title>elsewhere</title>"));
  await new Promise((resolve) => elsewhere.listen(0, "127.0.0.1", resolve));
  const stranger = await (await browser.newContext()).newPage();
  await stranger.goto(`http://127.0.0.1:${elsewhere.address().port}/`);
  const known = (await journal()).length;
  const got = await stranger.evaluate(async (there) => {
    const outcomes = [];
    const attempt = async (name, act) => { try { if (await act()) outcomes.push(name); } catch { /* Refused. */ } };
    await attempt("fetch", async () => (await fetch(`${there}/v1/status`)).ok);
    await attempt("post", async () => (await fetch(`${there}/family`, { method: "POST", mode: "no-cors", body: "from elsewhere" })).ok);
    await attempt("image", () => new Promise((resolve) => {
      const image = new Image();
      image.onload = () => resolve(true);
      image.onerror = () => resolve(false);
      image.src = `${there}/family/publish?message=from+elsewhere`;
    }));
    for (const path of ["/v1/events", "/family/ws"]) {
      await attempt(path, () => new Promise((resolve) => {
        const socket = new WebSocket(there.replace("http", "ws") + path);
        socket.onopen = () => resolve(true);
        socket.onclose = () => resolve(false);
      }));
    }
    return outcomes;
  }, base);
  assert.deepEqual(got, []);
  assert.equal((await journal()).length, known, "a page from elsewhere has published");
  done("a page from elsewhere reads nothing and does nothing");

  const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
  for (const viewport of [{ width: 390, height: 844 }, { width: 1280, height: 900 }]) {
    for (const colorScheme of ["light", "dark"]) {
      // The checker is a script from elsewhere, which the page's policy would refuse.
      const look = await open({ viewport, colorScheme, bypassCSP: true });
      await look.waitForSelector("#list details");
      for (const summary of await look.locator("summary").all()) if (await summary.isVisible()) await summary.click();
      await look.waitForSelector(".history li");
      assert.ok(await look.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${viewport.width}: too wide`);
      await look.evaluate(axe);
      const { violations } = await look.evaluate(() => axe.run());
      assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`), []);
      await look.close();
    }
  }
  done("it is fit for a phone and a desk, in light and dark, for a screen reader");
  assert.deepEqual(said, []);
} finally {
  if (browser) await browser.close();
  if (elsewhere) elsewhere.close();
  for (const child of children) child.kill();
  rmSync(folder, { recursive: true, force: true });
}
process.exit();
