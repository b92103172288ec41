/**
 * The bidders, as a process: each places one bid after the other, over HTTP or a WebSocket, and sends
 * what was refused or has an unknown fate again, with the same key, to any process of the tier, until it
 * is decided. Every attempt goes into the history. Message in: ToLoad. Messages out: FromLoad.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { BidRecord, RejectionCode } from "../services/lot/checker/history.ts";
import { BidSocket } from "../load/bid-socket.ts";
import { HttpConnection, NotSent } from "../load/http-connection.ts";
import type { FromLoad, LoadCounts, LoadPlan, ToLoad } from "./load-plan.ts";
import { NO_COUNTS } from "./load-plan.ts";
import { nowMs, Recorder } from "../load/recorder.ts";
import { randomOf } from "../load/random.ts";

const ATTEMPT_TIMEOUT_MS = 2_000;
const RETRY_MS = 100;
/** As a load balancer does: who failed gets nothing new for a while. */
const AVOID_MS = 400;
const READ_EVERY_MS = 25;
/** A bid that leads by more than it must, so that most of those under way at once are accepted. */
const STEP_MINOR = 10;
/** One bid in so many is too low on purpose. */
const LOW_ONE_IN = 40;
const ODD_MAX = 20;

const REJECTIONS: readonly string[] = [
  "too_low",
  "closed",
  "not_open",
  "withdrawn",
  "suspended",
  "key_reused",
];

type Counts = { -readonly [K in keyof LoadCounts]: LoadCounts[K] };

interface Bid {
  readonly lotId: string;
  readonly amountMinor: number;
  readonly key: string;
}

/** One process of a tier, as one bidder reaches it. */
interface Endpoint {
  readonly port: number;
  readonly place: (bid: Bid) => Promise<Record<string, any>>;
  readonly close: () => void;
}

class Bidders {
  readonly counts: Counts = { ...NO_COUNTS, odd: [] };
  readonly #plan: LoadPlan;
  readonly #recorder: Recorder;
  readonly #amounts = new Map<string, number>();
  readonly #random: () => number;
  readonly #avoid = new Map<number, number>();
  #open: LoadPlan["lots"];
  #over = false;
  #keys = 0;

  constructor(plan: LoadPlan) {
    this.#plan = plan;
    this.#recorder = new Recorder(plan.historyFile);
    this.#random = randomOf(plan.seed);
    this.#open = plan.lots;
  }

  finish(): void {
    this.#over = true;
  }

  async run(): Promise<void> {
    const { tokens } = this.#plan;
    const bidders = tokens.map(([bidderId, token], n) => this.#bidder(n, bidderId, token));
    const reader = this.#readOn();
    await Promise.all(bidders);
    await reader;
    this.#recorder.close();
  }

  async #bidder(n: number, bidderId: string, token: string): Promise<void> {
    const { tokens, bidsPerSecond } = this.#plan;
    const everyMs = (1_000 * tokens.length) / bidsPerSecond;
    // Every third bids by WebSocket first; all of them can do both.
    const endpoints = this.#endpoints(token, n % 3 === 2, n);
    let dueMs = nowMs() + this.#random() * everyMs;
    while (!this.#over) {
      const waitMs = dueMs - nowMs();
      // Timers are coarser than a bid: wait only for what is worth it. What was missed is not made up for.
      if (waitMs > 1) await sleep(waitMs);
      dueMs = Math.max(dueMs + everyMs, nowMs() - everyMs);
      const bid = this.#next(n);
      if (bid === null) {
        await sleep(20);
        continue;
      }
      await this.#place(n, bidderId, bid, endpoints);
    }
    for (const { close } of endpoints) close();
  }

