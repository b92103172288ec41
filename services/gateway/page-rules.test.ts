/** The page's copies of rules behave as the originals. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { mayReconnect, openMaxMs, waitMs } from "../broadcast/reconnect-policy.ts";
import { CLOSE_CODES } from "../broadcast/protocol.ts";
import { decide } from "../lot/decide.ts";
import { apply, due } from "../lot/lifecycle.ts";
import type { LotEvent } from "../lot/events.ts";
import { MAX_MINOR } from "../lot/money.ts";
import { publicEventOf, viewOf } from "../lot/view.ts";
import { bid, lot as newLot, RULES } from "../testing/auction.ts";

const load = (name: string) => import(new URL(`./page/${name}`, import.meta.url).href);
const money = await load("money.js");
const { applyEvent } = await load("lot.js");
const stream = await load("stream.js");

test("the page reconnects as PROTOCOL.md says", () => {
  const reasons = fc.oneof(
    fc.string(),
    fc.nat().map((retryAfterMs) => JSON.stringify({ retryAfterMs })),
  );
  const codes = fc.constantFrom(1001, 1006, 1012, 1013, 4429);
  fc.assert(
    fc.property(fc.nat({ max: 40 }), codes, reasons, (tries, code, reason) => {
      const [ours, asked] = [stream, { waitMs, openMaxMs }].map((of) => [
        of.waitMs(tries + 1, code, reason, () => 0.7),
        of.openMaxMs(tries),
      ]);
      expect(ours).toEqual(asked);
    }),
  );
  const all = [1000, 1001, 1006, ...Object.values(CLOSE_CODES).map(({ code }) => code)];
  expect(all.map(stream.mayReconnect)).toEqual(all.map(mayReconnect));
});

test("an amount is shown to the last digit, beyond what a double divided by 100 could", () => {
  const print = money.currencyPrinter({ currency: "EUR", minorUnitDigits: 2 }, "en-IE");
  expect(print(MAX_MINOR)).toBe("€90,071,992,547,409.91");
  expect(print(5)).toBe("€0.05");
});

test("a lot on the page goes through the same events to the same view", () => {
  let lot = newLot({
    status: "scheduled",
    seq: 0,
    reserveMinor: 1_500,
    rules: { ...RULES, antiSniping: { windowMs: 50_000, extensionMs: 60_000, maxExtensions: 2 } },
  });
  let view = viewOf(lot);
  const happen = (events: readonly LotEvent[]) => {
    for (const event of events) {
      lot = apply(lot, event);
      const before = view;
      view = applyEvent(view, publicEventOf(event));
      expect(view).toEqual(viewOf(lot));
      expect(applyEvent(view, publicEventOf(event))).toBe(view); // once more changes nothing
      expect(applyEvent({ ...before, seq: before.seq - 1 }, publicEventOf(event))).toBeNull(); // a gap
    }
  };
  for (const [amountMinor, atMs] of [
    [1_000, 2_000],
    [1_400, 60_000],
    [1_600, 99_000],
  ] as const) {
    const decision = decide(lot, bid(amountMinor), atMs);
    if (!decision.accepted) throw new Error(decision.rejection);
    happen(decision.events);
  }
  happen(due(lot, 1_000_000));
  expect(view).toMatchObject({ status: "closed", outcome: "sold", bidCount: 3, extensions: 2 });
});
