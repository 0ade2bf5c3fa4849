// A client of GET /v1/events for pages: comes again with jitter, goes on after the last number, and says what it is doing.
// The protocol is docs/events.md. No dependencies; `new Tautline({onevent, onstate, …})`, or `require`d in Node.
"use strict";

class Tautline {
  // Pauses before it comes again, in milliseconds: the first, doubled up to the longest, each between half and whole.
  static PAUSE_FIRST = 500;
  static PAUSE_MAX = 30000;
  // A connection has proven itself after this long: pauses start over.
  static PROVEN = 10000;
  // Before the gateway's hello says how often it gives a sign of life.
  static PING_MS = 20000;
  // Closes after which coming again by itself would only repeat the fault.
  static FINAL = [1002, 1003, 1007, 1008, 1009, 4000];

  constructor(options = {}) {
    this.options = options;
    // The number of the last entry that was told, or is known to be unwanted; undefined: from now on.
    this.since = options.since;
    this.state = { state: "closed", why: "", retryAt: null };
    this.timers = options.timers || {
      setTimeout: (...all) => setTimeout(...all), clearTimeout: (timer) => clearTimeout(timer), now: () => Date.now(),
    };
    this.pause = Tautline.PAUSE_FIRST;
    this.open();
    if (globalThis.addEventListener) {
      // A page that was asleep, and a network that is back, do not wait for a timer.
      this.woken = () => { if (this.state.state === "waiting") this.retry(); else this.check(); };
      for (const name of ["online", "pageshow", "focus"]) globalThis.addEventListener(name, this.woken);
    }
  }

  // Now, instead of when its pause is over.
  retry() {
    if (this.state.state === "live" || this.state.state === "connecting") return;
    this.timers.clearTimeout(this.timer);
    this.open();
  }

  // For good, until `retry`.
  close() {
    this.end("closed", "closed here");
  }

  open() {
    const { url = "/v1/events", WebSocket = globalThis.WebSocket } = this.options;
    const place = new URL(url, globalThis.location && globalThis.location.href);
    place.protocol = place.protocol.replace("http", "ws");
    this.say("connecting", "");
    let socket;
    try {
      socket = new WebSocket(place.href, "tautline.v1");
    } catch (error) {
      return this.again(String(error.message || error));
    }
    this.socket = socket;
    this.pingMs = Tautline.PING_MS;
    this.unacknowledged = 0;
    this.hear();
    const current = (act) => (event) => { if (this.socket === socket) act(event); };
    socket.onopen = current(() => {
      const hello = { window: this.options.window || 256 };
      for (const name of ["kind", "session", "route", "alert"]) if (this.options[name]) hello[name] = this.options[name];
      if (this.since !== undefined) hello.since = this.since;
      socket.send(JSON.stringify(hello));
    });
    socket.onmessage = current(({ data }) => this.take(JSON.parse(data)));
    socket.onclose = current(({ code, reason }) => {
      if (Tautline.FINAL.includes(code)) return this.end("closed", reason || `refused (${code})`);
      if (this.heardHello || reason) return this.again(reason || `the connection ended (${code})`);
      // A browser does not tell a page why there was no WebSocket; the same address over HTTP does.
      this.ask(socket);
    });
    this.heardHello = false;
  }

  async ask(socket) {
    const { url = "/v1/events", fetch = globalThis.fetch } = this.options;
    let why = "the relay does not answer";
    try {
      const answer = await fetch(`${url}?limit=1`, { cache: "no-store" });
      if (!answer.ok) why = (await answer.json()).error || `the relay answers ${answer.status}`;
    } catch { /* It does not. */ }
    if (this.socket === socket) this.again(why);
  }

  take(word) {
    this.hear();
    const { onevent, ongap, onreset } = this.options;
    if (word.number !== undefined) {
      // What was told before a connection broke may be told again.
      if (this.since === undefined || word.number > this.since) {
        this.since = word.number;
        if (onevent) onevent(word);
      }
      this.acknowledge();
    } else if (word.event === "hello") {
      this.heardHello = true;
      this.pingMs = word.ping_ms;
      if (this.since === undefined) this.since = word.since;
      this.provenAt = this.timers.now() + Tautline.PROVEN;
      this.say("live", "");
      this.hear();
    } else if (word.event === "gap") {
      this.since = word.to;
      if (ongap) ongap(word);
    } else if (word.event === "reset") {
      this.since = 0;
      if (onreset) onreset(word);
    } else if (word.event === "keepalive") {
      if (word.upto > this.since) this.since = word.upto;
      if (this.timers.now() >= this.provenAt) this.pause = Tautline.PAUSE_FIRST;
    }
  }

  // Not each: a burst is answered once for every part of the window.
  acknowledge() {
    this.unacknowledged += 1;
    const most = Math.ceil((this.options.window || 256) / 4);
    if (this.unacknowledged < most) {
      if (this.acknowledging === undefined) {
        this.acknowledging = this.timers.setTimeout(() => this.sendAcknowledgement(), 200);
      }
    } else {
      this.sendAcknowledgement();
    }
  }

  sendAcknowledgement() {
    this.timers.clearTimeout(this.acknowledging);
    this.acknowledging = undefined;
    this.unacknowledged = 0;
    if (this.socket && this.socket.readyState === 1) this.socket.send(JSON.stringify({ ack: this.since }));
  }

  // A sign of life. Without one for two intervals the connection is dead, whatever the browser thinks.
  hear() {
    this.heardAt = this.timers.now();
    this.timers.clearTimeout(this.deaf);
    this.deaf = this.timers.setTimeout(() => this.check(), 2 * this.pingMs + 1000);
  }

  check() {
    if (this.socket && this.timers.now() - this.heardAt > 2 * this.pingMs) this.again("no sign of life came");
  }

  // After a pause, which grows.
  again(why) {
    const pause = this.pause * (0.5 + Math.random() / 2);
    this.pause = Math.min(2 * this.pause, Tautline.PAUSE_MAX);
    this.end("waiting", why, this.timers.now() + pause);
    this.timer = this.timers.setTimeout(() => this.open(), pause);
  }

  end(state, why, retryAt = null) {
    for (const timer of [this.timer, this.deaf, this.acknowledging]) this.timers.clearTimeout(timer);
    this.acknowledging = undefined;
    const socket = this.socket;
    this.socket = null;
    if (socket) socket.close();
    this.say(state, why, retryAt);
  }

  say(state, why, retryAt = null) {
    this.state = { state, why, retryAt };
    if (this.options.onstate) this.options.onstate(this.state);
  }
}

if (typeof module !== "undefined") module.exports = Tautline;
