import { describe, expect, test } from "vitest";
import type { BidAccepted, LotClosed, LotEvent } from "../events.ts";
import { checkHistory, type CheckerOptions } from "./checker.ts";
import type { AcceptedBid, BidRecord, FrameRecord, HistoryRecord, ReadRecord } from "./history.ts";
import { CLOCK_OFFSET_MS, randomHistory, type Sample, seededRandom } from "./random-history.ts";
import { type VerdictName, VERDICTS } from "./verdicts.ts";

const SHAPE = {
  lots: 2,
  steps: 400,
  viewers: 3,
  gapMs: 5,
  delayMs: 20,
  lastsMs: 900,
  finish: true,
};
const sampleOf = (seed: number) =>
  randomHistory(seededRandom(seed), { ...SHAPE, weights: { withdraw: 0 } });

const optionsOf = ({ terms }: Sample): CheckerOptions => ({
  terms,
  ended: true,
  settled: true,
  clock: { offsetMs: CLOCK_OFFSET_MS, errorMs: 0 },
});

test("histories that are right by construction have no verdict, with terms and without", () => {
  for (let seed = 1; seed <= 500; seed++) {
    const weights = seed % 2 === 0 ? { move: 4, withdraw: 0, pass: 1 } : {};
    const lastsMs = seed % 3 === 0 ? 200 : SHAPE.lastsMs;
    const shape = { ...SHAPE, steps: 150, lastsMs, weights };
    const sample = randomHistory(seededRandom(seed), shape);
    expect([seed, checkHistory(sample.history, sample.log, optionsOf(sample)).verdicts]).toEqual([
      seed,
      [],
    ]);
    expect([seed, checkHistory(sample.history, sample.log).verdicts]).toEqual([seed, []]);
  }
});

test("what is counted is what happened", () => {
  const sample = sampleOf(7);
  const { counts } = checkHistory(sample.history, sample.log, optionsOf(sample));
  const bids = sample.history.filter((record) => record.op === "bid");
  const acknowledged = bids.flatMap((bid) => (bid.outcome === "accepted" ? [bid.bidId] : []));
  expect(counts).toMatchObject({
    lots: 2,
    events: sample.log.length,
    records: sample.history.length,
    bids: sample.log.filter(({ type }) => type === "bid_accepted").length,
    acknowledged: new Set(acknowledged).size,
    rejected: bids.filter(({ outcome }) => outcome === "rejected").length,
    refused: bids.filter(({ outcome }) => outcome === "refused").length,
    lost: 0,
    duplicated: 0,
    misordered: 0,
    viewers: 3,
    viewersComplete: 3,
    verdicts: {},
  });
  const { resolved, unresolved } = counts.unknown;
  expect(resolved).toBeGreaterThan(0);
  expect(unresolved).toBeGreaterThan(0);
});

/** A right history with one thing wrong. */
class Mutant {
  history: HistoryRecord[];
  log: LotEvent[];
  options: CheckerOptions;
  readonly sample: Sample;

  constructor(sample: Sample) {
    this.sample = sample;
    this.history = [...sample.history];
    this.log = [...sample.log];
    this.options = optionsOf(sample);
  }

  get acknowledgements(): AcceptedBid[] {
    const first = new Map<string, AcceptedBid>();
    for (const record of this.history) {
      if (record.op !== "bid" || record.outcome !== "accepted") continue;
      if (!first.has(record.bidId)) first.set(record.bidId, record);
    }
    return [...first.values()];
  }

  /** An acknowledged bid in the middle that nobody but its own answer speaks of. */
  get acknowledged(): AcceptedBid {
    const all = this.acknowledgements;
    return all[all.length >> 1]!;
  }

  eventOf({ bidId }: AcceptedBid): BidAccepted {
    return this.bids.find((event) => event.bidId === bidId)!;
  }

  get bids(): BidAccepted[] {
    return this.log.filter((event) => event.type === "bid_accepted");
  }
  get closed(): LotClosed {
    return this.log.find((event) => event.type === "lot_closed")!;
  }
  get reads(): ReadRecord[] {
    return this.history.filter((record) => record.op === "read");
  }

