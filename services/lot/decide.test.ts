import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bid, lot, RULES } from "../testing/auction.ts";
import { decide, type Rejection } from "./decide.ts";
import type { BidAccepted } from "./events.ts";
import { maximumBidMinor, minimumBidMinor, stepMinorAt } from "./increments.ts";
import { apply } from "./lifecycle.ts";
import { MAX_MINOR } from "./money.ts";
import { LARGEST_MAX_JUMP } from "./terms.ts";
import type { Lot } from "./lot.ts";

/** No limits but that of exact numbers. */
const EXACT = { ...RULES, maxAmountMinor: MAX_MINOR, maxJump: null };

/** Terms that an Auction may have (operator/api/auction-rules.ts), the extremes included. */
const anyTerms = fc
  .record({
    maxAmountMinor: fc.integer({ min: 1, max: MAX_MINOR - 1_000 }),
    maxJump: fc.option(fc.integer({ min: 2, max: LARGEST_MAX_JUMP })),
    start: fc.double({ min: 0, max: 1, noNaN: true }),
    steps: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 4 }),
  })
  .map(({ maxAmountMinor, maxJump, start, steps }) => {
    const largestStep = Math.floor((MAX_MINOR - maxAmountMinor) / 1_000);
    const increments = steps.map((share, i) => ({
      fromMinor: i * 1_000,
      stepMinor: Math.max(1, Math.floor(share * largestStep)),
    }));
    const startMinor = Math.floor(start * maxAmountMinor);
    return { startMinor, rules: { ...RULES, increments, maxAmountMinor, maxJump } };
  });

const leading = { bidId: "b", bidderId: "ann", amountMinor: 1_500 };
const sniping = {
  ...RULES,
  antiSniping: { windowMs: 10_000, extensionMs: 30_000, maxExtensions: 2 },
};

describe("a bid is accepted", () => {
  test("at the start of a lot without bids, and at one step above the leading bid", () => {
    const first = decide(lot(), bid(1_000), 5_000);
    expect(first).toMatchObject({ accepted: true, lot: { seq: 2, bidCount: 1 } });
    const next = decide(lot({ leadingBid: leading }), bid(1_550), 5_000);
    expect(next).toMatchObject({ accepted: true, lot: { leadingBid: { amountMinor: 1_550 } } });
  });

  test("with the lot's opening before it, when nobody opened the lot in time", () => {
    const decision = decide(lot({ status: "scheduled", seq: 0, atMs: 0 }), bid(1_000), 5_000);
    expect(decision).toMatchObject({
      events: [
        { type: "lot_opened", seq: 1 },
        { type: "bid_accepted", seq: 2 },
      ],
      lot: { status: "open", seq: 2 },
    });
  });

  test("and moves the close when it comes within the window, as often as the rules allow", () => {
    const late = decide(lot({ rules: sniping }), bid(1_000), 95_000);
    expect(late).toMatchObject({
      events: [
        { type: "bid_accepted", seq: 2, closesAtMs: 125_000 },
        { type: "lot_extended", seq: 3, closesAtMs: 125_000, extensions: 1 },
      ],
    });
    const early = decide(lot({ rules: sniping }), bid(1_000), 89_999);
    expect(early).toMatchObject({ lot: { closesAtMs: 100_000, extensions: 0 } });
    const spent = decide(lot({ rules: sniping, extensions: 2 }), bid(1_000), 95_000);
    expect(spent).toMatchObject({ lot: { closesAtMs: 100_000, extensions: 2 } });
  });

  test("and an extension that would not move the close is not counted", () => {
    const rules = {
      ...RULES,
      antiSniping: { windowMs: 60_000, extensionMs: 1_000, maxExtensions: 9 },
    };
    const decision = decide(lot({ rules }), bid(1_000), 50_000);
    expect(decision).toMatchObject({ events: [{ type: "bid_accepted" }], lot: { extensions: 0 } });
  });

  test("and says whether the reserve is met, unless that is hidden", () => {
    const cases: [reserve: number | null, disclosure: "Hidden" | "MetOnly", met: boolean | null][] =
      [
        [null, "MetOnly", null],
        [1_001, "MetOnly", false],
        [1_000, "MetOnly", true],
        [1_000, "Hidden", null],
      ];
    for (const [reserveMinor, reserveDisclosure, met] of cases) {
      const asked = lot({ reserveMinor, rules: { ...RULES, reserveDisclosure } });
      const decision = decide(asked, bid(1_000), 5_000);
      expect(decision).toMatchObject({ events: [{ reserveMet: met }] });
    }
  });
});

