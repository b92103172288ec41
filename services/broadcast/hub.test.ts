import fc from "fast-check";
import { expect, test } from "vitest";
import type { LotEvent } from "../lot/events.ts";
import { lot } from "../testing/auction.ts";
import { Hub, KEPT_FRAMES, type Reader, type Subscription } from "./hub.ts";

interface Shown {
  type: string;
  epoch: number;
  seq: number;
  conflated?: boolean;
  recovered?: boolean;
}

/** Reads frames as a viewer would, and keeps what they say. */
class Page implements Reader {
  behind = false;
  writes = 0;
  shown: Shown[] = [];
  write(frames: Buffer): void {
    this.writes++;
    this.shown.push(...textsOf(frames).map((text) => JSON.parse(text) as Shown));
  }
  get seqs(): number[] {
    return this.shown.map(({ seq }) => seq);
  }
}

function textsOf(frames: Buffer): string[] {
  const texts: string[] = [];
  for (let at = 0; at < frames.length;) {
    expect(frames[at]).toBe(0x81);
    const short = frames[at + 1]!;
    const length = short < 126 ? short : frames.readUInt16BE(at + 2);
    const start = at + (short < 126 ? 2 : 4);
    texts.push(frames.toString("utf8", start, start + length));
    at = start + length;
  }
  return texts;
}

function bidAccepted(seq: number, epoch = 1): LotEvent {
  return {
    type: "bid_accepted",
    lotId: "lot-1",
    epoch,
    seq,
    atMs: 1_000,
    key: "secret",

    bidId: `bid-${seq}`,
    bidderId: "ada",
    amountMinor: 1_000 + seq,
    minimumMinor: 2_000 + seq,
    closesAtMs: 100_000,
    reserveMet: null,
  };
}
const bids = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, i) => bidAccepted(from + i));
const range = (from: number, to: number) => bids(from, to).map(({ seq }) => seq);

function hubWithLot(seq = 1): Hub {
  const hub = new Hub();
  expect(hub.put(lot({ seq }), 0)).toBe("added");
  return hub;
}
const sweepAll = (hub: Hub, chunk = 7) => {
  while (hub.sweep(chunk));
};

test("the events of one call reach each reader as one write, without the bidder's key", () => {
  const hub = hubWithLot();
  const page = new Page();
  hub.subscribe("lot-1", page);
  expect(hub.publish("lot-1", bids(2, 5))).toBe("published");
  sweepAll(hub);
  expect(page.seqs).toEqual([2, 3, 4, 5]);
  expect(page.writes).toBe(1);
  expect(JSON.stringify(page.shown)).not.toContain("secret");
});

test("what the hub has is passed over, a gap stops it until it is filled", () => {
  const hub = hubWithLot();
  const page = new Page();
  hub.subscribe("lot-1", page);
  hub.publish("lot-1", bids(1, 3));
  hub.publish("lot-1", bids(2, 4));
  expect(hub.publish("lot-1", bids(6, 7))).toBe("gap");
  expect(hub.publish("lot-1", bids(3, 6))).toBe("published");
  expect(hub.publish("lot-1", bids(6, 7))).toBe("published");
  expect(hub.publish("lot-1", [bidAccepted(8, 2)])).toBe("gap");
  expect(hub.publish("lot-2", bids(1, 1))).toBe("unknown_lot");
  sweepAll(hub);
  expect(page.seqs).toEqual(range(2, 7));
});

test("a lot that is ahead in the store is shown as it stands, and what is behind is left", () => {
  const hub = hubWithLot();
  const page = new Page();
  hub.subscribe("lot-1", page);
  hub.publish("lot-1", bids(2, 3));
  expect(hub.put(lot({ seq: 2 }), 5)).toBe("kept");
  expect(hub.put(lot({ epoch: 2, seq: 10 }), 5)).toBe("reset");
  hub.publish("lot-1", [bidAccepted(11, 2)]);
  sweepAll(hub);
  expect(page.shown).toMatchObject([
    { type: "bid_accepted", seq: 2 },
    { type: "bid_accepted", seq: 3 },
    { type: "snapshot", epoch: 2, seq: 10, recovered: false, serverTimeMs: 5 },
    { type: "bid_accepted", epoch: 2, seq: 11 },
  ]);
  expect(hub.since("lot-1", { epoch: 1, seq: 3 }).found).toBe("other_epoch");
  expect(hub.since("lot-1", { epoch: 2, seq: 9 }).found).toBe("older");
  expect(hub.since("lot-1", { epoch: 2, seq: 10 })).toMatchObject({ found: "frames" });
});

test("what came after a place is found as far as it is kept", () => {
  const hub = hubWithLot();
  hub.publish("lot-1", bids(2, 1_000));
  const found = (seq: number) => {
    const missed = hub.since("lot-1", { epoch: 1, seq });
    if (missed.found !== "frames") return missed.found;
    return missed.frames.flatMap(textsOf).map((text) => (JSON.parse(text) as Shown).seq);
  };
  expect(found(1_000)).toEqual([]);
  expect(found(990)).toEqual(range(991, 1_000));
  expect(found(1_000 - KEPT_FRAMES)).toEqual(range(1_001 - KEPT_FRAMES, 1_000));
  expect(found(1)).toBe("older");
  expect(found(1_001)).toBe("ahead");
  expect(found(-1)).toBe("other_epoch");
  expect(found(2 ** 60)).toBe("ahead");
  expect(found(-(2 ** 60))).toBe("other_epoch");
});