  edit<T extends LotEvent>(event: T, changes: Partial<T>): void {
    this.log = this.log.map((other) => (other === event ? { ...event, ...changes } : other));
  }
  insert(...events: LotEvent[]): void {
    this.log.push(...events);
  }
  remove(event: LotEvent): void {
    this.log = this.log.filter((other) => other !== event);
  }
  /** Takes an event out and closes the gap, as if it had never been. */
  unmake({ lotId, seq }: LotEvent): void {
    this.log = this.log
      .filter((other) => other.lotId !== lotId || other.seq !== seq)
      .map((other) =>
        other.lotId === lotId && other.seq > seq ? { ...other, seq: other.seq - 1 } : other,
      );
  }
  rewrite<T extends HistoryRecord>(record: T, changes: object): void {
    this.history = this.history.map((other) =>
      other === record ? { ...record, ...changes } : other,
    );
  }
  forget(wanted: (record: HistoryRecord) => boolean): void {
    this.history = this.history.filter((record) => !wanted(record));
  }
  /** Forgets every other answer, so that nothing else says when events happened. */
  keepAcknowledgements(...others: HistoryRecord[]): void {
    const kept = new Set<HistoryRecord>([...this.acknowledgements, ...others]);
    this.forget((record) => !kept.has(record));
  }
  tell(...records: HistoryRecord[]): void {
    this.history.push(...records);
  }
  /** The last event of a lot, closing aside. */
  lastBid(lotId = "lot-1"): BidAccepted {
    return this.bids.filter((event) => event.lotId === lotId).at(-1)!;
  }
  frames(wanted: (record: FrameRecord) => boolean): FrameRecord[] {
    return this.history.filter((record) => record.op === "frame").filter(wanted);
  }
}

const sameKey = (a: BidRecord | BidAccepted) => (b: HistoryRecord) =>
  b.op === "bid" && b.lotId === a.lotId && b.key === a.key && b.bidderId === a.bidderId;

function rejectedOf(bid: AcceptedBid, changes: object): BidRecord {
  const { op, process, lotId, bidderId, amountMinor, invMs, retMs } = bid;
  const placed = { op, process, lotId, bidderId, amountMinor, invMs, retMs };
  return { ...placed, key: "another", outcome: "rejected", ...changes } as BidRecord;
}

