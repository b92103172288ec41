/**
 * Histories that are right by construction: clients, viewers and lots played against decide(), with
 * answers that are late or lost, retries, reused keys, and viewers who come and go. The checker is
 * proven on them, and on what a test breaks in them. The same random numbers give the same history.
 */
import { decide } from "../decide.ts";
import type { BidAccepted, LotEvent } from "../events.ts";
import { due } from "../lifecycle.ts";
import { apply } from "../lifecycle.ts";
import type { Lot } from "../lot.ts";
import type { Terms } from "../terms.ts";
import type { BidRecord, HistoryRecord, RejectionCode } from "./history.ts";
import { RandomViewer } from "./random-viewer.ts";

export type Random = () => number;

/** Mulberry32: numbers from 0 to 1, the same for the same seed. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What is tried next, with how often: a step is one of them. */
const STEPS = {
  bid: 40,
  low: 12,
  high: 2,
  jump: 2,
  retry: 12,
  reuse: 4,
  refused: 4,
  unknown: 10,
  read: 12,
  pass: 3,
  withdraw: 1,
  move: 0,
} as const;

type Step = keyof typeof STEPS;

export interface Shape {
  readonly lots: number;
  readonly steps: number;
  readonly viewers: number;
  /** Between two steps, at most. */
  readonly gapMs: number;
  /** From sending to deciding, and from there to the answer, at most. */
  readonly delayMs: number;
  /** How long lots are open. */
  readonly lastsMs: number;
  /** Closes all lots, and brings every viewer to the end. */
  readonly finish: boolean;
  readonly weights?: Readonly<Partial<Record<Step, number>>>;
}

export interface Sample {
  readonly history: HistoryRecord[];
  readonly log: LotEvent[];
  readonly terms: Map<string, Terms>;
  /** As the lots were before anything happened. */
  readonly lots: Lot[];
}

/** Redis's clock minus that of the clients. */
export const CLOCK_OFFSET_MS = 1_000_000;
const OPENS_MS = 20;

const TERMS: Terms = {
  startMinor: 100,
  reserveMinor: 300,
  rules: {
    increments: [
      { fromMinor: 0, stepMinor: 10 },
      { fromMinor: 500, stepMinor: 25 },
    ],
    antiSniping: { windowMs: 20, extensionMs: 30, maxExtensions: 3 },
    maxAmountMinor: 1_000_000_000_000,
    maxJump: 40,
    reserveDisclosure: "MetOnly",
  },
};

interface Attempt {
  readonly bidderId: string;
  readonly key: string;
  readonly amountMinor: number;
}

interface Field {
  lot: Lot;
  readonly answers: Map<string, BidAccepted>;
  /** The latest attempts, for retries. */
  readonly attempts: Attempt[];
}

const RETRIED_MAX = 20;

export function randomHistory(random: Random, shape: Shape): Sample {
  return new Player(random, shape).play();
}

class Player {
  #nowMs = 0;
  #keys = 0;
  #ids = 0;
  readonly #random: Random;
  readonly #shape: Shape;
  readonly #fields: Field[];
  readonly #viewers: RandomViewer[];
  readonly #sample: Sample;
  readonly #bag: readonly Step[];

