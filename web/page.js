// The page: what the relay says, live. Everything that comes from outside becomes text, never markup.
"use strict";

const STATUS_EVERY_MS = 5000;
const ALERTS_FIRST = 25;
const ALERTS_MAX = 1000;
const EXCERPT = 160;

const at = (id) => document.getElementById(id);

// An element. Some of its properties are attributes, the others are its own.
function el(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "class" || key === "role" || key === "scope" || key.includes("-")) made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Two units at the most, as the commands have it.
function span(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const units = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]];
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) return "0s";
  const [unit, size] = units[first];
  const next = units[first + 1];
  const rest = next ? Math.floor((seconds % size) / next[1]) : 0;
  return `${Math.floor(seconds / size)}${unit}${rest ? ` ${rest}${next[0]}` : ""}`;
}

// Text in which commands stand between backticks.
const prose = (text) => text.split("`").map((part, index) => (index % 2 ? el("code", {}, part) : part));

// A table, which on a phone may be wider than the screen: the keyboard scrolls it too.
function table(name, heads, rows) {
  return el("div", { class: "scroll", role: "group", "aria-label": name, tabIndex: 0 }, el("table", {},
    el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col" }, head)))), el("tbody", {}, ...rows)));
}

const clock = (ms) => new Date(ms).toLocaleString(undefined, { dateStyle: "short", timeStyle: "medium" });
const plural = (count, one, many) => `${count} ${count === 1 ? one : many}`;

// An answer as JSON; a refusal as an error in the relay's own words.
async function ask(path, options = {}) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(15000), ...options });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error || `the relay answers ${answer.status}`);
  return body;
}

// What changes with time alone: each is asked again every second while the page is seen.
const ticking = new Map();
function tick(node, text) {
  ticking.set(node, text);
  node.textContent = text(Date.now());
  return node;
}
function ticks() {
  for (const [node, text] of ticking) {
    if (!node.isConnected) { ticking.delete(node); continue; }
    const now = text(Date.now());
    if (node.textContent !== now) node.textContent = now;
  }
}

// Now.

let status = null;
let statusAt = 0;
let statusError = "";
let asking = null;

const STATES = {
  online: ["good", "● online"], connecting: ["wait", "◌ connecting"], waiting: ["wait", "◌ waiting"],
  pairing: ["wait", "◌ pairing"], unpaired: ["bad", "✕ not linked"], stopped: ["bad", "✕ stopped"],
};

// When WhatsApp last gave a proof of life on a session, by this page's clock. TCP's come from the kernels.
function provenAt(session) {
  const ages = session.layers.filter((layer) => layer.layer !== "tcp").map((layer) => layer.proof_age_ms).filter((age) => age !== null && age !== undefined);
  return ages.length ? statusAt - Math.min(...ages) : null;
}

// One sentence, as a function of the time, and how it is coloured.
function sentence() {
  if (!status) return ["wait", () => statusError || "Asking the relay …"];
  if (statusError) return ["bad", (now) => `The relay does not answer. What you see is ${span(now - statusAt)} old.`];
  const waits = `${plural(status.outbox.accepted, "message waits", "messages wait")}`;
  const name = (session) => (status.sessions.length > 1 ? `${session.name}: ` : "");
  const unlinked = status.sessions.find((session) => session.state === "unpaired" || session.state === "pairing");
  if (unlinked) {
    return ["bad", () => `${name(unlinked)}Not linked. Run “tautline pair” on this box, and scan the code with WhatsApp on the phone. ${waits}.`];
  }
  const stopped = status.sessions.find((session) => session.state === "stopped");
  if (stopped) return ["bad", () => `${name(stopped)}Stopped: ${stopped.detail}. ${waits}.`];
  const down = status.sessions.find((session) => session.state !== "online");
  if (down) return ["wait", () => `${name(down)}No line to WhatsApp now: ${down.detail}. ${waits}.`];
  const proofs = status.sessions.map(provenAt);
  const oldest = proofs.includes(null) ? null : Math.min(...proofs);
  const but = status.healthy ? "" : " But something is wrong, see below.";
  return [status.healthy ? "good" : "bad", (now) => {
    const heard = oldest === null ? "WhatsApp has let it in" : `WhatsApp answered ${span(now - oldest)} ago`;
    return `Alive: ${heard}, ${waits}.${but}`;
  }];
}

