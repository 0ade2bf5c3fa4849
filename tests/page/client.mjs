// web/tautline.js against a gateway of a few lines, in virtual time: connections break, die in silence or are closed, the
// journal is trimmed, and what the client was told must be the journal but for the gaps that were announced.
// `node tests/page/client.mjs [SEED]`
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const Tautline = createRequire(import.meta.url)("../../web/tautline.js");

// xorshift32, so that a seed is a history.
function random(seed) {
  let state = (seed * 2654435761 + 1) >>> 0 || 1;
  return (below) => {
    state ^= state << 13; state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5; state >>>= 0;
    return state % below;
  };
}

class Clock {
  time = 1_700_000_000_000;
  due = [];
  next = 1;
  now = () => this.time;
  setTimeout = (act, after = 0) => {
    this.due.push({ at: this.time + after, id: this.next, act });
    return this.next++;
  };
  clearTimeout = (id) => { this.due = this.due.filter((timer) => timer.id !== id); };
  async advance(ms) {
    const until = this.time + ms;
    for (;;) {
      this.due.sort((one, other) => one.at - other.at || one.id - other.id);
      if (!this.due.length || this.due[0].at > until) break;
      const timer = this.due.shift();
      this.time = Math.max(this.time, timer.at);
      timer.act();
      await null; await null; await null;
    }
    this.time = until;
  }
}

const PING_MS = 20000;

// What the gateway does, as docs/events.md says it.
class World {
  constructor(seed) {
    this.random = random(seed);
    this.clock = new Clock();
    this.journal = [];
    this.newest = 0;
    this.trimmed = new Set();
    this.reachable = true;
    this.sockets = new Set();
    const world = this;
    this.WebSocket = class {
      readyState = 0;
      told = [];
      constructor(url, protocol) {
        assert.equal(url, "ws://gateway.test/v1/events");
        assert.equal(protocol, "tautline.v1");
        world.clock.setTimeout(() => {
          if (!world.reachable) return this.die(1006, "");
          this.readyState = 1;
          world.sockets.add(this);
          this.onopen({});
        }, 5);
      }
      send(text) {
        if (this.silent || this.readyState !== 1) return;
        const said = JSON.parse(text);
        if (this.after === undefined) {
          this.window = said.window;
          const reset = said.since > world.newest;
          this.after = reset ? 0 : said.since ?? world.newest;
          this.deliver({ event: "hello", since: this.after, newest: world.newest, ping_ms: PING_MS });
          if (reset) this.deliver({ event: "reset", newest: world.newest });
          const beat = () => {
            if (this.readyState !== 1) return;
            this.deliver({ event: "keepalive", upto: this.after });
            world.clock.setTimeout(beat, PING_MS);
          };
          world.clock.setTimeout(beat, PING_MS);
        } else {
          this.told = this.told.filter((number) => number > said.ack);
        }
        this.tell();
      }
      tell() {
        if (this.readyState !== 1 || this.after === undefined) return;
        for (const number of world.journal.filter((number) => number > this.after)) {
          if (this.told.length >= this.window) return;
          if (number > this.after + 1) this.deliver({ event: "gap", from: this.after + 1, to: number - 1 });
          this.after = number;
          this.told.push(number);
          this.deliver({ number, event: "sent" });
        }
      }
      deliver(word) {
        if (this.silent) return;
        world.clock.setTimeout(() => this.readyState === 1 && !this.silent && this.onmessage({ data: JSON.stringify(word) }), 1);
      }
      die(code, reason) {
        if (this.readyState === 3) return;
        this.readyState = 3;
        world.sockets.delete(this);
        this.onclose({ code, reason });
      }
      close() {
        this.readyState = 3;
        world.sockets.delete(this);
      }
    };
  }

  happen(count) {
    for (let each = 0; each < count; each++) this.journal.push(++this.newest);
    for (const socket of this.sockets) socket.tell();
  }