test("a reader that is behind gets no events, and then the lot as it stands", () => {
  const hub = hubWithLot();
  const page = new Page();
  const subscription = hub.subscribe("lot-1", page)!;
  hub.publish("lot-1", bids(2, 3));
  sweepAll(hub);
  expect(hub.conflated(subscription, 0)).toBe(null);
  page.behind = true;
  hub.publish("lot-1", bids(4, 6));
  sweepAll(hub);
  hub.publish("lot-1", bids(7, 8)); // not swept yet, and part of the snapshot
  page.behind = false;
  page.write(hub.conflated(subscription, 0)!);
  hub.publish("lot-1", bids(9, 9));
  sweepAll(hub);
  expect(page.seqs).toEqual([2, 3, 8, 9]);
  expect(page.shown[2]).toMatchObject({ type: "snapshot", conflated: true });
});

test("no sweep writes to more sockets than it may, and the first is not always the same", () => {
  const hub = hubWithLot();
  const order: number[] = [];
  for (let i = 0; i < 10; i++) {
    hub.subscribe("lot-1", { behind: false, write: () => void order.push(i) });
  }
  const firsts = new Set<number>();
  for (let seq = 2; seq < 12; seq++) {
    order.length = 0;
    hub.publish("lot-1", bids(seq, seq));
    expect(hub.sweep(4)).toBe(true);
    expect(order).toHaveLength(4);
    expect(hub.sweep(4)).toBe(true);
    expect(hub.sweep(4)).toBe(false);
    expect(order.toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    firsts.add(order[0]!);
  }
  expect(firsts.size).toBeGreaterThan(5);
});

test("whoever leaves in the middle of a sweep, the others miss nothing", () => {
  for (const leaves of [0, 1, 2, 3, 4, 5]) {
    const hub = hubWithLot();
    const pages = Array.from({ length: 6 }, () => new Page());
    const subscriptions = pages.map((page) => hub.subscribe("lot-1", page)!);
    hub.publish("lot-1", bids(2, 2));
    hub.sweep(3);
    hub.unsubscribe(subscriptions[leaves]!);
    sweepAll(hub);
    for (const [i, { seqs }] of pages.entries()) if (i !== leaves) expect(seqs).toEqual([2]);
  }
});

test("a lot that is dropped has no readers any more", () => {
  const hub = hubWithLot();
  const page = new Page();
  const subscription = hub.subscribe("lot-1", page)!;
  hub.publish("lot-1", bids(2, 2));
  expect(hub.drop("lot-1")).toEqual([page]);
  expect(hub.subscriptions).toBe(0);
  hub.unsubscribe(subscription);
  sweepAll(hub);
  expect(page.shown).toEqual([]);
  expect(hub.position("lot-1")).toBe(null);
});

// Publishing, chunks of sweeps, coming, leaving and falling behind, in any order: each reader sees every
// event from its subscription on, once and in order, but for what a conflated snapshot stands for.
test("however things interleave, each reader sees each event once and in order", () => {
  const step = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({ do: fc.constant("publish"), n: fc.constantFrom(1, 1, 2, 3, 140) }),
    },
    {
      weight: 4,
      arbitrary: fc.record({ do: fc.constant("sweep"), n: fc.integer({ min: 1, max: 5 }) }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant("come"), n: fc.nat(20) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("leave"), n: fc.nat(20) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("behind"), n: fc.nat(20) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("drain"), n: fc.nat(20) }) },
  );
  const run = (steps: { do: string; n: number }[]) => {
    const hub = hubWithLot();
    const here: { page: Page; subscription: Subscription; last: number }[] = [];
    const gone: Page[] = [];
    let seq = 1;
    const check = (one: (typeof here)[number], all: boolean) => {
      for (const shown of one.page.shown.splice(0)) {
        if (shown.conflated) expect(shown.seq).toBeGreaterThan(one.last);
        else expect(shown.seq).toBe(one.last + 1);
        one.last = shown.seq;
      }
      if (all) expect(one.last).toBe(seq);
    };
    for (const { do: what, n } of steps) {
      const one = here[n % (here.length || 1)];
      if (what === "publish") hub.publish("lot-1", bids(seq + 1, (seq += n)));
      if (what === "sweep" && !hub.sweep(n)) {
        for (const each of here) if (!each.page.behind) check(each, !each.subscription.missed);
      }
      if (what === "come") {
        const page = new Page();
        here.push({ page, subscription: hub.subscribe("lot-1", page)!, last: seq });
      }
      if (what === "leave" && one) {
        hub.unsubscribe(one.subscription);
        here.splice(here.indexOf(one), 1);
        check(one, false);
        gone.push(one.page);
      }
      if (what === "behind" && one) one.page.behind = true;
      if (what === "drain" && one) drain(hub, one);
    }
    for (const one of here) drain(hub, one);
    sweepAll(hub, 3);
    for (const one of here) check(one, true);
    for (const page of gone) expect(page.shown).toEqual([]);
    expect(hub.subscriptions).toBe(here.length);
  };
  fc.assert(fc.property(fc.array(step, { maxLength: 80, size: "max" }), run), { numRuns: 150 });
});

function drain(hub: Hub, { page, subscription }: { page: Page; subscription: Subscription }): void {
  page.behind = false;
  const snapshot = hub.conflated(subscription, 0);
  if (snapshot) page.write(snapshot);
}