function showNow() {
  const [kind, text] = sentence();
  const line = at("sentence");
  line.className = `sentence ${kind}`;
  tick(line, text);
  // For a screen reader: what it is, without a clock that ticks in it.
  const said = text(statusAt).replace(/ \d[^ ]*( \d+[hms])? (ago|old)/, "");
  if (at("said").textContent !== said) at("said").textContent = said;
  document.title = (status && status.healthy && !statusError ? "" : "⚠ ") + "Tautline";
  if (!status) return;
  at("health").replaceChildren(...status.health.map((entry) => el("li", {},
    el("span", { class: entry.severity === "error" ? "bad" : "wait" }, entry.severity === "error" ? "✕ error" : "▲ warning"),
    " ", ...prose(entry.text || entry.title), " ", el("code", { class: "dim" }, entry.code),
    entry.advice ? el("p", {}, "What to do: ", ...prose(entry.advice)) : null)));
  at("sessions").replaceChildren(...status.sessions.map(showSession));
  at("facts").textContent = [
    `version ${status.version}`, `board ${status.board.name} (${status.board.why})`,
    `a silent death is noticed within ${span(status.board.detection_worst_ms)}`, `up ${span(status.uptime_ms)}`,
    status.lab ? "lab build" : "",
  ].filter(Boolean).join(" · ");
}

function showSession(session) {
  const [kind, word] = STATES[session.state] || ["wait", session.state];
  const next = session.next;
  const dueAt = next ? statusAt + next.in_ms : 0;
  const end = session.last_end;
  return el("div", { class: "session" },
    el("h3", {}, `Session ${session.name} `, el("span", { class: kind }, word)),
    word.endsWith(session.detail) ? null : el("p", {}, ...prose(session.detail)),
    session.layers.length ? table("layers", ["layer", "last proof of life", "in force"], session.layers.map((layer) => el("tr", {},
      el("th", { scope: "row" }, layer.layer),
      layer.proof_age_ms === null || layer.proof_age_ms === undefined ? el("td", { class: "dim" }, "none yet")
        : tick(el("td", { class: "number" }), (now) => `${span(now - statusAt + layer.proof_age_ms)} ago`),
      el("td", { class: "dim" }, layer.detail)))) : null,
    next ? tick(el("p", {}), (now) => `Next: ${next.reason}${dueAt > now ? ` in ${span(dueAt - now)}` : ", now"}.`) : null,
    end ? el("p", { class: "dim" }, "The line before ended ", tick(el("span", {}), (now) => `${span(now - end.at)} ago`),
      `: ${end.cause} (${end.origin}), ${end.verdict}. ${end.detail}`) : null);
}

async function loadStatus() {
  if (asking) return asking;
  asking = (async () => {
    try {
      status = await ask("/v1/status");
      statusAt = Date.now();
      statusError = "";
    } catch (error) {
      statusError = error.message;
    }
    asking = null;
    showNow();
    showButtons();
  })();
  return asking;
}

const may = (right) => Boolean(status && status.rights && status.rights.includes(right));

// Alerts.

const ALERT_STATES = {
  accepted: ["wait", "◌ waiting"], sent: ["good", "✓ sent"], delivered: ["good", "✓✓ delivered"], read: ["good", "✓✓ read"],
  fallback: ["wait", "↪ fallback"], dropped: ["dim", "– dropped"], expired: ["bad", "✕ expired"], failed: ["bad", "✕ failed"],
};
const alerts = new Map();
let wanted = ALERTS_FIRST;
let mayBeMore = false;

const stateOf = (alert) => ALERT_STATES[alert.state] || ["wait", alert.state];

function badge(state) {
  const [kind, word] = ALERT_STATES[state] || ["wait", state];
  return el("span", { class: `badge ${kind}` }, word);
}