test("a bid is rejected for the first of the rules that it breaks", () => {
  const cases: [Rejection, Partial<Lot>, amountMinor: number, nowMs: number][] = [
    ["withdrawn", { status: "withdrawn" }, 1, 999_999],
    ["closed", { status: "closed" }, 1_000, 5_000],
    ["not_open", { opensAtMs: null, closesAtMs: null, status: "scheduled" }, 1_000, 5_000],
    ["not_open", { status: "scheduled", atMs: 0, seq: 0 }, 1_000, 999],
    ["closed", { intake: "fenced" }, 1_000, 5_000],
    ["closed", { status: "closed", intake: "suspended" }, 1_000, 5_000],
    ["withdrawn", { status: "withdrawn", intake: "fenced" }, 1_000, 5_000],
    ["suspended", { intake: "suspended" }, 1_000, 5_000],
    ["suspended", { intake: "suspended", status: "scheduled", atMs: 0, seq: 0 }, 1, 999],
    ["closed", {}, 1, 100_000], // The instant of the close is already too late.
    ["too_high", {}, RULES.maxAmountMinor + 1, 5_000],
    ["too_high", { rules: EXACT }, MAX_MINOR - 199, 5_000], // The next minimum would be no exact number.
    ["jump_too_large", {}, 1_000_001, 5_000],
    ["jump_too_large", { leadingBid: leading }, 1_550_001, 5_000],
    ["too_low", {}, 999, 5_000],
    ["too_low", { leadingBid: leading }, 1_549, 5_000],
  ];
  for (const [rejection, changes, amountMinor, nowMs] of cases) {
    const asked = lot(changes);
    const decision = decide(asked, bid(amountMinor), nowMs);
    const least = changes.leadingBid ? 1_550 : 1_000;
    const most = asked.rules.maxJump === null ? MAX_MINOR : 1_000 * least;
    expect(decision).toEqual({
      accepted: false,
      rejection,
      minimumMinor: least,
      maximumMinor: most,
    });
  }
});

test("a bid may be maxJump times the minimum, or the first step where the lot starts at less", () => {
  const accepts = (amountMinor: number, changes: Partial<Lot>) =>
    decide(lot(changes), bid(amountMinor), 5_000).accepted;
  expect([accepts(1_000_000, {}), accepts(1_000_001, {})]).toEqual([true, false]);
  const free = { startMinor: 0 }; // The first step is 50.
  expect([accepts(1, free), accepts(50_000, free), accepts(50_001, free)]).toEqual([
    true,
    true,
    false,
  ]);
  const unlimited = { rules: { ...RULES, maxJump: null } };
  expect(accepts(RULES.maxAmountMinor, unlimited)).toBe(true);
});

test("whatever was bid, the minimum is accepted next: no bid ends a lot", () => {
  fc.assert(
    fc.property(anyTerms, fc.array(fc.double({ min: 0, max: 1, noNaN: true })), (terms, offers) => {
      let state = lot(terms);
      // The largest that may be bid, again and again, and other amounts between.
      for (const share of [1, 1, ...offers, 1, 1, 1]) {
        const least = minimumBidMinor(state, state.leadingBid);
        const most = maximumBidMinor(state.rules, least);
        expect(most).toBeGreaterThanOrEqual(least);
        const next = decide(state, bid(least), 5_000);
        expect(next).toMatchObject({ accepted: true });
        const other = decide(state, bid(Math.floor(least + share * (most - least))), 5_000);
        expect(other).toMatchObject({ accepted: true });
        expect(decide(state, bid(most + 1), 5_000)).toMatchObject({ accepted: false });
        if (other.accepted) state = other.lot;
      }
    }),
  );
});

test("time never runs backwards for a lot, whatever the clock says", () => {
  const decision = decide(lot({ atMs: 50_000 }), bid(1_000), 2_000);
  expect(decision).toMatchObject({ accepted: true, events: [{ atMs: 50_000 }] });
});

test("the step is that of the band in which the leading amount lies, and a first bid is never 0", () => {
  const steps = [0, 1_999, 2_000, 1e12].map((amount) => stepMinorAt(RULES.increments, amount));
  expect(steps).toEqual([50, 50, 200, 200]);
  expect(minimumBidMinor(lot({ startMinor: 0 }), null)).toBe(1);
});

test("whatever is bid, amounts rise by a step, seq has no gap, and the lot is its events applied", () => {
  const offers = fc.array(
    fc.record({
      over: fc.integer({ min: -300, max: 900 }),
      waitMs: fc.integer({ min: -50, max: 9_000 }),
    }),
    { maxLength: 40 },
  );
  fc.assert(
    fc.property(offers, (all) => {
      let state = lot({ rules: sniping, status: "scheduled", seq: 0, atMs: 0 });
      let nowMs = 900;
      for (const { over, waitMs } of all) {
        nowMs += waitMs;
        const least = minimumBidMinor(state, state.leadingBid);
        const decision = decide(state, bid(Math.max(1, least + over)), nowMs);
        if (!decision.accepted) continue;
        expect(decision.events.map(({ seq }) => seq)).toEqual(
          decision.events.map((_, i) => state.seq + 1 + i),
        );
        const accepted = decision.events.find(({ type }) => type === "bid_accepted") as BidAccepted;
        expect(accepted.amountMinor).toBeGreaterThanOrEqual(least);
        expect(accepted.atMs).toBeLessThan(state.closesAtMs!);
        expect(decision.lot).toEqual(decision.events.reduce(apply, state));
        expect(decision.lot.closesAtMs).toBeGreaterThanOrEqual(state.closesAtMs!);
        state = decision.lot;
      }
    }),
  );
});
