/**
 * The viewers, as a process: each watches its lots through the broadcast Service, and when its socket ends
 * or says nothing any more it comes back and resumes by (epoch, seq), as PROTOCOL.md asks of a client. Every
 * frame goes into the history. Messages: ToChild, FromChild.
 */
import { setTimeout as sleep } from "node:timers/promises";
import WebSocket from "ws";
import { mayReconnect, openMaxMs, waitMs } from "../../services/broadcast/reconnect-policy.ts";
import type { Position } from "../../services/lot/position.ts";
import { randomOf, shuffled } from "../random.ts";
import { nowMs, Recorder } from "../recorder.ts";
import type { FromChild, Plan, ToChild, ViewerCounts } from "./plan.ts";
import { ViewsWriter } from "./views.ts";

/** One viewer in so many watches some lots, the others one. */
const SOME_ONE_IN = 20;
const SOME_LOTS = 4;
const CONNECT_AT_ONCE = 50;
const TELL_EVERY_MS = 1_000;
const LOOK_EVERY_MS = 500;
/** Without a word for so long a viewer asks, */
const QUIET_MS = 1_500;
/** and without an answer by then it gives the socket up. */
const SILENT_MS = 3_500;
/** At the end: so long without a frame means that all is told. */
const SETTLED_MS = 4_000;
const SETTLE_MAX_MS = 60_000;

const PING = JSON.stringify({ type: "ping" });

type Tally = { -readonly [K in keyof ViewerCounts]: ViewerCounts[K] } & { back: number[] };
const emptyTally = (): Tally => ({ frames: 0, watching: 0, broken: 0, back: [], notRecovered: 0 });

let tally = emptyTally();
let lastFrameMs = nowMs();
let over = false;

class Viewer {
  readonly #n: number;
  readonly #plan: Plan;
  readonly #lots: readonly string[];
  readonly #views: ViewsWriter;
  readonly #random: () => number;
  readonly #at = new Map<string, Position>();
  readonly #awaited = new Set<string>();
  #socket: WebSocket | null = null;
  #connection = 0;
  #heardMs = 0;
  #asked = false;
  /** When its last socket ended; null while it has one, or never had. */
  #brokenMs: number | null = null;
  #tries = 0;

  constructor(n: number, plan: Plan, lots: readonly string[], views: ViewsWriter) {
    this.#n = n;
    this.#plan = plan;
    this.#lots = lots;
    this.#views = views;
    this.#random = randomOf(plan.seed + n);
  }

  get isWatching(): boolean {
    return this.#socket?.readyState === WebSocket.OPEN && this.#awaited.size === 0;
  }