async function loadAlerts() {
  try {
    const all = await ask(`/v1/alerts?limit=${wanted}`);
    mayBeMore = all.length === wanted && wanted < ALERTS_MAX;
    const there = new Set(all.map((alert) => alert.id));
    for (const [id, row] of alerts) if (!there.has(id)) { row.node.remove(); alerts.delete(id); }
    all.forEach(takeAlert);
    fail("");
  } catch (error) {
    fail(error.message);
  }
  sort();
}

function fail(text) {
  at("alerts-error").textContent = text;
  at("alerts-error").hidden = !text;
}

// One alert as it is now. A row that is open stays open, and its text may be selected.
function takeAlert(alert) {
  let row = alerts.get(alert.id);
  if (!row) {
    row = makeRow(alert.id);
    alerts.set(alert.id, row);
  }
  const same = JSON.stringify(alert);
  if (row.same === same) return;
  Object.assign(row, { same, alert, words: `${alert.title} ${alert.text} ${alert.route} ${alert.id}`.toLowerCase() });
  const [kind, word] = stateOf(alert);
  row.badge.className = `badge ${kind}`;
  row.badge.textContent = word;
  row.route.textContent = alert.route;
  row.title.textContent = alert.title;
  row.text.textContent = alert.text.length > EXCERPT ? `${alert.text.slice(0, EXCERPT)}…` : alert.text;
  tick(row.when, (now) => `${span(now - alert.accepted_at)} ago`);
  row.when.title = clock(alert.accepted_at);
  row.node.hidden = !fits(row);
  if (row.details.open) open(row);
}

function makeRow(id) {
  const row = {
    badge: el("span"), route: el("span", { class: "route" }), title: el("b"), text: el("span"), when: el("time", { class: "dim" }),
    body: el("div", { class: "life" }),
  };
  row.details = el("details", {}, el("summary", {}, row.badge, " ", row.route, " ", row.when, el("span", { class: "excerpt" }, row.title, " ", row.text)),
    row.body);
  row.details.addEventListener("toggle", () => { if (row.details.open) open(row); });
  row.node = el("li", { id: `alert-${id}` }, row.details);
  return row;
}

// The whole life of one.
async function open(row) {
  let alert;
  try {
    alert = await ask(`/v1/alerts/${encodeURIComponent(row.alert.id)}`);
  } catch (error) {
    row.body.replaceChildren(el("p", { class: "bad" }, error.message));
    return;
  }
  const to = (index) => (index === undefined || index === null ? "" : (alert.deliveries[index] || {}).to || "");
  const held = alert.deliveries.filter((delivery) => delivery.held_back).map((delivery) => delivery.held_back);
  row.body.replaceChildren(...[
    alert.title ? el("p", {}, el("b", {}, alert.title)) : null,
    el("pre", { class: "text" }, alert.text),
    alert.click ? el("p", {}, "Link: ", el("code", {}, alert.click)) : null,
    ...(alert.attachments || []).map((file) => el("p", {}, `File: ${file.name || file.kind}, ${file.mime}, ${Math.ceil(file.bytes / 1024)} KiB`)),
    ...held.slice(0, 1).map((one) => el("p", { class: "wait" }, `Held back: ${one.why}${one.until_at ? ` until ${clock(one.until_at)}` : ""}`)),
    table("deliveries", ["to", "state", "since", "tries", "note"], alert.deliveries.map((one) => el("tr", {},
      el("td", {}, one.to), el("td", {}, badge(one.state)), el("td", { class: "number" }, clock(one.since_at)),
      el("td", { class: "number" }, String(one.attempts)), el("td", { class: "words" }, one.note || "")))),
    ...(alert.fallbacks || []).map((one) => el("p", {}, `Fallback ${one.to}: ${one.state} since ${clock(one.since_at)}. ${one.note || ""}`)),
    (alert.history || []).length ? el("ol", { class: "history" }, ...alert.history.map((step) => el("li", {},
      el("time", { class: "dim" }, clock(step.at)), ` ${step.what} ${to(step.delivery)}`))) : null,
    el("p", { class: "dim" }, `id ${alert.id} · priority ${alert.priority}${alert.tags.length ? ` · ${alert.tags.join(", ")}` : ""}`),
    actions(row, alert),
  ].filter(Boolean));
}

