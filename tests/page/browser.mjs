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

// Pictures to be looked at, where PICTURES names a folder for them.
const picture = async (of, name) => {
  if (process.env.PICTURES) await of.screenshot({ path: join(process.env.PICTURES, `${name}.png`), fullPage: true });
};

const done = (what) => console.log(`ok: ${what}`);

let browser;
let elsewhere;
try {
  const lab = start(labPath, ["--listen", "127.0.0.1:0"]);
  const [, endpoint] = await line(lab, /endpoint = "(.*)"/);
  lab.stdout.resume();
  const configure = (listen, loopback = "open") => writeFileSync(config, `[[session]]
name = "default"
endpoint = "${endpoint}"
[[route]]
name = "family"
to = ["+15550100002"]
[gateway]
listen = ["${listen}"]
loopback = "${loopback}"
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

  browser = await chromium.launch({ executablePath: browserPath, args: ["--no-sandbox", "--host-resolver-rules=MAP rebound.test 127.0.0.1"] });
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
  assert.equal(await page.isVisible("#pair"), false, "a form for what the caller may not");

  // Somebody who may act, in a browser of his own.
  const token = tautline("token", "new", "page", "--admin").stdout.trim().split("\n")[0];
  const logIn = async (of) => {
    await of.fill("#token", token);
    await Promise.all([of.waitForEvent("load"), of.press("#token", "Enter")]);
    await of.waitForSelector("#who:has-text('page')", { timeout: PATIENCE });
  };
  const acting = await open({ viewport: { width: 390, height: 844 } });
  await acting.click("#who button");
  await logIn(acting);
  const cookies = await acting.context().cookies();
  assert.deepEqual(cookies.map(({ httpOnly, sameSite, value }) => [httpOnly, sameSite, value === token]), [[true, "Strict", false]]);
  await acting.click("#pair-qr");
  await acting.waitForSelector("#pair svg.qr path", { timeout: PATIENCE });
  await picture(acting, "pair");
  // What a phone reads off the picture: whoever asks joins what is under way.
  const code = await acting.evaluate(async () => {
    const reader = (await fetch("/v1/sessions/default/pair", { method: "POST" })).body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ""; ;) {
      text += (await reader.read()).value;
      const told = text.split("\n").slice(0, -1).filter(Boolean).map((line) => JSON.parse(line)).find((event) => event.event === "qr");
      if (told) { reader.cancel(); return told.payload; }
    }
  });
  lab.stdin.write(`scan ${code}\n`);
  await acting.waitForSelector("#pair-said:text('Linked')", { timeout: PATIENCE });
  await sentence("^Alive");
  await page.waitForSelector("#stream.good", { timeout: PATIENCE });
  done("it says that it is not linked, links it for whoever may, and says by itself that it is");

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

  await acting.click("#send summary");
  await acting.fill("#send-title", "Von der Seite ✓");
  await acting.fill("#send-text", "typed here");
  await acting.click("#send-form button");
  await acting.waitForSelector("#list .excerpt:has-text('typed here')", { timeout: PATIENCE });
  await acting.click(`#alert-${id} summary`);
  await acting.click(`#alert-${id} button:text('Acknowledge')`);
  await acting.waitForSelector(`#alert-${id} .life :text('by whoever has the token page')`, { timeout: PATIENCE });
  await acting.click("#route-list summary");
  await acting.click("#route-list button:text('Test it')");
  await acting.waitForSelector("#route-list :text('It works')", { timeout: PATIENCE });
  await picture(acting, "acting");
  done("whoever may act sends, acknowledges and tests a route");

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

  // A page from elsewhere, in the browser that is logged in. On another port of this host it is the same site, and gets the cookie sent
  // along; on a name that its owner makes to be this host it is even the same address.
  elsewhere = createServer((_, answer) => answer.setHeader("content-type", "text/html").end("<!doctype html><title>elsewhere</title><iframe name=frame></iframe>"));
  await new Promise((resolve) => elsewhere.listen(0, "127.0.0.1", resolve));
  const other = elsewhere.address().port;
  const [, port] = address.split(":");
  // The relay was started anew.
  await acting.reload();
  await acting.click("#who button");
  await logIn(acting);
  const stranger = await acting.context().newPage();
  const entries = (await journal()).length;
  for (const home of [`http://127.0.0.1:${other}/`, `http://localhost:${other}/`, `http://rebound.test:${other}/`]) {
    await stranger.goto(home);
    for (const there of [base, `http://localhost:${port}`, `http://rebound.test:${port}`]) {
      const got = await stranger.evaluate(async ([there, id]) => {
        const outcomes = [];
        const attempt = async (name, act) => { try { if (await act()) outcomes.push(name); } catch { /* Refused. */ } };
        for (const path of ["/v1/status", "/v1/alerts", "/v1/events", "/metrics", "/v1/openapi.json", "/"]) {
          await attempt(`fetch ${path}`, async () => (await fetch(there + path, { credentials: "include" })).ok);
        }
        for (const path of ["/family", "/", `/v1/alerts/${id}/retry`, "/v1/routes/family/test?timeout=1", "/v1/sessions/default/pair", "/v1/login"]) {
          await attempt(`post ${path}`, async () => (await fetch(there + path, { method: "POST", mode: "no-cors", credentials: "include", body: "{}" })).ok);
        }
        await attempt("delete", async () => (await fetch(`${there}/v1/login?all`, { method: "DELETE", credentials: "include" })).ok);
        await attempt("image", () => new Promise((resolve) => {
          const image = new Image();
          image.onload = () => resolve(true);
          image.onerror = () => resolve(false);
          image.src = `${there}/family/publish?message=from+elsewhere`;
        }));
        await attempt("form", () => new Promise((resolve) => {
          const form = document.createElement("form");
          Object.assign(form, { method: "POST", action: `${there}/family`, target: "frame", enctype: "text/plain" });
          document.body.append(form);
          document.querySelector("iframe").onload = () => resolve(false);
          form.submit();
          setTimeout(() => resolve(false), 500);
        }));
        for (const path of ["/v1/events", "/family/ws"]) {
          await attempt(path, () => new Promise((resolve) => {
            const socket = new WebSocket(there.replace("http", "ws") + path);
            socket.onopen = () => resolve(true);
            socket.onclose = () => resolve(false);
          }));
        }
        return outcomes;
      }, [there, id]);
      assert.deepEqual(got, [], `${home} at ${there}`);
    }
  }
  const rebound = await stranger.goto(`http://rebound.test:${port}/`);
  assert.equal(rebound.status(), 421, "a name that is not the relay's");
  await stranger.close();
  assert.equal((await journal()).length, entries, "a page from elsewhere has published");
  await acting.reload();
  await acting.waitForSelector("#who:has-text('page')", { timeout: PATIENCE });
  done("a page from elsewhere reads nothing and does nothing, also with a login");

  const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
  for (const viewport of [{ width: 390, height: 844 }, { width: 1280, height: 900 }]) {
    for (const colorScheme of ["light", "dark"]) {
      // The checker is a script from elsewhere, which the page's policy would refuse.
      const look = await open({ viewport, colorScheme, bypassCSP: true });
      await look.waitForSelector("#list details");
      for (const summary of await look.locator("summary").all()) if (await summary.isVisible()) await summary.click();
      await look.waitForSelector(".history li");
      assert.ok(await look.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${viewport.width}: too wide`);
      await picture(look, `${viewport.width}-${colorScheme}`);
      await look.evaluate(axe);
      const { violations } = await look.evaluate(() => axe.run());
      assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`), []);
      await look.close();
    }
  }
  done("it is fit for a phone and a desk, in light and dark, for a screen reader");

  const second = await open({});
  await second.click("#who button");
  await logIn(second);
  await Promise.all([second.waitForEvent("load"), second.click("#who button:text('everywhere')")]);
  await acting.reload();
  await acting.waitForSelector("#who button:text('Log in')", { timeout: PATIENCE });
  done("who logs out everywhere is out everywhere");

  // A box that lets nobody in without a token.
  configure(address, "token");
  const ended = new Promise((resolve) => run.on("exit", resolve));
  expected = true;
  run.kill("SIGTERM");
  await ended;
  run = relay();
  await until("the relay", async () => JSON.parse(tautline("status", "--json").stdout).listen[0]);
  const shut = await open({ viewport: { width: 390, height: 844 } });
  await shut.waitForSelector("#login", { state: "visible", timeout: PATIENCE });
  assert.equal(await shut.locator("section:visible").count(), 1, "more than the login is seen");
  await picture(shut, "login");
  await shut.fill("#token", "tk_wrong");
  await shut.press("#token", "Enter");
  await shut.waitForSelector("#login-said:text('nobody has this token')", { timeout: PATIENCE });
  await logIn(shut);
  await shut.waitForFunction(() => document.getElementById("sentence").textContent.startsWith("Alive"), null, { timeout: PATIENCE });
  done("where a token is needed the page asks for it, and for nothing else");
  assert.deepEqual(said, []);
} finally {
  if (browser) await browser.close();
  if (elsewhere) elsewhere.close();
  for (const child of children) child.kill();
  rmSync(folder, { recursive: true, force: true });
}
process.exit();