  connect(): void {
    const { host, port } = this.#plan.broadcast;
    const socket = new WebSocket(`ws://${host}:${port}/v1/stream`, {
      perMessageDeflate: false,
      handshakeTimeout: openMaxMs(this.#tries),
    });
    this.#socket = socket;
    const connection = ++this.#connection;
    this.#awaited.clear();
    for (const lotId of this.#lots) this.#awaited.add(lotId);
    socket.on("open", () => this.#subscribe(socket, connection));
    socket.on("message", (data) => {
      if (this.#socket === socket) this.#take(String(data), connection);
    });
    socket.on("error", () => {});
    socket.on("close", (code, reason) => {
      if (!mayReconnect(code)) throw new Error(`closed with ${code}: ${String(reason)}`);
      if (this.#socket === socket) this.#comeBack(nowMs(), code, String(reason));
    });
  }

  /** Gives up a socket that is not heard of. */
  look(): void {
    const socket = this.#socket;
    if (socket?.readyState !== WebSocket.OPEN) return;
    const quietMs = nowMs() - this.#heardMs;
    if (quietMs > SILENT_MS) this.#comeBack(this.#heardMs);
    else if (quietMs > QUIET_MS && !this.#asked) {
      this.#asked = true;
      socket.send(PING);
    }
  }

  close(): void {
    this.#socket?.terminate();
    this.#socket = null;
  }

  #comeBack(sinceMs: number, code = 1006, reason = ""): void {
    this.close();
    if (over) return;
    if (this.#brokenMs === null) {
      this.#brokenMs = sinceMs;
      tally.broken++;
    }
    const afterMs = waitMs(++this.#tries, code, reason, this.#random);
    setTimeout(() => !over && this.connect(), afterMs);
  }

  #subscribe(socket: WebSocket, connection: number): void {
    this.#heardMs = nowMs();
    this.#asked = false;
    const since = this.#at.size === 0 ? null : Object.fromEntries(this.#at);
    this.#views.connected(this.#n, connection, since);
    socket.send(JSON.stringify({ type: "subscribe", lots: this.#lots, since: since ?? {} }));
  }

  #take(text: string, connection: number): void {
    const atMs = nowMs();
    this.#heardMs = atMs;
    this.#asked = false;
    const frame = JSON.parse(text) as Record<string, any>;
    if (frame["type"] === "pong") return;
    tally.frames++;
    lastFrameMs = atMs;
    this.#views.frame(this.#n, connection, atMs, text);
    // Refused a lot (the process is behind): resumes at whichever answers next.
    if (frame["type"] === "error") return this.#comeBack(atMs);
    if (!("seq" in frame)) return;
    const lotId = frame["lotId"] as string;
    if (frame["type"] === "snapshot" && this.#awaited.delete(lotId)) {
      if (this.#at.has(lotId) && frame["recovered"] !== true) tally.notRecovered++;
      if (this.#awaited.size === 0) this.#isBack(atMs);
    }
    this.#at.set(lotId, { epoch: frame["epoch"], seq: frame["seq"] });
  }

  #isBack(atMs: number): void {
    this.#tries = 0;
    if (this.#brokenMs !== null) tally.back.push(Math.round(atMs - this.#brokenMs));
    this.#brokenMs = null;
  }
}

const tell = (message: FromChild<ViewerCounts>) => process.send!(message);

async function run(plan: Plan, historyFile: string): Promise<void> {
  const recorder = new Recorder(historyFile);
  const views = new ViewsWriter(recorder);
  const random = randomOf(plan.seed);
  const viewers = Array.from({ length: plan.viewers }, (_, n) => {
    const some = n % SOME_ONE_IN === 0;
    const lots = some
      ? shuffled(plan.lotIds, random).slice(0, SOME_LOTS)
      : [plan.lotIds[n % plan.lotIds.length]!];
    return new Viewer(n, plan, lots, views);
  });
  const take = (): ViewerCounts => {
    const counts = { ...tally, watching: viewers.filter((viewer) => viewer.isWatching).length };
    tally = emptyTally();
    return counts;
  };
  const timers = [
    setInterval(() => tell({ counts: take() }), TELL_EVERY_MS),
    setInterval(() => viewers.forEach((viewer) => viewer.look()), LOOK_EVERY_MS),
  ];
  for (let i = 0; i < viewers.length; i += CONNECT_AT_ONCE) {
    for (const viewer of viewers.slice(i, i + CONNECT_AT_ONCE)) viewer.connect();
    await sleep(100);
  }
  while (!viewers.every((viewer) => viewer.isWatching) && !finishing) await sleep(100);
  tell({ state: "ready" });
  while (!finishing) await sleep(100);
  const untilMs = nowMs() + SETTLE_MAX_MS;
  const isSettled = () =>
    nowMs() - lastFrameMs > SETTLED_MS && viewers.every((viewer) => viewer.isWatching);
  while (!isSettled() && nowMs() < untilMs) await sleep(100);
  over = true;
  for (const timer of timers) clearInterval(timer);
  tell({ counts: take() });
  for (const viewer of viewers) viewer.close();
  recorder.close();
  tell({ state: "finished" });
  process.disconnect();
}

let finishing = false;
process.on("message", (message: ToChild) => {
  if (message === "finish") finishing = true;
  else void run(message.plan, message.historyFile);
});
process.on("disconnect", () => process.exit(0));