// What can still be done with it, where the caller may; else how somebody does it who may.
function actions(row, alert) {
  const given = ["failed", "expired", "dropped"].includes(alert.state);
  const waits = alert.deliveries.some((one) => one.state === "accepted");
  if (!given && !waits) return null;
  const said = el("span", { role: "status" });
  const act = (name, method, path, why) => el("button", { type: "button", onclick: async (event) => {
    event.target.disabled = true;
    said.textContent = " …";
    try {
      takeAlert(await ask(path, { method }));
      said.textContent = ` ${why}`;
    } catch (error) {
      said.textContent = ` ${error.message}`;
    }
    event.target.disabled = false;
  } }, name);
  const path = `/v1/alerts/${encodeURIComponent(alert.id)}`;
  if (may("admin")) {
    return el("p", { class: "actions" }, act(waits ? "Send now" : "Send again", "POST", `${path}/retry`, "It is tried again."), " ",
      waits ? act("Give up", "DELETE", path, "Given up.") : null, said);
  }
  return el("p", { class: "dim" }, "On this box: ", el("code", {}, `tautline queue retry ${alert.id}`), waits ? " or " : "",
    waits ? el("code", {}, `tautline queue drop ${alert.id}`) : null);
}

function fits(row) {
  const state = at("state").value;
  const words = at("search").value.toLowerCase().trim();
  return (!state || row.alert.state === state) && (!words || words.split(/\s+/).every((word) => row.words.includes(word)));
}

function filter() {
  let shown = 0;
  for (const row of alerts.values()) {
    row.node.hidden = !fits(row);
    if (!row.node.hidden) shown += 1;
  }
  const all = alerts.size;
  at("count").textContent = all ? (shown === all ? plural(all, "alert", "alerts") : `${shown} of ${all}`) : "";
  at("more").hidden = !mayBeMore;
}

// The newest first. A row moves only where it has to: one that has the focus keeps it.
function sort() {
  const rows = [...alerts.values()].sort((one, other) => other.alert.seq - one.alert.seq);
  const list = at("list");
  if (!rows.length) {
    list.replaceChildren(el("li", { class: "dim" }, "None yet. Routes, below, has lines to paste."));
  } else {
    let place = list.firstChild;
    for (const row of rows) {
      if (place === row.node) place = place.nextSibling;
      else list.insertBefore(row.node, place);
    }
    while (place) { const next = place.nextSibling; place.remove(); place = next; }
  }
  filter();
}

// Alerts of which something was told since they were last fetched.
const changed = new Set();
let fetching = null;
function change(id) {
  changed.add(id);
  fetching = fetching || setTimeout(fetchChanged, 50);
}
async function fetchChanged() {
  const ids = [...changed];
  changed.clear();
  // A burst comes as a list.
  if (ids.length > 8) {
    await loadAlerts();
  } else {
    await Promise.all(ids.map(async (id) => {
      try {
        takeAlert(await ask(`/v1/alerts/${encodeURIComponent(id)}`));
      } catch (error) {
        const row = alerts.get(id);
        if (row) { row.node.remove(); alerts.delete(id); }
      }
    }));
    sort();
  }
  fetching = changed.size ? setTimeout(fetchChanged, 50) : null;
}

// Timeline.

const SPANS = [["a day", 86400000], ["a week", 7 * 86400000], ["a month", 30 * 86400000]];
let back = SPANS[0][1];

// When the session was online, and what lies between, oldest first.
function tracks(session, entries, from, now) {
  const own = entries.filter((entry) => entry.kind === "relay-started" || entry.session === session.name);
  const ups = own.filter((entry) => entry.kind === "line-ended" && entry.logged_in)
    .map((entry) => ({ from: entry.at - entry.held_ms, to: entry.at, end: entry }));
  if (session.online_since) ups.push({ from: session.online_since, to: now, end: null });
  ups.sort((one, other) => one.from - other.from);
  const known = own.length ? Math.min(...own.map((entry) => (entry.kind === "line-ended" && entry.logged_in ? entry.at - entry.held_ms : entry.first_at)))
    : session.online_since || now;
  const gaps = [];
  let last = known;
  for (const up of ups) {
    if (up.from - last > 0 && up.from > from) gaps.push({ from: Math.max(last, from), to: up.from });
    last = Math.max(last, up.to);
  }
  if (now - last > 1000) gaps.push({ from: Math.max(last, from), to: now });
  for (const gap of gaps) {
    gap.entries = own.filter((entry) => entry.at >= gap.from - 1000 && entry.at <= gap.to + 1000);
  }
  return { ups: ups.filter((up) => up.to > from), gaps, known: Math.max(known, from) };
}

