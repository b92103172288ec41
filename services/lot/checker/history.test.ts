import { expect, test } from "vitest";
import { decodeHistory, decodeRecord, encodeRecord } from "./history.ts";
import { randomHistory, seededRandom } from "./random-history.ts";

test("every record is read back as it was written", () => {
  const { history } = randomHistory(seededRandom(1), {
    lots: 2,
    steps: 300,
    viewers: 2,
    gapMs: 5,
    delayMs: 20,
    lastsMs: 900,
    finish: true,
  });
  const lines = history.map(encodeRecord);
  expect([...decodeHistory([...lines, "", " "])]).toEqual(history);
});

const BID = {
  op: "bid",
  process: 0,
  lotId: "a",
  bidderId: "b",
  key: "k",
  amountMinor: 1,
  invMs: 2,
};

test.each([
  ["null", /must be an object/],
  ["[]", /must be an object/],
  ['{"op":"toString"}', /unknown op "toString"/],
  [JSON.stringify({ ...BID, outcome: "won" }), /bid: unknown outcome "won"/],
  [JSON.stringify({ ...BID, outcome: "refused" }), /bid: bad retMs/],
  [JSON.stringify({ ...BID, outcome: "refused", retMs: 1 }), /retMs is before invMs/],
  [JSON.stringify({ ...BID, outcome: "accepted", retMs: 3 }), /bid: bad bidId/],
  [JSON.stringify({ ...BID, outcome: "rejected", retMs: 3, code: "sold" }), /bid: bad code/],
  [
    JSON.stringify({ ...BID, amountMinor: 1.5, outcome: "unknown", retMs: null }),
    /bad amountMinor/,
  ],
  ['{"op":"frame","viewer":0,"connection":1,"atMs":1,"frame":{}}', /frame: bad frame/],
  ['{"op":"connected","viewer":0,"connection":1,"since":{"a":1}}', /connected: bad since/],
])("%s is refused, and the error says why", (line, why) => {
  expect(() => decodeRecord(line)).toThrow(why);
});

test("an error names its line", () => {
  const good = JSON.stringify({ ...BID, outcome: "unknown", retMs: null });
  expect(() => [...decodeHistory([good, "", "{"])]).toThrow(/^line 3: .*JSON/);
});
