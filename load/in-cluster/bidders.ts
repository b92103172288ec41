/**
 * The bidders, as a process, in an open loop: bids come due at a fixed rate, over HTTP and WebSockets, whether or
 * not earlier ones are answered. An attempt that was refused or has an unknown outcome is repeated with its key until
 * the bid is decided. Every attempt is recorded in the history. Messages: ToChild, FromChild.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { BidRecord } from "../../services/lot/checker/history.ts";
import { BidSocket } from "../bid-socket.ts";
import { HttpConnection } from "../http-connection.ts";
import { addLatency, type Latencies } from "../latencies.ts";
import {
  attemptBid,
  type Bid,
  type PlaceBid,
  placeOverHttp,
  placeOverSocket,
} from "../place-bid.ts";
import { randomOf } from "../random.ts";
import { nowMs, Recorder } from "../recorder.ts";
import {
  BIDDERS_AT_FIRST,
  type BidderCounts,
  type FromChild,
  type Plan,
  type ToChild,
} from "./plan.ts";

/** Doubled after each failed attempt, since many retries at once would keep a store down. */
const RETRY_MS = 200;
const RETRY_MAX_MS = 1_600;
const REPORT_EVERY_MS = 1_000;
/** Bids in flight at once. Bids that come due beyond them are dropped and counted. */
const IN_FLIGHT_MAX = 3_000;
/** More than the minimum step, so that most bids in flight at once are accepted. */
const STEP_MINOR = 10;
const ODD_MAX = 20;

/** One way to place a bid. */
interface Route {
  readonly over: "http" | "socket";
  readonly place: PlaceBid;
}

/** Places one bid after the other. */
interface Bidder {
  readonly process: number;
  readonly bidderId: string;
  /** The preferred one first. */
  readonly routes: readonly Route[];
  close(): void;
}

type Tally = { -readonly [K in keyof BidderCounts]: BidderCounts[K] } & { latencies: Latencies };

const emptyTally = (): Tally => ({
  rate: 0,
  due: 0,
  accepted: 0,
  rejected: 0,
  refused: 0,
  unknown: 0,
  dropped: 0,
  failedOverHttp: 0,
  latencies: {},
  pending: 0,
  odd: [],
});

class Bidders {
  readonly #plan: Plan;
  readonly #recorder: Recorder;
  readonly #amounts = new Map<string, number>();
  readonly #random: () => number;
  readonly #free: Bidder[] = [];
  readonly #all: Bidder[] = [];
  #tally = emptyTally();
  #pending = 0;
  #keys = 0;
  #rate = 0;
  #over = false;

  constructor(plan: Plan, historyFile: string) {
    this.#plan = plan;
    this.#recorder = new Recorder(historyFile);
    this.#random = randomOf(plan.seed);
    for (let n = 0; n < BIDDERS_AT_FIRST; n++) this.#free.push(this.#newBidder()!);
  }

  finish(): void {
    this.#over = true;
  }

  /** Counts since the last call. */
  take(): BidderCounts {
    const tally = this.#tally;
    this.#tally = emptyTally();
    return { ...tally, rate: this.#rate, pending: this.#pending };
  }

  async run(): Promise<void> {
    const startedMs = nowMs();
    const { rates, stepSeconds } = this.#plan;
    let dueMs = startedMs;
    while (!this.#over) {
      const now = nowMs();
      for (; dueMs <= now; dueMs += 1_000 / this.#rate) {
        const step = Math.floor((dueMs - startedMs) / (stepSeconds * 1_000));
        this.#rate = rates[Math.min(step, rates.length - 1)]!;
        this.#due(dueMs);
      }
      await sleep(Math.max(1, dueMs - nowMs()));
    }
    while (this.#pending > 0) await sleep(20);
    for (const bidder of this.#all) bidder.close();
    this.#recorder.close();
  }

  #due(dueMs: number): void {
    this.#tally.due++;
    const bidder = this.#free.shift() ?? this.#newBidder();
    if (bidder === null) {
      this.#tally.dropped++;
      return;
    }
    this.#pending++;
    void this.#place(bidder, this.#next(), dueMs).then(() => {
      this.#pending--;
      this.#free.push(bidder);
    });
  }

  /** null: too many are in flight. */
  #newBidder(): Bidder | null {
    const process = this.#all.length;
    if (process >= IN_FLIGHT_MAX) return null;
    const { tokens, gateway, broadcast } = this.#plan;
    const [bidderId, token] = tokens[process % tokens.length]!;
    const connection = new HttpConnection(gateway.port, gateway.host);
    const http: Route = { over: "http", place: placeOverHttp(connection, token) };
    const socket = new BidSocket(broadcast.port, token, broadcast.host);
    const stream: Route = { over: "socket", place: placeOverSocket(socket) };
    const bidder = {
      process,
      bidderId,
      // Every third bids by WebSocket first; all of them can do both.
      routes: process % 3 === 2 ? [stream, http] : [http, stream],
      close() {
        connection.close();
        socket.close();
      },
    };
    this.#all.push(bidder);
    return bidder;
  }

  #next(): Bid {
    const { lotIds } = this.#plan;
    const lotId = lotIds[Math.floor(this.#random() * lotIds.length)]!;
    const amountMinor = (this.#amounts.get(lotId) ?? 1_000) + STEP_MINOR;
    this.#amounts.set(lotId, amountMinor);
    return { lotId, amountMinor, key: `k${++this.#keys}` };
  }

  /** Repeats a bid until it is decided. */
  async #place({ process, bidderId, routes }: Bidder, bid: Bid, dueMs: number): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      const route = routes[attempt % routes.length]!;
      const record = await this.#attempt({ process, bidderId, ...bid }, route);
      this.#recorder.write(record);
      this.#tally[record.outcome]++;
      if (record.outcome === "accepted" || record.outcome === "rejected") {
        addLatency(this.#tally.latencies, nowMs() - dueMs);
        return;
      }
      if (route.over === "http") this.#tally.failedOverHttp++;
      const most = Math.min(RETRY_MS * 2 ** attempt, RETRY_MAX_MS);
      await sleep(most * (0.5 + this.#random()));
    }
  }

  async #attempt(
    bid: Bid & { process: number; bidderId: string },
    { place }: Route,
  ): Promise<BidRecord> {
    const record = await attemptBid(bid, place, (text) => {
      if (this.#tally.odd.length < ODD_MAX) this.#tally.odd = [...this.#tally.odd, text];
    });
    const minimumMinor = record.outcome === "rejected" ? (record.minimumMinor ?? 0) : 0;
    if (minimumMinor > (this.#amounts.get(bid.lotId) ?? 0)) {
      this.#amounts.set(bid.lotId, minimumMinor);
    }
    return record;
  }
}

let bidders: Bidders | null = null;
const report = (message: FromChild<BidderCounts>) => process.send!(message);

process.on("message", async (message: ToChild) => {
  if (message === "finish") return bidders?.finish();
  bidders = new Bidders(message.plan, message.historyFile);
  const timer = setInterval(() => report({ counts: bidders!.take() }), REPORT_EVERY_MS);
  report({ state: "ready" });
  await bidders.run();
  clearInterval(timer);
  report({ counts: bidders.take() });
  report({ state: "finished" });
  process.disconnect();
});
process.on("disconnect", () => process.exit(0));
