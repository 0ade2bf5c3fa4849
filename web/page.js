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
  if (!answer.ok) throw Object.assign(new Error(body.error || `the relay answers ${answer.status}`), { status: answer.status });
  return body;
}

// A button that does something over the API, and says in `said` how that went.
function doing(name, said, act) {
  return el("button", { type: "button", onclick: async ({ target }) => {
    target.disabled = true;
    said.className = "";
    said.textContent = " …";
    try {
      said.textContent = ` ${await act()}`;
    } catch (error) {
      said.className = "bad";
      said.textContent = ` ${error.message}`;
    }
    target.disabled = false;
  } }, name);
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
    const how = may("admin") ? "Link it below" : "Run “tautline pair” on this box, or log in to link it here";
    return ["bad", () => `${name(unlinked)}Not linked. ${how}; the phone scans a code. ${waits}.`];
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

function go(id) {
  const section = at(id);
  section.scrollIntoView();
  const first = section.querySelector("button:not([hidden]), input, select, summary");
  if (first) first.focus({ preventScroll: true });
}

function only(state) {
  at("state").value = state;
  filter();
  go("alerts");
}

// What this page can do about a finding.
const REMEDIES = {
  "session-unpaired": ["Link it", () => (may("admin") ? go("pair") : askForLogin())],
  "alerts-failed": ["Show them", () => only("failed")],
  "outbox-stuck": ["Show them", () => only("accepted")],
  "route-unproven": ["Test the routes", () => go("routes")],
};

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
    entry.advice ? el("p", {}, "What to do: ", ...prose(entry.advice)) : null,
    REMEDIES[entry.code] ? el("p", {}, el("button", { type: "button", onclick: REMEDIES[entry.code][1] }, REMEDIES[entry.code][0])) : null)));
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
      // The second is for a network that may publish and not look.
      if (error.status === 401 || error.status === 403) askForLogin(error.status === 403 ? error.message : " ");
    }
    asking = null;
    showNow();
    showRights();
  })();
  return asking;
}

const may = (right) => Boolean(status && status.rights && status.rights.includes(right));

// Who looks.

// With `why`, nothing is shown before.
function askForLogin(why) {
  if (why) {
    document.body.className = "shut";
    at("login-said").textContent = why;
  }
  if (!at("login").hidden) return;
  at("login").hidden = false;
  at("token").focus();
}

async function logIn(event) {
  event.preventDefault();
  const said = at("login-said");
  said.className = "";
  said.textContent = "…";
  try {
    await ask("/v1/login", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ token: at("token").value.trim() }) });
    location.reload();
  } catch (error) {
    said.className = "bad";
    said.textContent = error.message;
  }
}

async function logOut(all) {
  await ask(`/v1/login${all ? "?all=1" : ""}`, { method: "DELETE" });
  location.reload();
  return "";
}

let shownRights = "";
function showRights() {
  if (!status) return;
  const rights = JSON.stringify([status.rights, status.login && status.login.token]);
  if (rights !== shownRights) {
    shownRights = rights;
    const said = el("span", { role: "status" });
    at("who").replaceChildren(...(status.login
      ? [`logged in with the token ${status.login.token}, which may ${status.login.rights.join(", ")} `, doing("Log out", said, () => logOut(false)), " ",
        doing("Log out everywhere", said, () => logOut(true)), said]
      : may("admin") ? [] : [el("button", { type: "button", onclick: () => askForLogin() }, "Log in to act")]));
    at("send").hidden = !may("publish");
    for (const node of document.querySelectorAll(".admin")) node.hidden = !may("admin");
    for (const row of alerts.values()) if (row.details.open) open(row);
  }
  showPair();
}

// Linking.

let pairing = null;

function showPair() {
  const open = status.sessions.filter((session) => ["unpaired", "pairing"].includes(session.state)).map((session) => session.name);
  // What is said of the end stays.
  at("pair").hidden = !may("admin") || (!open.length && !at("pair-said").textContent);
  at("pair-form").hidden = !open.length;
  const select = at("pair-session");
  if ([...select.options].map((option) => option.value).join() !== open.join()) {
    select.replaceChildren(...open.map((name) => el("option", { value: name }, name)));
  }
  at("pair-which").hidden = open.length < 2;
}