  async turn() {
    const all = [...this.sockets];
    switch (this.random(10)) {
      case 0: case 1: case 2: this.happen(1 + this.random(40)); break;
      case 3:
        // The newest always stays.
        for (let each = this.random(100); each > 0 && this.journal.length > 1; each--) this.trimmed.add(this.journal.shift());
        break;
      case 4: for (const socket of all) socket.die(1006, ""); break;
      case 5: for (const socket of all) socket.die(1001, "the relay stops: come again in 2 s, resume from 1"); break;
      // As behind a NAT that has forgotten it.
      case 6: for (const socket of all) socket.silent = true; break;
      case 7: this.reachable = !this.reachable; break;
      default: break;
    }
    await this.clock.advance(this.random(3) ? this.random(2000) : this.random(60000));
  }
}

async function run(seed) {
  const world = new World(seed);
  const [seen, gaps, states] = [[], [], []];
  let failed = null;
  const client = new Tautline({
    url: "http://gateway.test/v1/events",
    since: 0,
    window: [1, 8, 256][world.random(3)],
    WebSocket: world.WebSocket,
    fetch: async () => { throw new Error("not reachable"); },
    timers: world.clock,
    onevent: (event) => seen.push(event.number),
    ongap: (gap) => gaps.push(gap),
    onreset: () => { failed = "a reset of a journal that is the same"; },
    onstate: ({ state }) => states.push(state),
  });
  for (let each = 0; each < 100; each++) await world.turn();
  // Nothing breaks any more.
  world.reachable = true;
  world.happen(1);
  await world.clock.advance(10 * 60000);
  assert.equal(failed, null);
  assert.equal(client.state.state, "live");
  assert.equal(client.since, world.newest);
  assert.ok(world.sockets.size <= 1, "more than one connection");
  const gone = new Set(gaps.flatMap(({ from, to }) => Array.from({ length: to - from + 1 }, (_, at) => from + at)));
  assert.ok([...gone].every((number) => world.trimmed.has(number)), "said to be gone, and is there");
  assert.ok(seen.every((number, at) => at === 0 || number > seen[at - 1]), "twice, or out of order");
  const told = new Set(seen);
  for (let number = 1; number <= world.newest; number++) {
    assert.ok(told.has(number) !== gone.has(number), `${number} is neither told nor said to be gone, or both`);
  }
  client.close();
  assert.equal(client.state.state, "closed");
  assert.equal(world.sockets.size, 0);
  return gaps.length;
}

async function pauses() {
  const world = new World(1);
  world.reachable = false;
  const tries = [];
  const client = new Tautline({
    url: "http://gateway.test/v1/events",
    WebSocket: world.WebSocket,
    fetch: async () => ({ ok: false, status: 401, json: async () => ({ error: "a token is needed here" }) }),
    timers: world.clock,
    onstate: ({ state }) => { if (state === "connecting") tries.push(world.clock.now()); },
  });
  await world.clock.advance(600000);
  const spans = tries.slice(1).map((at, index) => at - tries[index]);
  assert.ok(spans[0] < 600 && spans.every((span) => span <= 30100), `${spans}`);
  assert.ok(spans.slice(8).every((span) => span >= 15000), `${spans}`);
  // A page has no other way to learn why there is no WebSocket.
  assert.equal(client.state.why, "a token is needed here");
  // What would only fail again is not tried again.
  world.reachable = true;
  client.retry();
  await world.clock.advance(100);
  assert.equal(client.state.state, "live");
  [...world.sockets][0].die(1008, "the token is no longer good for this: use another");
  await world.clock.advance(600000);
  assert.deepEqual([client.state.state, client.state.why], ["closed", "the token is no longer good for this: use another"]);
}

const only = process.argv[2];
let gaps = 0;
for (let seed = Number(only ?? 0); seed < (only === undefined ? 300 : Number(only) + 1); seed++) {
  try {
    gaps += await run(seed);
  } catch (error) {
    console.error(`seed ${seed}`);
    throw error;
  }
}
await pauses();
if (only === undefined) assert.ok(gaps > 100, `the histories have hardly any gaps: ${gaps}`);
console.log(`the client was told all, with ${gaps} gaps`);