  #endpoints(token: string, socketFirst: boolean, n: number): Endpoint[] {
    const http = this.#plan.gatewayPorts.map((port) => {
      const connection = new HttpConnection(port);
      const head = `content-type: application/json\r\nauthorization: Bearer ${token}\r\n`;
      const place = async ({ lotId, amountMinor, key }: Bid): Promise<Record<string, any>> => {
        const { body, status } = await connection.ask(
          `POST /v1/lots/${lotId}/bids HTTP/1.1\r\n${head}idempotency-key: ${key}\r\n`,
          `{"amountMinor":${amountMinor}}`,
          ATTEMPT_TIMEOUT_MS,
        );
        const answer = JSON.parse(body) as object;
        return status === 201
          ? { ...answer, accepted: true }
          : { accepted: false, problem: answer };
      };
      return { port, place, close: () => connection.close() };
    });
    const sockets = this.#plan.broadcastPorts.map((port) => {
      const socket = new BidSocket(port, token);
      const place = ({ lotId, amountMinor, key }: Bid) =>
        socket.bid({ lotId, amountMinor, key }, ATTEMPT_TIMEOUT_MS);
      return { port, place, close: () => socket.close() };
    });
    const turned = <T>(list: T[]): T[] => (n % 2 === 0 ? list : list.toReversed());
    return socketFirst
      ? [...turned(sockets), ...turned(http)]
      : [...turned(http), ...turned(sockets)];
  }

  #next(n: number): Bid | null {
    const long = this.#open.filter((lot) => lot.long);
    const short = this.#open.filter((lot) => !lot.long);
    const some = short.length > 0 && (long.length === 0 || this.#random() < 0.15) ? short : long;
    if (some.length === 0) return null;
    const { lotId } = some[Math.floor(this.#random() * some.length)]!;
    const low = this.#random() < 1 / LOW_ONE_IN;
    const leading = this.#amounts.get(lotId) ?? 1_000;
    if (!low) this.#amounts.set(lotId, leading + STEP_MINOR);
    const amountMinor = low ? Math.max(1, leading - 3 * STEP_MINOR) : leading + STEP_MINOR;
    return { lotId, amountMinor, key: `${n}-${++this.#keys}` };
  }

  /** Until it is decided, whatever that takes. */
  async #place(
    process: number,
    bidderId: string,
    bid: Bid,
    endpoints: readonly Endpoint[],
  ): Promise<void> {
    let wasUnknown = false;
    for (let attempt = 0; ; attempt++) {
      const now = nowMs();
      const free = endpoints.filter(({ port }) => (this.#avoid.get(port) ?? 0) < now);
      const endpoint = free[0] ?? endpoints[attempt % endpoints.length]!;
      const record = await this.#attempt({ process, bidderId, ...bid }, endpoint.place);
      this.#recorder.write(record);
      this.counts.attempts++;
      if (record.outcome === "accepted" || record.outcome === "rejected") {
        if (record.outcome === "accepted") this.counts.acknowledged++;
        else this.counts.rejected++;
        if (wasUnknown) this.counts.unresolved--;
        return;
      }
      if (record.outcome === "refused") this.counts.refused++;
      else {
        this.counts.unknown++;
        if (!wasUnknown) this.counts.unresolved++;
        wasUnknown = true;
      }
      this.#avoid.set(endpoint.port, nowMs() + AVOID_MS * (0.5 + this.#random()));
      await sleep(RETRY_MS * (0.5 + this.#random()));
    }
  }

  async #attempt(
    bid: Bid & { process: number; bidderId: string },
    place: Endpoint["place"],
  ): Promise<BidRecord> {
    const invMs = nowMs();
    const base = { op: "bid", ...bid, invMs } as const;
    try {
      const answer = await place(bid);
      const retMs = nowMs();
      if (answer["accepted"] === true) {
        const { bidId, epoch, seq, placedAtMs, closesAtMs, minimumMinor } = answer;
        const { lotId, amountMinor } = answer;
        // As answered, not as asked: the checker compares them.
        return {
          ...base,
          lotId,
          amountMinor,
          retMs,
          outcome: "accepted",
          bidId,
          epoch,
          seq,
          placedAtMs,
          closesAtMs,
          minimumMinor,
        };
      }
      const { code, minimumMinor, epoch, seq } = answer["problem"];
      if (code === "unavailable") return { ...base, retMs, outcome: "refused" };
      if (code === "unknown") return { ...base, retMs, outcome: "unknown" };
      if (!REJECTIONS.includes(code)) {
        this.#tell(`a bid was answered ${JSON.stringify(answer)}`);
        return { ...base, retMs, outcome: "unknown" };
      }
      if (code === "closed") this.#open = this.#open.filter(({ lotId }) => lotId !== bid.lotId);
      const judged = minimumMinor === undefined ? {} : { minimumMinor, epoch, seq };
      if (minimumMinor > (this.#amounts.get(bid.lotId) ?? 0)) {
        this.#amounts.set(bid.lotId, minimumMinor);
      }
      return { ...base, retMs, outcome: "rejected", code: code as RejectionCode, ...judged };
    } catch (error) {
      if (error instanceof NotSent) return { ...base, retMs: nowMs(), outcome: "refused" };
      // A late answer is not looked at: as far as this bidder knows, it never came.
      return { ...base, retMs: null, outcome: "unknown" };
    }
  }

  #tell(text: string): void {
    if (this.counts.odd.length < ODD_MAX) this.counts.odd = [...this.counts.odd, text];
  }

  /** Lots as anybody may read them, and histories so old that the archive must be asked. */
  async #readOn(): Promise<void> {
    const connections = this.#plan.gatewayPorts.map((port) => new HttpConnection(port));
    for (let n = 0; !this.#over; n++) {
      await sleep(READ_EVERY_MS);
      const connection = connections[n % connections.length]!;
      const { lotId } = this.#plan.lots[Math.floor(this.#random() * this.#plan.lots.length)]!;
      const old = n % 8 === 7;
      const path = old ? `/v1/lots/${lotId}/bids?cursor=1.40&limit=5` : `/v1/lots/${lotId}`;
      const invMs = nowMs();
      try {
        const { status, body } = await connection.ask(`GET ${path} HTTP/1.1\r\n`, "", 1_000);
        if (status !== 200 || old) continue;
        const lot = JSON.parse(body) as Record<string, any>;
        const { epoch, seq, leadingBid } = lot;
        this.counts.reads++;
        this.#recorder.write({
          op: "read",
          lotId,
          invMs,
          retMs: nowMs(),
          epoch,
          seq,
          status: lot["status"],
          leadingMinor: leadingBid?.amountMinor ?? null,
          bidId: leadingBid?.bidId ?? null,
        });
      } catch {
        // A read that failed says nothing.
      }
    }
    for (const connection of connections) connection.close();
  }
}

let bidders: Bidders | null = null;
const tell = (finished: boolean) =>
  process.send!({ counts: bidders!.counts, finished } satisfies FromLoad);

process.on("message", async (message: ToLoad) => {
  if ("finish" in message) return bidders?.finish();
  bidders = new Bidders(message.plan);
  const timer = setInterval(() => tell(false), 500);
  await bidders.run();
  clearInterval(timer);
  tell(true);
  process.disconnect();
});