// The modules of a QR code as one path: a run of dark ones is a rectangle.
function drawn(rows) {
  const size = rows.length;
  const path = rows.map((row, y) => [...row.matchAll(/1+/g)].map((run) => `M${run.index} ${y}h${run[0].length}v1h-${run[0].length}z`).join("")).join("");
  return svg("svg", { class: "qr", viewBox: `-4 -4 ${size + 8} ${size + 8}`, role: "img", "aria-label": "QR code to scan with WhatsApp", "shape-rendering": "crispEdges" },
    svg("path", { d: path }));
}

const MENU = "On the phone: WhatsApp, settings, linked devices, link a device";

function showPairEvent(event) {
  const until = Date.now() + (event.valid_ms || 0);
  const left = () => tick(el("p", { class: "number" }), (now) => (until > now ? `It is good for ${span(until - now)}.` : "It is over; the next one comes."));
  const views = {
    qr: () => [el("p", {}, `${MENU}. Then scan this.`), drawn(event.rows || []), left()],
    code: () => [el("p", {}, `${MENU}, link with phone number. Then type this.`), el("p", { class: "code" }, event.code), left()],
    waiting: () => [el("p", { class: "wait" }, `There is no line to link over: ${event.reason}. It is tried again.`)],
    paired: () => [], failed: () => [],
  };
  at("pair-view").replaceChildren(...(views[event.event] || (() => []))());
  const said = { paired: `Linked: ${event.account}.`, failed: `Not linked: ${event.reason}.` }[event.event];
  at("pair-said").className = event.event === "failed" ? "bad" : "good";
  at("pair-said").textContent = said || "";
  if (said) statusSoon();
}

async function pair(phone) {
  if (pairing) pairing.abort();
  const own = new AbortController();
  pairing = own;
  at("pair-said").textContent = "…";
  try {
    const query = phone ? `&phone=${encodeURIComponent(phone.replace(/[\s()+.-]/g, ""))}` : "";
    const answer = await fetch(`/v1/sessions/${encodeURIComponent(at("pair-session").value)}/pair?draw=1${query}`, { method: "POST", signal: own.signal });
    if (!answer.ok) throw new Error((await answer.json()).error);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ""; ;) {
      const { value, done } = await reader.read();
      if (done) break;
      const lines = (text + value).split("\n");
      text = lines.pop();
      for (const line of lines) if (line) showPairEvent(JSON.parse(line));
    }
  } catch (error) {
    if (own.signal.aborted) return;
    at("pair-view").replaceChildren();
    at("pair-said").className = "bad";
    at("pair-said").textContent = error.message;
  }
}

// Alerts.

const ALERT_STATES = {
  accepted: ["wait", "◌ waiting"], superseded: ["dim", "– superseded"], sent: ["good", "✓ sent"], delivered: ["good", "✓✓ delivered"], read: ["good", "✓✓ read"],
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
  const focused = row.body.contains(document.activeElement);
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
    alert.acknowledged ? el("p", { class: "good" }, `✓ acknowledged ${clock(alert.acknowledged.at)} by ${alert.acknowledged.by}`) : null,
    alert.repeats ? el("p", {}, `Said again ${plural(alert.repeats, "time", "times")}.`) : null,
    alert.escalated_at ? el("p", {}, `Another route was told ${clock(alert.escalated_at)}.`) : null,
    (alert.beside || []).length ? el("details", {}, el("summary", {}, `In one message with ${plural(alert.beside.length - 1, "other", "others")}`),
      el("ul", {}, ...alert.beside.map((one) => el("li", {}, el("b", {}, one.title), " ", one.text)))) : null,
    ...(alert.fallbacks || []).map((one) => el("p", {}, `Fallback ${one.to}: ${one.state} since ${clock(one.since_at)}. ${one.note || ""}`)),
    (alert.history || []).length ? el("ol", { class: "history" }, ...alert.history.map((step) => el("li", {},
      el("time", { class: "dim" }, clock(step.at)), ` ${step.what} ${to(step.delivery)}`))) : null,
    el("p", { class: "dim" }, `id ${alert.id} · priority ${alert.priority}${alert.tags.length ? ` · ${alert.tags.join(", ")}` : ""}`),
    actions(row, alert),
  ].filter(Boolean));
  // The keyboard goes on where it was, and not at the top of the page.
  if (focused) row.details.firstChild.focus();
}