async function loadTimeline() {
  let entries;
  try {
    entries = await ask("/v1/lines?limit=1000");
  } catch (error) {
    at("tracks").replaceChildren(el("p", { class: "bad" }, error.message));
    return;
  }
  if (!status) return;
  const now = Date.now();
  at("tracks").replaceChildren(...status.sessions.map((session) => track(session, tracks(session, entries, now - back, now), now)));
}

const WIDTH = 1000;
// What is not known yet is not drawn: of a box of an hour, a day would be a hair.
function track(session, { ups, gaps, known: from }, now) {
  const x = (ms) => Math.max(0, Math.min(WIDTH, ((ms - from) / (now - from)) * WIDTH));
  const bar = (kind, start, end, title) => svg("rect", { class: kind, x: x(start), y: 0, height: 24, width: Math.max(1.5, x(end) - x(start)) },
    (() => { const text = svg("title"); text.textContent = title; return text; })());
  const up = ups.reduce((sum, one) => sum + (Math.min(one.to, now) - Math.max(one.from, from)), 0);
  const share = now > from ? Math.max(0, Math.min(100, (up / (now - from)) * 100)) : 0;
  const words = `${session.name}: up ${share.toFixed(share > 99 ? 2 : 1)} % of ${span(now - from)}, ${plural(gaps.length, "gap", "gaps")}`;
  return el("div", { class: "track" },
    el("h3", {}, words),
    svg("svg", { viewBox: `0 0 ${WIDTH} 24`, preserveAspectRatio: "none", role: "img", "aria-label": words },
      bar("down", from, now, "no line"),
      ...ups.map((one) => bar("up", one.from, one.to, `online from ${clock(one.from)} to ${one.end ? clock(one.to) : "now"}`))),
    el("p", { class: "scale dim" }, el("span", {}, clock(from)), el("span", {}, "now")),
    gaps.length ? el("ul", { class: "gaps" }, ...gaps.slice(-30).reverse().map(showGap)) : null,
    gaps.length > 30 ? el("p", { class: "dim" }, `and ${gaps.length - 30} earlier ones`) : null);
}

function showGap(gap) {
  const ended = gap.entries.find((entry) => entry.kind === "line-ended") || gap.entries[0];
  const why = ended ? ended.words : "nothing is recorded";
  return el("li", {}, el("details", {},
    el("summary", {}, el("span", { class: "number" }, clock(gap.from)), ` · ${span(gap.to - gap.from)} · ${why}`),
    el("ul", {}, ...gap.entries.map((entry) => el("li", {}, el("time", { class: "dim" }, clock(entry.at)), " ",
      entry.kind === "relay-started" ? `the relay started; ${entry.words}`
        : [entry.words, `[${entry.origin}]`, entry.verdict, entry.times > 1 ? `${entry.times} times` : "", entry.detail, entry.guess, entry.cadence].filter(Boolean).join("; "))))));
}

// Routes.

function lines(route) {
  const here = location.origin;
  return [
    ["curl", `curl -d "Backup failed" ${here}/${route}`],
    ["with a title", `curl -H "Title: NAS" -H "Priority: high" -d "Disk 3 is failing" ${here}/${route}`],
    ["ntfy", `ntfy publish ${here}/${route} "Backup failed"`],
    ["on this box", `tautline publish --to ${route} "Backup failed"`],
    ["Alertmanager, webhook url", `${here}/v1/hooks/alertmanager/${route}`],
    ["Uptime Kuma, webhook url", `${here}/v1/hooks/uptime-kuma/${route}`],
    ["listen", `curl -sN "${here}/v1/events?follow=1&route=${route}"`],
  ];
}

