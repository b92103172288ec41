/**
 * The viewers, as a process. Each subscribes to its lots through the broadcast Service. When its socket closes or
 * goes silent it reconnects and resumes by (epoch, seq), as PROTOCOL.md requires of clients. Every frame is recorded
 * in the history. Messages: ToChild, FromChild.
 */
import { setTimeout as sleep } from "node:timers/promises";
import WebSocket from "ws";
import { mayReconnect, openMaxMs, waitMs } from "../../services/broadcast/reconnect-policy.ts";
import type { Position } from "../../services/lot/position.ts";
import { randomOf, shuffled } from "../random.ts";
import { nowMs, Recorder } from "../recorder.ts";
import type { FromChild, Plan, ToChild, ViewerCounts } from "./plan.ts";
import { ViewsWriter } from "./views.ts";

/** One viewer in this many subscribes to several lots, the others to one. */
const SOME_ONE_IN = 20;
const SOME_LOTS = 4;
const CONNECT_AT_ONCE = 50;
const REPORT_EVERY_MS = 1_000;
const CHECK_EVERY_MS = 500;
/** A viewer sends a ping after this long without data, */
const QUIET_MS = 1_500;
/** and closes the socket after this long. */
const SILENT_MS = 3_500;
/** At the end: this long without a frame means that all events were delivered. */
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
  /** When its last socket closed; null while it is connected or before the first connection. */
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
      if (this.#socket === socket) this.#reconnect(nowMs(), code, String(reason));
    });
  }

  /** Pings a quiet socket and closes a silent one. */
  checkLiveness(): void {
    const socket = this.#socket;
    if (socket?.readyState !== WebSocket.OPEN) return;
    const quietMs = nowMs() - this.#heardMs;
    if (quietMs > SILENT_MS) this.#reconnect(this.#heardMs);
    else if (quietMs > QUIET_MS && !this.#asked) {
      this.#asked = true;
      socket.send(PING);
    }
  }

  close(): void {
    this.#socket?.terminate();
    this.#socket = null;
  }

  #reconnect(sinceMs: number, code = 1006, reason = ""): void {
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
    // The process refused a lot because it is behind: resume at another one.
    if (frame["type"] === "error") return this.#reconnect(atMs);
    if (!("seq" in frame)) return;
    const lotId = frame["lotId"] as string;
    if (frame["type"] === "snapshot" && this.#awaited.delete(lotId)) {
      if (this.#at.has(lotId) && frame["recovered"] !== true) tally.notRecovered++;
      if (this.#awaited.size === 0) this.#recovered(atMs);
    }
    this.#at.set(lotId, { epoch: frame["epoch"], seq: frame["seq"] });
  }

  #recovered(atMs: number): void {
    this.#tries = 0;
    if (this.#brokenMs !== null) tally.back.push(Math.round(atMs - this.#brokenMs));
    this.#brokenMs = null;
  }
}

const report = (message: FromChild<ViewerCounts>) => process.send!(message);

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
    setInterval(() => report({ counts: take() }), REPORT_EVERY_MS),
    setInterval(() => viewers.forEach((viewer) => viewer.checkLiveness()), CHECK_EVERY_MS),
  ];
  for (let i = 0; i < viewers.length; i += CONNECT_AT_ONCE) {
    for (const viewer of viewers.slice(i, i + CONNECT_AT_ONCE)) viewer.connect();
    await sleep(100);
  }
  while (!viewers.every((viewer) => viewer.isWatching) && !finishing) await sleep(100);
  report({ state: "ready" });
  while (!finishing) await sleep(100);
  const untilMs = nowMs() + SETTLE_MAX_MS;
  const isSettled = () =>
    nowMs() - lastFrameMs > SETTLED_MS && viewers.every((viewer) => viewer.isWatching);
  while (!isSettled() && nowMs() < untilMs) await sleep(100);
  over = true;
  for (const timer of timers) clearInterval(timer);
  report({ counts: take() });
  for (const viewer of viewers) viewer.close();
  recorder.close();
  report({ state: "finished" });
  process.disconnect();
}

let finishing = false;
process.on("message", (message: ToChild) => {
  if (message === "finish") finishing = true;
  else void run(message.plan, message.historyFile);
});
process.on("disconnect", () => process.exit(0));
