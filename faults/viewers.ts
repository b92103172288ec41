/**
 * The viewers, as a process. Each subscribes to lots at one broadcast, and resumes by (epoch, seq) at another when
 * its socket closes or after a random time. Every frame is recorded in the history. Messages: LoadCommand, LoadReport.
 */
import { setTimeout as sleep } from "node:timers/promises";
import WebSocket from "ws";
import type { Position } from "../services/lot/position.ts";
import type { LoadReport, LoadCounts, LoadPlan, LoadCommand } from "./load-plan.ts";
import { NO_COUNTS } from "./load-plan.ts";
import { randomOf, shuffled } from "../load/random.ts";
import { nowMs, Recorder } from "../load/recorder.ts";

/** One viewer subscribes to all lots. The others subscribe to some lots and reconnect more often. */
const VIEWERS = 4;
const LOTS_EACH = 3;
/** A socket without data for this long is closed: it may be half-open. */
const SILENT_MS = 4_000;
const STAYS_MS = { watchesAll: 15_000, watchesSome: 6_000 };
const RETRY_MS = 200;
const SUBSCRIBE_LOTS = 100;

class Viewer {
  readonly #n: number;
  readonly #plan: LoadPlan;
  readonly #lots: readonly string[];
  readonly #recorder: Recorder;
  readonly #counts: { -readonly [K in keyof LoadCounts]: LoadCounts[K] };
  readonly #random: () => number;
  readonly #at = new Map<string, Position>();
  readonly #closed = new Set<string>();
  #connection = 0;
  over = false;

  constructor(
    n: number,
    plan: LoadPlan,
    lots: readonly string[],
    recorder: Recorder,
    counts: LoadCounts,
  ) {
    this.#n = n;
    this.#plan = plan;
    this.#lots = lots;
    this.#recorder = recorder;
    this.#counts = counts;
    this.#random = randomOf(plan.seed + n);
  }

  async run(): Promise<void> {
    // Resumes once more at the end, so that every viewer receives the final state.
    while (!this.over) await this.#watch();
    while (!this.#isComplete()) await this.#watch();
  }

  /** It has received the close of every lot. */
  #isComplete(): boolean {
    return this.#closed.size === this.#lots.length;
  }

  async #watch(): Promise<void> {
    const { broadcastPorts } = this.#plan;
    const port = broadcastPorts[Math.floor(this.#random() * broadcastPorts.length)]!;
    const socket = new WebSocket(`ws://127.0.0.1:${port}/v1/stream`, {
      perMessageDeflate: false,
      handshakeTimeout: 2_000,
    });
    const connection = ++this.#connection;
    let heardMs = nowMs();
    let open = true;
    socket.on("open", () => this.#subscribe(socket, connection));
    socket.on("message", (data) => {
      heardMs = nowMs();
      // The process refused a lot because it is behind: resume at another one.
      if (open && !this.#take(String(data), connection, heardMs)) open = false;
    });
    socket.on("error", () => {});
    socket.on("close", () => (open = false));
    const staysMs = this.#n === 0 ? STAYS_MS.watchesAll : STAYS_MS.watchesSome;
    const leavesMs = nowMs() + staysMs * (0.5 + this.#random());
    while (open && nowMs() < leavesMs && nowMs() - heardMs < SILENT_MS) {
      if (this.over && this.#isComplete()) break;
      await sleep(50);
    }
    open = false; // Frames during the close are ignored. They are sent again.
    socket.terminate();
    await sleep(RETRY_MS * this.#random());
  }

  #subscribe(socket: WebSocket, connection: number): void {
    this.#counts.connections++;
    const since = this.#at.size === 0 ? null : Object.fromEntries(this.#at);
    this.#recorder.write({ op: "connected", viewer: this.#n, connection, since });
    for (let i = 0; i < this.#lots.length; i += SUBSCRIBE_LOTS) {
      const lots = this.#lots.slice(i, i + SUBSCRIBE_LOTS);
      const known = lots.flatMap((lotId) => {
        const at = this.#at.get(lotId);
        return at ? [[lotId, at] as const] : [];
      });
      const message = { type: "subscribe", lots, since: Object.fromEntries(known) };
      socket.send(JSON.stringify(message));
    }
  }

  /** @returns false for an error message */
  #take(text: string, connection: number, atMs: number): boolean {
    this.#counts.frames++;
    this.#recorder.line(
      `{"op":"frame","viewer":${this.#n},"connection":${connection},"atMs":${atMs},"frame":${text}}`,
    );
    const frame = JSON.parse(text) as Record<string, any>;
    if (!("seq" in frame)) return frame["type"] !== "error";
    const lotId = frame["lotId"] as string;
    this.#at.set(lotId, { epoch: frame["epoch"], seq: frame["seq"] });
    if (frame["type"] === "lot_closed" || frame["status"] === "closed") this.#closed.add(lotId);
    return true;
  }
}

const counts: LoadCounts = { ...NO_COUNTS };
let viewers: Viewer[] = [];
const report = (finished: boolean) => process.send!({ counts, finished } satisfies LoadReport);

async function run(plan: LoadPlan): Promise<void> {
  const recorder = new Recorder(plan.historyFile);
  const lotIds = plan.lots.map(({ lotId }) => lotId);
  const random = randomOf(plan.seed);
  viewers = Array.from({ length: VIEWERS }, (_, n) => {
    const lots = n === 0 ? lotIds : shuffled(lotIds, random).slice(0, LOTS_EACH);
    return new Viewer(n, plan, lots, recorder, counts);
  });
  await Promise.all(viewers.map((viewer) => viewer.run()));
  recorder.close();
}

process.on("message", async (message: LoadCommand) => {
  if ("finish" in message) {
    for (const viewer of viewers) viewer.over = true;
    return;
  }
  const timer = setInterval(() => report(false), 500);
  await run(message.plan);
  clearInterval(timer);
  report(true);
  process.disconnect();
});