async function loadRoutes() {
  let routes;
  try {
    routes = await ask("/v1/routes");
  } catch (error) {
    at("route-list").replaceChildren(el("p", { class: "bad" }, error.message));
    return;
  }
  if (!routes.length) {
    at("route-list").replaceChildren(el("p", {}, "None is configured. A route is a name and whom its alerts go to; the configuration has them under ",
      el("code", {}, "[[route]]"), "."));
    return;
  }
  at("route-list").replaceChildren(...routes.map((route) => {
    const said = el("span", { role: "status" });
    return el("details", {}, el("summary", {}, el("b", {}, route)),
      el("p", { class: "actions" }, el("button", { type: "button", class: "try", hidden: !may("publish"), onclick: () => tryRoute(route, said) },
        "Send a test alert"), said),
      el("dl", {}, ...lines(route).flatMap(([name, text]) => {
        const code = el("code", {}, text);
        return [el("dt", {}, name), el("dd", {}, code, " ", el("button", {
          type: "button", "aria-label": `Copy the line for ${name}`, onclick: (event) => copy(code, event.target),
        }, "Copy"))];
      })));
  }));
}

async function tryRoute(route, said) {
  said.textContent = " …";
  try {
    const answer = await ask(`/${encodeURIComponent(route)}`, {
      method: "POST", headers: { Title: "Test", Tags: "test" }, body: `A test of the route ${route} from the page.`,
    });
    said.textContent = ` Accepted as ${answer.id}; above you see how far it comes.${answer.warning ? ` ${answer.warning}` : ""}`;
  } catch (error) {
    said.textContent = ` ${error.message}`;
  }
}

async function copy(code, button) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } catch {
    // Without the right to it, or over plain HTTP: it is marked, and the keyboard copies it.
    getSelection().selectAllChildren(code);
    button.textContent = "Marked";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}

function showButtons() {
  for (const button of document.querySelectorAll("button.try")) button.hidden = !may("publish");
}

// Together.

let soon = null;
function statusSoon() {
  soon = soon || setTimeout(() => { soon = null; loadStatus().then(loadTimeline); }, 100);
}

function showStream({ state, why, retryAt }) {
  const words = {
    live: () => "live", connecting: () => "connecting …", closed: () => `not live: ${why}`,
    waiting: (now) => `not live: ${why}; trying again ${retryAt > now ? `in ${span(retryAt - now)}` : "now"}`,
  };
  at("stream").className = state === "live" ? "good" : "wait";
  tick(at("stream"), words[state]);
}

function begin() {
  at("page").hidden = false;
  at("nav").hidden = false;
  for (const [value, [, word]] of Object.entries(ALERT_STATES)) at("state").append(el("option", { value }, word));
  at("filter").addEventListener("input", filter);
  at("filter").addEventListener("submit", (event) => event.preventDefault());
  at("more").addEventListener("click", () => { wanted = ALERTS_MAX; loadAlerts(); });
  for (const [name, ms] of SPANS) {
    at("spans").append(el("button", { type: "button", "aria-pressed": String(ms === back), onclick: (event) => {
      back = ms;
      for (const button of at("spans").children) button.setAttribute("aria-pressed", String(button === event.target));
      loadTimeline();
    } }, name), " ");
  }
  showNow();
  loadStatus().then(() => { loadTimeline(); loadRoutes(); });
  let loaded = false;
  new Tautline({
    onstate: (state) => {
      showStream(state);
      // What is fetched now is behind what will be told: nothing falls in between.
      if (state.state === "live" && !loaded) { loaded = true; loadAlerts(); }
      if (state.state !== "connecting") statusSoon();
    },
    onevent: (event) => { if (event.alert) change(event.alert); else statusSoon(); },
    ongap: () => { loadAlerts(); statusSoon(); },
    onreset: () => { loadAlerts(); statusSoon(); },
  });
  // Without a stream the list is there all the same.
  setTimeout(() => { if (!loaded) loadAlerts(); }, 2000);
  const seen = () => document.visibilityState === "visible";
  setInterval(() => { if (seen()) ticks(); }, 1000);
  setInterval(() => { if (seen()) loadStatus(); }, STATUS_EVERY_MS);
  document.addEventListener("visibilitychange", () => { if (seen()) { ticks(); statusSoon(); } });
}

begin();