/** Each verdict with at least one thing that must bring it about. */
const MUTANTS: [VerdictName, how: string, (mutant: Mutant) => void][] = [
  ["lost", "drop a row", (m) => m.remove(m.eventOf(m.acknowledged))],
  [
    "lost",
    "acknowledge a bid without a row",
    (m) => m.tell({ ...m.acknowledged, bidId: "x", key: "x" }),
  ],
  ["seq_gap", "drop a row", (m) => m.remove(m.eventOf(m.acknowledged))],
  ["seq_gap", "drop the first event", (m) => m.remove(m.log[0]!)],
  ["seq_repeated", "write a row twice", (m) => m.insert({ ...m.eventOf(m.acknowledged) })],
  [
    "epoch_overlap",
    "begin an epoch below the last seq",
    (m) => {
      m.edit(m.closed, { epoch: 2, seq: m.closed.seq - 1 });
    },
  ],
  [
    "time_backwards",
    "move a bid back in time",
    (m) => {
      const event = m.bids.find(
        ({ lotId, atMs }, i) => i > 3 && m.bids.some((b) => b.lotId === lotId && b.atMs < atMs),
      )!;
      m.edit(event, { atMs: event.atMs - 200 });
    },
  ],
  [
    "moved",
    "swap the seq of two rows",
    (m) => {
      const [a, b] = m.bids.filter(({ lotId }) => lotId === "lot-1").slice(3, 5) as [
        BidAccepted,
        BidAccepted,
      ];
      m.edit(a, { seq: b.seq });
      m.edit(b, { seq: a.seq });
    },
  ],
  [
    "moved",
    "acknowledge another seq",
    (m) => m.rewrite(m.acknowledged, { seq: m.acknowledged.seq + 1 }),
  ],
  [
    "altered",
    "alter an amount",
    (m) => {
      const event = m.eventOf(m.acknowledged);
      m.edit(event, { amountMinor: event.amountMinor + 1 });
    },
  ],
  ["altered", "alter a bidder", (m) => m.edit(m.eventOf(m.acknowledged), { bidderId: "mallory" })],
  ["altered", "alter a key", (m) => m.edit(m.eventOf(m.acknowledged), { key: "mallory" })],
  [
    "altered",
    "place a bid later than acknowledged",
    (m) => {
      m.rewrite(m.acknowledged, { placedAtMs: m.acknowledged.placedAtMs - 1 });
    },
  ],
  [
    "altered",
    "record another amount than was ever sent",
    (m) => {
      const event = m.eventOf(m.acknowledged);
      m.forget(sameKey(event));
      const { op, process, lotId, bidderId, key, invMs } = m.sample.history.find(
        sameKey(event),
      ) as BidRecord;
      m.tell({
        op,
        process,
        lotId,
        bidderId,
        key,
        invMs,
        amountMinor: 1,
        outcome: "unknown",
        retMs: null,
      });
    },
  ],
  ["phantom", "add a row that nobody sent", (m) => m.forget(sameKey(m.acknowledged))],
  [
    "refused_recorded",
    "record a refused bid",
    (m) => {
      const bid = m.acknowledged;
      m.forget(sameKey(bid));
      const { op, process, lotId, bidderId, key, amountMinor, invMs, retMs } = bid;
      m.tell({
        op,
        process,
        lotId,
        bidderId,
        key,
        amountMinor,
        invMs,
        retMs,
        outcome: "refused",
      });
    },
  ],
  [
    "rejected_recorded",
    "record a rejected bid",
    (m) => {
      const bid = m.acknowledged;
      m.forget(sameKey(bid));
      m.tell(rejectedOf(bid, { key: bid.key, code: "too_low", invMs: 0, retMs: 10_000 }));
    },
  ],
  [
    "bid_twice",
    "write a bid again under the next seq",
    (m) => {
      const last = m.lastBid();
      m.insert({ ...last, seq: last.seq + 50 });
    },
  ],
  [
    "key_twice",
    "accept a key twice",
    (m) => {
      const last = m.lastBid();
      m.insert({ ...last, bidId: "x", seq: last.seq + 50 });
    },
  ],
  [
    "answers_differ",
    "answer a retry with another bid",
    (m) => m.tell({ ...m.acknowledged, bidId: "x" }),
  ],
  ["no_such_event", "read beyond the log", (m) => m.rewrite(m.reads[3]!, { seq: 9_999 })],
  [
    "wrong_read",
    "show another leading amount",
    (m) => {
      const read = m.reads.find(({ leadingMinor }) => leadingMinor !== null)!;
      m.rewrite(read, { leadingMinor: read.leadingMinor! - 1 });
    },
  ],
  [
    "wrong_rejection",
    "reject as too low what was high enough",
    (m) => {
      const { seq, epoch, amountMinor, minimumMinor } = m.acknowledged;
      const code = "too_low";
      m.tell(
        rejectedOf(m.acknowledged, {
          code,
          epoch,
          seq,
          amountMinor: amountMinor + 500,
          minimumMinor,
        }),
      );
    },
  ],
  [
    "wrong_rejection",
    "reject as withdrawn",
    (m) => m.tell(rejectedOf(m.acknowledged, { code: "withdrawn" })),
  ],
  [
    "wrong_rejection",
    "reject as too high what was not",
    (m) => m.tell(rejectedOf(m.acknowledged, { code: "too_high" })),
  ],
  [
    "wrong_rejection",
    "reject as too far above the minimum what was not",
    (m) => m.tell(rejectedOf(m.acknowledged, { code: "jump_too_large" })),
  ],
  [
    "wrong_rejection",
    "reject for a key that was never used",
    (m) => m.tell(rejectedOf(m.acknowledged, { code: "key_reused" })),
  ],
  [
    "wrong_rejection",
    "reject as closed before the close, by the clock",
    (m) => {
      const { lotId } = m.lastBid();
      const last = m.acknowledgements.filter((bid) => bid.lotId === lotId).at(-1)!;
      const placedMs = last.placedAtMs - CLOCK_OFFSET_MS;
      m.tell(rejectedOf(last, { code: "closed", invMs: placedMs, retMs: placedMs }));
    },
  ],
  [
    "key_forgotten",
    "judge a key anew",
    (m) => {
      const { key, retMs, seq, epoch, minimumMinor } = m.acknowledged;
      const at = { key, epoch, seq, minimumMinor, invMs: retMs + 1, retMs: retMs + 99 };
      m.tell(rejectedOf(m.acknowledged, { code: "too_low", ...at }));
    },
  ],
  [
    "wrong_time",
    "accept a bid an hour ago",
    (m) => {
      m.options = { ...m.options, clock: { offsetMs: CLOCK_OFFSET_MS + 3_600_000, errorMs: 100 } };
    },
  ],
  [
    "reordered",
    "send a bid only after the next one was acknowledged",
    (m) => {
      const all = m.acknowledgements.filter(({ lotId }) => lotId === "lot-1");
      const [early, late] = [all[3]!, all.find(({ invMs }) => invMs > all[3]!.retMs + 50)!];
      m.keepAcknowledgements();
      m.rewrite(early, { invMs: late.retMs + 1, retMs: late.retMs + 2 });
    },
  ],
  [
    "stale",
    "read what was long overtaken",
    (m) => {
      const read = m.reads.find(({ leadingMinor }) => leadingMinor !== null)!;
      m.rewrite(read, { invMs: 800, retMs: 820 });
    },
  ],
  [
    "stale",
    "reject by a state that was overtaken",
    (m) => {
      const { epoch, seq, minimumMinor } = m.acknowledged;
      const at = { epoch, seq, minimumMinor, amountMinor: 1, invMs: 900, retMs: 901 };
      m.tell(rejectedOf(m.acknowledged, { code: "too_low", ...at }));
    },
  ],
  [
    "stale",
    "reject as too low after the lot was seen closed",
    (m) => {
      const { lotId, retMs } = m.reads.find(({ status }) => status === "closed")!;
      const bid = m.acknowledgements.find((one) => one.lotId === lotId)!;
      const at = { amountMinor: 1, invMs: retMs + 1, retMs: retMs + 2 };
      m.options = { ...m.options, clock: null };
      m.tell(rejectedOf(bid, { code: "too_low", ...at }));
    },
  ],
  [
    "future",
    "read what was not yet sent",
    (m) => {
      const read = m.reads.findLast(
        ({ status, leadingMinor }) => status === "open" && leadingMinor !== null,
      )!;
      m.rewrite(read, { invMs: 1, retMs: 2 });
    },
  ],
  [
    "future",
    "show a viewer what was not yet sent",
    (m) => {
      const frame = m.frames(({ frame: { type } }) => type === "bid_accepted").at(-1)!;
      m.keepAcknowledgements(frame);
      m.rewrite(frame, { atMs: 1 });
    },
  ],
  [
    "below_minimum",
    "accept a bid below the minimum",
    (m) => {
      const last = m.lastBid();
      m.edit(last, { amountMinor: 5 });
    },
  ],
  [
    "above_maximum",
    "accept a bid above the maximum",
    (m) => m.edit(m.lastBid(), { amountMinor: 2e12 }),
  ],
  [
    "wrong_minimum",
    "state another minimum",
    (m) => {
      m.edit(m.lastBid(), { minimumMinor: m.lastBid().minimumMinor + 1 });
    },
  ],
  [
    "wrong_reserve",
    "say that the reserve is not met",
    (m) => m.edit(m.lastBid(), { reserveMet: false }),
  ],
  [
    "wrong_close",
    "move the close back",
    (m) => {
      m.edit(m.lastBid(), { closesAtMs: m.lastBid().closesAtMs - 1 });
    },
  ],
  [
    "wrong_opening",
    "open twice",
    (m) => {
      const { seq, epoch, atMs, lotId } = m.lastBid(m.log[0]!.lotId);
      m.remove(m.lastBid(lotId));
      m.insert({ ...m.log[0]!, epoch, seq, atMs });
    },
  ],
  [
    "early_bid",
    "accept a bid before the opening",
    (m) => {
      const opened = m.log.find(({ type, lotId }) => type === "lot_opened" && lotId === "lot-1")!;
      const second = m.log.find(({ seq, lotId }) => seq === 2 && lotId === "lot-1")!;
      m.edit(opened, { seq: 2 });
      m.edit(second, { seq: 1 });
    },
  ],
  [
    "late_bid",
    "accept a bid at the close",
    (m) => {
      const last = m.lastBid();
      m.edit(last, { atMs: m.closed.atMs });
    },
  ],
  [
    "after_end",
    "accept a bid after the close",
    (m) => {
      const closed = m.closed;
      m.insert({
        ...m.lastBid(closed.lotId),
        bidId: "x",
        key: "x",
        seq: closed.seq + 1,
        atMs: closed.atMs,
      });
    },
  ],
  [
    "closed_early",
    "close before the close",
    (m) => m.edit(m.closed, { atMs: m.lastBid(m.closed.lotId).atMs }),
  ],
  ["two_results", "close twice", (m) => m.insert({ ...m.closed, seq: m.closed.seq + 1 })],
  [
    "wrong_result",
    "let another bid win",
    (m) => {
      const { bidId, bidderId, amountMinor } = m.bids.find(
        ({ lotId }) => lotId === m.closed.lotId,
      )!;
      m.edit(m.closed, { bidId, bidderId, amountMinor });
    },
  ],
  ["no_result", "never close", (m) => m.remove(m.closed)],
  [
    "viewer_order",
    "show an event twice",
    (m) => {
      const frame = m.frames(({ frame: { type } }) => type === "bid_accepted")[5]!;
      m.history.splice(m.history.indexOf(frame), 0, frame);
    },
  ],
  [
    "viewer_gap",
    "leave an event out",
    (m) => {
      const frame = m.frames(({ frame: { type } }) => type === "bid_accepted")[5]!;
      m.forget((record) => record === frame);
    },
  ],
  [
    "viewer_gap",
    "leave an event out and say recovered",
    (m) => {
      const resumed = m.frames(({ frame }) => frame["recovered"] === true);
      const before = resumed.map((frame) => m.history[m.history.indexOf(frame) - 1]!);
      const missed = before.find(
        ({ op, ...record }) =>
          op === "frame" && "frame" in record && record.frame.type === "bid_accepted",
      )!;
      m.forget((record) => record === missed);
    },
  ],
  [
    "viewer_gap",
    "conflate without saying so",
    (m) => {
      for (const frame of m.frames(({ frame }) => frame["conflated"] === true)) {
        const { conflated: _, ...silent } = frame.frame;
        m.rewrite(frame, { frame: silent });
      }
    },
  ],
  [
    "viewer_altered",
    "show another amount",
    (m) => {
      const frame = m.frames(({ frame: { type } }) => type === "bid_accepted")[5]!;
      m.rewrite(frame, { frame: { ...frame.frame, amountMinor: 1 } });
    },
  ],
  [
    "viewer_altered",
    "show a key",
    (m) => {
      const frame = m.frames(({ frame: { type } }) => type === "bid_accepted")[5]!;
      m.rewrite(frame, { frame: { ...frame.frame, key: "secret" } });
    },
  ],
  [
    "viewer_altered",
    "show another leader in a snapshot",
    (m) => {
      const frame = m.frames(
        ({ frame }) => frame.type === "snapshot" && frame["leadingBid"] !== null,
      )[0]!;
      m.rewrite(frame, { frame: { ...frame.frame, leadingBid: null } });
    },
  ],
  [
    "viewer_phantom",
    "show an event that a crash took back",
    (m) => {
      const frame = m.frames(({ frame: { type } }) => type === "bid_accepted")[5]!;
      m.tell({ ...frame, frame: { ...frame.frame, seq: 9_999 } });
    },
  ],
  [
    "viewer_order",
    "go back to an older epoch",
    (m) => {
      // All but the first events are of epoch 2, so a frame of epoch 1 after one of epoch 2 goes back.
      const isLate = (at: object) => Number((at as { seq?: unknown }).seq) > 8;
      m.log = m.log.map((event) => (isLate(event) ? { ...event, epoch: 2 } : event));
      const early = m.frames(({ frame }) => frame.type === "bid_accepted" && !isLate(frame))[0]!;
      m.history = m.history.map((record) =>
        record.op === "frame" && isLate(record.frame)
          ? { ...record, frame: { ...record.frame, epoch: 2 } }
          : record,
      );
      const { connection } = m.frames(({ viewer }) => viewer === early.viewer).at(-1)!;
      m.tell({ ...early, connection, atMs: 9_999 });
    },
  ],
  [
    "after_fence",
    "decide something after the fence",
    (m) => {
      const last = m.log.reduce((a, b) => (a.atMs > b.atMs ? a : b));
      m.options = { ...m.options, fencedAtMs: last.atMs - 1 };
    },
  ],
  [
    "viewer_behind",
    "let a viewer miss the end",
    (m) => {
      m.forget(
        (record) =>
          record.op === "frame" && record.viewer === 0 && record.frame.type === "lot_closed",
      );
    },
  ],
];

