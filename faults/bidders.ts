/**
 * The bidders, as a process. Each places one bid after the other, over HTTP or a WebSocket. An attempt that was
 * refused or has an unknown outcome is repeated with its key, at any process of the tier, until the bid is decided.
 * Every attempt is recorded in the history. Messages: LoadCommand, LoadReport.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { BidRecord } from "../services/lot/checker/history.ts";
import { BidSocket } from "../load/bid-socket.ts";
import { HttpConnection } from "../load/http-connection.ts";
import {
  attemptBid,
  type Bid,
  type PlaceBid,
  placeOverHttp,
  placeOverSocket,
} from "../load/place-bid.ts";
import type { LoadReport, LoadCounts, LoadPlan, LoadCommand } from "./load-plan.ts";
import { NO_COUNTS } from "./load-plan.ts";
import { nowMs, Recorder } from "../load/recorder.ts";
import { randomOf } from "../load/random.ts";

const RETRY_MS = 100;
/** A process that failed gets no new bids for this long, as from a load balancer. */
const AVOID_MS = 400;
const READ_EVERY_MS = 25;
/** More than the minimum step, so that most bids in flight at once are accepted. */
const STEP_MINOR = 10;
/** One bid in this many is too low on purpose. */
const LOW_ONE_IN = 40;
const ODD_MAX = 20;

type Counts = { -readonly [K in keyof LoadCounts]: LoadCounts[K] };

/** A bidder's connection to one process of a tier. */
interface Endpoint {
  readonly port: number;
  readonly place: PlaceBid;
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
    const reader = this.#readLots();
    await Promise.all(bidders);
    await reader;
    this.#recorder.close();
  }

  async #bidder(n: number, bidderId: string, token: string): Promise<void> {
    const { tokens, bidsPerSecond } = this.#plan;
    const everyMs = (1_000 * tokens.length) / bidsPerSecond;
    // Every third bidder prefers WebSockets. All of them use both.
    const endpoints = this.#endpoints(token, n % 3 === 2, n);
    let dueMs = nowMs() + this.#random() * everyMs;
    while (!this.#over) {
      const waitMs = dueMs - nowMs();
      // Timers are coarser than the interval of bids. Missed bids are not made up for.
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
      return {
        port,
        place: placeOverHttp(connection, token),
        close: () => connection.close(),
      };
    });
    const sockets = this.#plan.broadcastPorts.map((port) => {
      const socket = new BidSocket(port, token);
      return { port, place: placeOverSocket(socket), close: () => socket.close() };
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

  /** Repeats a bid until it is decided. */
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
    place: PlaceBid,
  ): Promise<BidRecord> {
    const { lotId } = bid;
    const record = await attemptBid(bid, place, (text) => this.#noteUnexpected(text));
    if (record.outcome !== "rejected") return record;
    if (record.code === "closed") this.#open = this.#open.filter((lot) => lot.lotId !== lotId);
    const { minimumMinor = 0 } = record;
    if (minimumMinor > (this.#amounts.get(lotId) ?? 0)) this.#amounts.set(lotId, minimumMinor);
    return record;
  }

  #noteUnexpected(text: string): void {
    if (this.counts.odd.length < ODD_MAX) this.counts.odd = [...this.counts.odd, text];
  }

  /** Reads lots, and bids so old that the gateway forwards to archival. */
  async #readLots(): Promise<void> {
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
        // A failed read is not recorded.
      }
    }
    for (const connection of connections) connection.close();
  }
}

let bidders: Bidders | null = null;
const report = (finished: boolean) =>
  process.send!({ counts: bidders!.counts, finished } satisfies LoadReport);

process.on("message", async (message: LoadCommand) => {
  if ("finish" in message) return bidders?.finish();
  bidders = new Bidders(message.plan);
  const timer = setInterval(() => report(false), 500);
  await bidders.run();
  clearInterval(timer);
  report(true);
  process.disconnect();
});