// What can still be done with it, where the caller may; else how somebody does it who may.
function actions(row, alert) {
  const given = ["failed", "expired", "dropped"].includes(alert.state);
  const waits = alert.deliveries.some((one) => one.state === "accepted");
  const path = `/v1/alerts/${encodeURIComponent(alert.id)}`;
  const ways = [
    !alert.acknowledged && ["Acknowledge", "POST", `${path}/ack`, "ack"],
    (given || waits) && [waits ? "Send now" : "Send again", "POST", `${path}/retry`, "retry"],
    waits && ["Give up", "DELETE", path, "drop"],
  ].filter(Boolean);
  if (!ways.length) return null;
  if (!may("admin")) {
    return el("p", { class: "dim" }, "On this box: ", ...ways.flatMap(([, , , command], place) => [place ? " or " : "", el("code", {}, `tautline queue ${command} ${alert.id}`)]));
  }
  // What is drawn anew says itself that it was done; only a refusal is to stay.
  const said = el("span", { role: "status" });
  return el("p", { class: "actions" }, ...ways.flatMap(([name, method, path]) => [doing(name, said, async () => {
    takeAlert(await ask(path, { method }));
    return "Done.";
  }), " "]), said);
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
      entry.kind === "relay-started" ? entry.words
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
    const about = el("div");
    const details = el("details", {}, el("summary", {}, el("b", {}, route)), about,
      el("p", { class: "actions admin", hidden: !may("admin") }, doing("Test it", said, () => tryRoute(route, about)), said),
      el("dl", {}, ...lines(route).flatMap(([name, text]) => {
        const code = el("code", {}, text);
        return [el("dt", {}, name), el("dd", {}, code, " ", el("button", {
          type: "button", "aria-label": `Copy the line for ${name}`, onclick: (event) => copy(code, event.target),
        }, "Copy"))];
      })));
    details.addEventListener("toggle", () => { if (details.open) aboutRoute(route, about); });
    return details;
  }));
  at("send-route").replaceChildren(...routes.map((route) => el("option", { value: route }, route)));
}

// What it does and when it was last seen to work.
async function aboutRoute(route, about) {
  try {
    const view = await ask(`/v1/routes/${encodeURIComponent(route)}`);
    const proven = (when, what) => el("li", { class: when ? "" : "wait" }, when ? `${what} worked ${clock(when)}` : `${what} was never seen to work`);
    about.replaceChildren(el("p", {}, `By session ${view.session} to ${view.to.join(", ")}.`), el("ul", {},
      ...view.policies.map((policy) => el("li", {}, policy)), proven(view.proven_at, "WhatsApp"),
      ...(view.fallbacks || []).map((fallback) => proven(fallback.proven_at, `fallback ${fallback.name}`))));
  } catch (error) {
    about.replaceChildren(el("p", { class: "bad" }, error.message));
  }
}

// Marked as a test; the answer comes when it is delivered, or is not in a minute.
async function tryRoute(route, about) {
  const tested = await ask(`/v1/routes/${encodeURIComponent(route)}/test?timeout=60s`, { method: "POST", signal: AbortSignal.timeout(120000) });
  aboutRoute(route, about);
  const by = tested.fallbacks.map((one) => `fallback ${one.name} ${one.taken ? "took it" : `did not: ${one.note}`}`);
  return [tested.proven ? "It works:" : "Not proven:", [`WhatsApp says ${stateOf(tested.alert)[1]}`, ...by].join("; ")].join(" ");
}

async function send(event) {
  event.preventDefault();
  const said = at("send-said");
  said.className = "";
  said.textContent = "…";
  try {
    const answer = await ask("/", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({
      topic: at("send-route").value, title: at("send-title").value, priority: Number(at("send-priority").value), message: at("send-text").value,
    }) });
    said.textContent = ["Accepted.", answer.warning].filter(Boolean).join(" ");
    at("send-text").value = "";
  } catch (error) {
    said.className = "bad";
    said.textContent = error.message;
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
  at("login-form").addEventListener("submit", logIn);
  at("send-form").addEventListener("submit", send);
  at("pair-qr").addEventListener("click", () => pair());
  at("pair-form").addEventListener("submit", (event) => { event.preventDefault(); pair(at("pair-phone").value); });
  showNow();
  loadStatus().then(() => {
    // Whoever may see nothing is not told that again and again.
    if (document.body.className === "shut") return;
    loadTimeline();
    loadRoutes();
    live();
  });
}

function live() {
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