describe("each mutant of a right history is caught by its own verdict:", () => {
  test.each(MUTANTS)("%s: %s", (verdict, _how, mutate) => {
    const mutant = new Mutant(sampleOf(7));
    mutate(mutant);
    const { verdicts } = checkHistory(mutant.history, mutant.log, mutant.options);
    expect(verdicts.map((found) => found.verdict)).toContain(verdict);
    const found = verdicts.find((one) => one.verdict === verdict)!;
    if (verdict !== "no_result") expect(found.records.length).toBeGreaterThan(0);
  });

  test("every verdict that history and log can bring has a mutant", () => {
    const ofRows = ["row_differs", "bids_differ", "results_differ", "lots_differ", "dead_letter"];
    const covered = new Set<string>([...MUTANTS.map(([verdict]) => verdict), ...ofRows]);
    expect(Object.keys(VERDICTS).filter((verdict) => !covered.has(verdict))).toEqual([]);
  });
});

/** A right history of one open lot, with one more bid after it, rejected with a code. */
function withRejection(code: "closed" | "suspended", afterMs: number) {
  const sample = randomHistory(seededRandom(3), {
    ...SHAPE,
    lots: 1,
    steps: 60,
    lastsMs: 60_000,
    finish: false,
    weights: { withdraw: 0, pass: 0, move: 0 },
  });
  const lastMs = Math.max(...sample.log.map(({ atMs }) => atMs)) - CLOCK_OFFSET_MS + 1_000;
  const rejected: BidRecord = {
    op: "bid",
    process: 99,
    lotId: "lot-1",
    bidderId: "late",
    key: "late",
    amountMinor: 900_000,
    invMs: lastMs + afterMs,
    retMs: lastMs + afterMs + 5,
    outcome: "rejected",
    code,
  };
  const options: CheckerOptions = {
    terms: sample.terms,
    clock: { offsetMs: CLOCK_OFFSET_MS, errorMs: 0 },
  };
  const judge = (more: CheckerOptions) =>
    checkHistory([...sample.history, rejected], sample.log, { ...options, ...more }).verdicts.map(
      ({ verdict }) => verdict,
    );
  return { judge, fencedAtMs: lastMs + CLOCK_OFFSET_MS };
}

test("a fence closes a lot before its close, and nothing but a fence does", () => {
  const { judge, fencedAtMs } = withRejection("closed", 10);
  expect(judge({ fencedAtMs })).toEqual([]);
  expect(judge({})).toEqual(["wrong_rejection"]);
  expect(withRejection("closed", -50).judge({ fencedAtMs })).toEqual(["wrong_rejection"]);
});

test("a bid may be told that the auction is suspended as long as its lot is not over", () => {
  expect(withRejection("suspended", 10).judge({})).toEqual([]);
});