  constructor(random: Random, shape: Shape) {
    this.#random = random;
    this.#shape = shape;
    const lots = Array.from({ length: shape.lots }, (_, at) => lotAt(at, shape.lastsMs));
    const terms = new Map(lots.map(({ lotId }) => [lotId, TERMS]));
    this.#sample = { history: [], log: [], terms, lots };
    this.#fields = lots.map((lot) => ({ lot, answers: new Map(), attempts: [] }));
    const tell = (record: HistoryRecord) => void this.#sample.history.push(record);
    this.#viewers = Array.from({ length: shape.viewers }, (_, viewer) => {
      return new RandomViewer(viewer, random, tell);
    });
    this.#bag = bagOf(shape.weights ?? STEPS);
  }

  play(): Sample {
    const { steps, gapMs, finish } = this.#shape;
    this.#moveViewers();
    for (let step = 0; step < steps; step++) {
      this.#nowMs += Math.floor(this.#random() * (gapMs + 1));
      this.#step(this.#pick(this.#fields), this.#pick(this.#bag));
      this.#moveViewers();
    }
    if (finish) this.#finish();
    return this.#sample;
  }

  #step(field: Field, step: Step): void {
    switch (step) {
      case "bid":
        return this.#bid(field, this.#fresh(field, Math.floor(this.#random() * 3) * 7), step);
      case "low":
        return this.#bid(field, this.#fresh(field, -1 - Math.floor(this.#random() * 30)), step);
      case "high":
        return this.#bid(field, this.#fresh(field, TERMS.rules.maxAmountMinor), step);
      case "jump":
        return this.#bid(field, this.#fresh(field, Math.floor(this.#random() * 10_000)), step);
      case "unknown":
      case "refused":
        return this.#bid(field, this.#fresh(field, 0), step);
      case "retry":
      case "reuse": {
        const attempt = this.#pick(field.attempts);
        if (attempt === undefined) return this.#read(field);
        const more = step === "reuse" ? 10 : 0;
        const isLost = this.#random() < 0.1;
        const again = { ...attempt, amountMinor: attempt.amountMinor + more };
        return this.#bid(field, again, isLost ? "unknown" : step);
      }
      case "read":
        return this.#read(field);
      case "pass":
        return this.#append(field, due(field.lot, this.#clockMs));
      case "withdraw":
        return this.#withdraw(field);
      case "move":
        return this.#moveClose(field);
    }
  }

  #bid(field: Field, attempt: Attempt, step: Step): void {
    const { lotId } = field.lot;
    field.attempts.push(attempt);
    if (field.attempts.length > RETRIED_MAX) field.attempts.shift();
    const [invMs, retMs] = this.#interval();
    const placed = { op: "bid", process: this.#ids % 10, lotId, ...attempt, invMs } as const;
    const tell = (record: BidRecord) => void this.#sample.history.push(record);
    if (step === "refused") return tell({ ...placed, outcome: "refused", retMs });
    if (step === "unknown") {
      if (this.#random() < 0.6) this.#decide(field, attempt);
      const gaveUpMs = invMs + Math.floor(this.#random() * (retMs - invMs));
      return tell({
        ...placed,
        outcome: "unknown",
        retMs: this.#random() < 0.5 ? null : gaveUpMs,
      });
    }
    const decided = this.#decide(field, attempt);
    if (typeof decided === "string" || "code" in decided) {
      const rejection = typeof decided === "string" ? { code: decided } : decided;
      return tell({ ...placed, outcome: "rejected", retMs, ...rejection });
    }
    const { bidId, epoch, seq, atMs, closesAtMs, minimumMinor } = decided;
    const answer = { bidId, epoch, seq, placedAtMs: atMs, closesAtMs, minimumMinor };
    tell({ ...placed, outcome: "accepted", retMs, ...answer });
  }

  /** As place-bids.lua does: the key first, then the rules. */
  #decide(
    field: Field,
    { bidderId, key, amountMinor }: Attempt,
  ):
    | BidAccepted
    | RejectionCode
    | { code: RejectionCode; minimumMinor: number; epoch: number; seq: number } {
    const { lot, answers } = field;
    const earlier = answers.get(`${key} ${bidderId}`);
    if (earlier) return earlier.amountMinor === amountMinor ? earlier : "key_reused";
    const bid = { bidId: `bid-${++this.#ids}`, bidderId, key, amountMinor };
    const decision = decide(lot, bid, this.#clockMs);
    if (!decision.accepted) {
      const { rejection, minimumMinor } = decision;
      const isTold = rejection === "too_low" && this.#random() < 0.7;
      const { epoch, seq } = lot;
      return isTold ? { code: rejection, minimumMinor, epoch, seq } : rejection;
    }
    this.#append(field, decision.events);
    const accepted = decision.events.find((event) => event.type === "bid_accepted")!;
    answers.set(`${key} ${bidderId}`, accepted);
    return accepted;
  }

  #read(field: Field): void {
    const { lotId, epoch, seq, leadingBid, status } = field.lot;
    const [invMs, retMs] = this.#interval();
    this.#sample.history.push({
      op: "read",
      lotId,
      invMs,
      retMs,
      epoch,
      seq,
      status,
      leadingMinor: leadingBid?.amountMinor ?? null,
      bidId: leadingBid?.bidId ?? null,
    });
  }

  #withdraw(field: Field): void {
    const { status, lotId, epoch, seq, atMs } = field.lot;
    if (status === "closed" || status === "withdrawn") return;
    const at = { epoch, seq: seq + 1, atMs: Math.max(atMs, this.#clockMs) };
    this.#append(field, [{ type: "lot_withdrawn", lotId, ...at }]);
  }

  /** As the seller may, also when the time is over and nobody has closed the lot yet. */
  #moveClose(field: Field): void {
    const { status, lotId, epoch, seq, atMs, closesAtMs, extensions } = field.lot;
    if (status !== "open") return;
    const at = { epoch, seq: seq + 1, atMs: Math.max(atMs, this.#clockMs) };
    const moved = { closesAtMs: closesAtMs! + 1 + Math.floor(this.#random() * 300), extensions };
    this.#append(field, [{ type: "lot_extended", lotId, ...at, ...moved }]);
  }

  #append(field: Field, events: readonly LotEvent[]): void {
    this.#sample.log.push(...events);
    for (const event of events) field.lot = apply(field.lot, event);
    for (const viewer of this.#viewers) viewer.show(events, field.lot, this.#nowMs);
  }

  #moveViewers(): void {
    for (const viewer of this.#viewers) viewer.move(this.#lots, this.#nowMs);
  }

  #finish(): void {
    const closes = this.#lots.map(({ closesAtMs }) => closesAtMs! - CLOCK_OFFSET_MS);
    this.#nowMs = Math.max(this.#nowMs, ...closes);
    for (const field of this.#fields) {
      this.#append(field, due(field.lot, this.#clockMs));
      this.#read(field);
    }
    for (const viewer of this.#viewers) viewer.catchUp(this.#lots, this.#nowMs);
  }

  #fresh({ lot }: Field, over: number): Attempt {
    const least = lot.leadingBid
      ? lot.leadingBid.amountMinor + (lot.leadingBid.amountMinor < 500 ? 10 : 25)
      : TERMS.startMinor;
    const amountMinor = Math.max(1, least + over);
    return { bidderId: `bidder-${this.#keys % 7}`, key: `key-${++this.#keys}`, amountMinor };
  }

  #interval(): [invMs: number, retMs: number] {
    const delay = () => Math.floor(this.#random() * (this.#shape.delayMs + 1));
    return [this.#nowMs - delay(), this.#nowMs + delay()];
  }

  get #clockMs(): number {
    return this.#nowMs + CLOCK_OFFSET_MS;
  }
  get #lots(): Lot[] {
    return this.#fields.map(({ lot }) => lot);
  }

  #pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.#random() * from.length)]!;
  }
}

const bags = new Map<NonNullable<Shape["weights"]>, Step[]>();

/** Each step as often as its weight says. Cached, since tests make thousands of histories of one shape. */
function bagOf(changed: NonNullable<Shape["weights"]>): Step[] {
  const cached = bags.get(changed);
  if (cached !== undefined) return cached;
  const weights = { ...STEPS, ...changed };
  const bag = (Object.keys(weights) as Step[]).flatMap((step) => {
    return Array<Step>(weights[step]).fill(step);
  });
  bags.set(changed, bag);
  return bag;
}

function lotAt(at: number, lastsMs: number): Lot {
  const opensAtMs = CLOCK_OFFSET_MS + OPENS_MS;
  return {
    ...TERMS,
    lotId: `lot-${at + 1}`,
    title: `Lot ${at + 1}`,
    status: "scheduled",
    intake: "taking",
    opensAtMs,
    closesAtMs: opensAtMs + lastsMs,
    extensions: 0,
    epoch: 1,
    seq: 0,
    atMs: 0,
    leadingBid: null,
    bidCount: 0,
  };
}
