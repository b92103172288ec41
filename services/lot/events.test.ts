import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeEvent, decodeEvents, encodeEvent, encodeEvents, type LotEvent } from "./events.ts";

const positive = fc.maxSafeNat().map((n) => Math.max(1, n));
const common = {
  lotId: fc.constant("lot-1"),
  epoch: positive,
  seq: positive,
  atMs: fc.maxSafeNat(),
};
const text = fc.string({ minLength: 1, unit: "binary" });
const events: fc.Arbitrary<LotEvent> = fc.oneof(
  fc.record({
    type: fc.constant("lot_opened" as const),
    ...common,
    opensAtMs: fc.maxSafeNat(),
    closesAtMs: fc.maxSafeNat(),
    minimumMinor: positive,
  }),
  fc.record({
    type: fc.constant("bid_accepted" as const),
    ...common,
    bidId: fc.uuid(),
    bidderId: text,
    amountMinor: positive,
    minimumMinor: positive,
    closesAtMs: fc.maxSafeNat(),
    reserveMet: fc.constantFrom(null, true, false),
    key: text,
  }),
  fc.record({
    type: fc.constant("lot_extended" as const),
    ...common,
    closesAtMs: fc.maxSafeNat(),
    extensions: positive,
  }),
  fc.record({
    type: fc.constant("lot_closed" as const),
    ...common,
    outcome: fc.constantFrom("sold" as const, "no_bids" as const, "reserve_not_met" as const),
    bidId: fc.option(fc.uuid()),
    bidderId: fc.option(text),
    amountMinor: fc.option(positive),
  }),
  fc.record({ type: fc.constant("lot_withdrawn" as const), ...common }),
);

test("every event is read back as it was written, alone and among others", () => {
  fc.assert(
    fc.property(fc.array(events, { minLength: 1, maxLength: 5 }), (all) => {
      expect(decodeEvents(encodeEvents(all))).toEqual(all);
      for (const event of all)
        expect(encodeEvent(decodeEvent(encodeEvent(event)))).toBe(encodeEvent(event));
    }),
  );
});

test("the text of an event does not depend on the order of its properties", () => {
  const event = { seq: 2, atMs: 3, type: "lot_withdrawn", epoch: 1, lotId: "lot-1" } as const;
  expect(encodeEvent(event)).toBe(
    '{"type":"lot_withdrawn","lotId":"lot-1","epoch":1,"seq":2,"atMs":3}',
  );
});

test("what is not an event is refused, and the error says why", () => {
  const opened = '{"type":"lot_opened","lotId":"lot-1","epoch":1,"seq":1,"atMs":3';
  const cases: [text: string, why: RegExp][] = [
    ["", /JSON/],
    ["null", /must be an object/],
    ['{"type":"sold"}', /unknown event type "sold"/],
    ['{"type":"toString"}', /unknown event type/],
    [opened + "}", /lot_opened: bad opensAtMs/],
    ['{"type":"lot_withdrawn","lotId":"lot-1","epoch":1,"seq":1.5,"atMs":3}', /bad seq/],
    [
      '{"type":"lot_withdrawn","lotId":"lot-1","epoch":1,"seq":9007199254740993,"atMs":3}',
      /bad seq/,
    ],
    ['{"type":"lot_withdrawn","lotId":"","epoch":1,"seq":1,"atMs":3}', /bad lotId/],
  ];
  for (const [eventText, why] of cases) expect(() => decodeEvent(eventText)).toThrow(why);
});
