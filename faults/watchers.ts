/**
 * The viewers, as a process: each watches lots on any broadcast and resumes by (epoch, seq) on whichever
 * answers when its socket breaks, or when it feels like it. Every frame goes into the history as it came.
 * Message in: ToLoad. Messages out: FromLoad.
 */
import { setTimeout as sleep } from "node:timers/promises";
import WebSocket from "ws";
import type { Position } from "../services/lot/position.ts";
import type { FromLoad, LoadCounts, LoadPlan, ToLoad } from "./load-plan.ts";
import { NO_COUNTS } from "./load-plan.ts";
import { randomOf, shuffled } from "../load/random.ts";
import { nowMs, Recorder } from "../load/recorder.ts";

/** One watches everything; the others some lots each, and come and go more often. */
const VIEWERS = 4;
const LOTS_EACH = 3;
/** A socket that says nothing for so long is given up: half-open, perhaps. */
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
    // Resumes once more at the end: every viewer must come to the final state.
    while (!this.over) await this.#watch();
    while (!this.#isComplete()) await this.#watch();
  }

  /** Every lot that it watches has closed before its eyes. */
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
      // Refused a lot (the process is behind): resumes at whichever answers next.
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
    open = false; // What comes while it closes is not looked at: it will come again.
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

  /** @returns false for a message that says that something was refused */
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
const tell = (finished: boolean) => process.send!({ counts, finished } satisfies FromLoad);

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

process.on("message", async (message: ToLoad) => {
  if ("finish" in message) {
    for (const viewer of viewers) viewer.over = true;
    return;
  }
  const timer = setInterval(() => tell(false), 500);
  await run(message.plan);
  clearInterval(timer);
  tell(true);
  process.disconnect();
});
