/**
 * The bidders, as a process, in an open loop: bids come due at a fixed rate whatever becomes of those
 * before, over HTTP and WebSockets. What was refused or has an unknown fate is sent again with its key
 * until it is decided. Every attempt goes into the history. Messages: ToChild, FromChild.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { BidRecord, RejectionCode } from "../../services/lot/checker/history.ts";
import { BidSocket } from "../bid-socket.ts";
import { HttpConnection, NotSent } from "../http-connection.ts";
import { addLatency, type Latencies } from "../latencies.ts";
import { randomOf } from "../random.ts";
import { nowMs, Recorder } from "../recorder.ts";
import {
  BIDDERS_AT_FIRST,
  type BidderCounts,
  type FromChild,
  type Plan,
  type ToChild,
} from "./plan.ts";

const ATTEMPT_TIMEOUT_MS = 2_000;
/** At first, and doubled each time it is in vain: bidders who all come back at once keep a store down. */
const RETRY_MS = 200;
const RETRY_MAX_MS = 1_600;
const TELL_EVERY_MS = 1_000;
/** Bids under way at once; what comes due beyond them is dropped, and counted. */
const UNDER_WAY_MAX = 3_000;
/** A bid that leads by more than it must, so that most of those under way at once are accepted. */
const STEP_MINOR = 10;
const ODD_MAX = 20;

const REJECTIONS: readonly string[] = [
  "too_low",
  "closed",
  "not_open",
  "withdrawn",
  "suspended",
  "key_reused",
];

interface Bid {
  readonly lotId: string;
  readonly amountMinor: number;
  readonly key: string;
}

/** One way to place a bid. */
interface Way {
  readonly over: "http" | "socket";
  readonly place: (bid: Bid) => Promise<Record<string, any>>;
}

/** One who bids: does one thing after the other. */
interface Bidder {
  readonly process: number;
  readonly bidderId: string;
  /** Ways to place a bid, the preferred one first. */
  readonly ways: readonly Way[];
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

  /** What happened since it was last taken. */
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

  /** Null where there are too many. */
  #newBidder(): Bidder | null {
    const process = this.#all.length;
    if (process >= UNDER_WAY_MAX) return null;
    const { tokens, gateway, broadcast } = this.#plan;
    const [bidderId, token] = tokens[process % tokens.length]!;
    const connection = new HttpConnection(gateway.port, gateway.host);
    const head = `content-type: application/json\r\nauthorization: Bearer ${token}\r\n`;
    const http: Way = {
      over: "http",
      async place({ lotId, amountMinor, key }) {
        const { body, status } = await connection.ask(
          `POST /v1/lots/${lotId}/bids HTTP/1.1\r\n${head}idempotency-key: ${key}\r\n`,
          `{"amountMinor":${amountMinor}}`,
          ATTEMPT_TIMEOUT_MS,
        );
        const answer = jsonOf(body);
        if (answer === null) {
          // Not the gateway's: while a Service has no pod, a proxy behind it may answer, and would go on answering.
          connection.close();
          throw new Error(`${status} without a body in JSON`);
        }
        return status === 201
          ? { ...answer, accepted: true }
          : { accepted: false, problem: answer };
      },
    };
    const socket = new BidSocket(broadcast.port, token, broadcast.host);
    const stream: Way = { over: "socket", place: (bid) => socket.bid(bid, ATTEMPT_TIMEOUT_MS) };
    const bidder = {
      process,
      bidderId,
      // Every third bids by WebSocket first; all of them can do both.
      ways: process % 3 === 2 ? [stream, http] : [http, stream],
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

  /** Until it is decided, whatever that takes. */
  async #place({ process, bidderId, ways }: Bidder, bid: Bid, dueMs: number): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      const way = ways[attempt % ways.length]!;
      const record = await this.#attempt({ process, bidderId, ...bid }, way);
      this.#recorder.write(record);
      this.#tally[record.outcome]++;
      if (record.outcome === "accepted" || record.outcome === "rejected") {
        addLatency(this.#tally.latencies, nowMs() - dueMs);
        return;
      }
      if (way.over === "http") this.#tally.failedOverHttp++;
      const most = Math.min(RETRY_MS * 2 ** attempt, RETRY_MAX_MS);
      await sleep(most * (0.5 + this.#random()));
    }
  }

  async #attempt(
    bid: Bid & { process: number; bidderId: string },
    { place }: Way,
  ): Promise<BidRecord> {
    const invMs = nowMs();
    const base = { op: "bid", ...bid, invMs } as const;
    try {
      const answer = await place({
        lotId: bid.lotId,
        amountMinor: bid.amountMinor,
        key: bid.key,
      });
      const retMs = nowMs();
      if (answer["accepted"] === true) {
        // As answered, not as asked: the checker compares them.
        const { lotId, amountMinor, bidId, epoch, seq } = answer;
        const { placedAtMs, closesAtMs, minimumMinor } = answer;
        const placed = { lotId, amountMinor, bidId, epoch, seq, placedAtMs, closesAtMs };
        return { ...base, ...placed, minimumMinor, retMs, outcome: "accepted" };
      }
      return this.#refusal(base, answer["problem"], retMs);
    } catch (error) {
      if (error instanceof NotSent) return { ...base, retMs: nowMs(), outcome: "refused" };
      // A late answer is not looked at: as far as this bidder knows, it never came.
      return { ...base, retMs: null, outcome: "unknown" };
    }
  }

  #refusal(
    base: Omit<BidRecord & { outcome: "refused" }, "outcome" | "retMs">,
    { code, minimumMinor, epoch, seq }: Record<string, any>,
    retMs: number,
  ): BidRecord {
    if (code === "unavailable") return { ...base, retMs, outcome: "refused" };
    if (code === "unknown") return { ...base, retMs, outcome: "unknown" };
    if (!REJECTIONS.includes(code)) {
      if (this.#tally.odd.length < ODD_MAX) {
        this.#tally.odd = [...this.#tally.odd, `a bid was answered ${String(code)}`];
      }
      return { ...base, retMs, outcome: "unknown" };
    }
    if (minimumMinor > (this.#amounts.get(base.lotId) ?? 0)) {
      this.#amounts.set(base.lotId, minimumMinor);
    }
    const judged = minimumMinor === undefined ? {} : { minimumMinor, epoch, seq };
    return { ...base, retMs, outcome: "rejected", code: code as RejectionCode, ...judged };
  }
}

function jsonOf(text: string): object | null {
  try {
    return JSON.parse(text) as object;
  } catch {
    return null;
  }
}

let bidders: Bidders | null = null;
const tell = (message: FromChild<BidderCounts>) => process.send!(message);

process.on("message", async (message: ToChild) => {
  if (message === "finish") return bidders?.finish();
  bidders = new Bidders(message.plan, message.historyFile);
  const timer = setInterval(() => tell({ counts: bidders!.take() }), TELL_EVERY_MS);
  tell({ state: "ready" });
  await bidders.run();
  clearInterval(timer);
  tell({ counts: bidders.take() });
  tell({ state: "finished" });
  process.disconnect();
});
process.on("disconnect", () => process.exit(0));
