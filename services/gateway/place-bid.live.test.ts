import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { eventsSince } from "../store/history.ts";
import { defineLots } from "../store/define-lots.ts";
import { storeClockMs } from "../store/connect.ts";
import {
  defineAndOpen,
  lotDefinition,
  MAX_PENDING_BYTES,
  openStore,
  RULES,
} from "../testing/auction.ts";
import { startTestGateway, tokenOf } from "../testing/gateway.ts";
import { startRedis } from "../testing/servers.ts";
import { until } from "../testing/until.ts";

const redis = await startRedis();
const store = await openStore(redis.url);
const names = [
  "jump",
  "answers",
  "identity",
  "retry",
  "reused",
  "together",
  "rules",
  "gone",
  "typed",
];
const { definition, keys } = await defineAndOpen(store, {
  lots: names.map((lotId) => lotDefinition(lotId)),
});
const gateway = await startTestGateway(redis.url, definition.uid);
const second = await startTestGateway(redis.url, definition.uid);
const optimistic = await startTestGateway(redis.url, definition.uid, {
  BID_STRATEGY: "optimistic",
});

const acceptedOn = async (lotId: string) => {
  const events = await eventsSince(store, keys, lotId, { epoch: 1, seq: 1 }, 1_000);
  return events!.flatMap((event) => (event.type === "bid_accepted" ? [event] : []));
};

test("an accepted bid is answered with its place in the order and what comes next", async () => {
  const { status, body, headers } = await gateway.bid("answers", 1_000);
  expect(status).toBe(201);
  expect(headers.get("content-type")).toBe("application/json; charset=utf-8");
  const [event] = await acceptedOn("answers");
  const { bidId, atMs, closesAtMs } = event!;
  expect(body).toEqual({
    bidId,
    lotId: "answers",
    amountMinor: 1_000,
    epoch: 1,
    seq: 2,
    placedAtMs: atMs,
    closesAtMs,
    minimumMinor: 1_050,
  });
});

test("a bid that is too low learns the minimum, and as of which event", async () => {
  const { status, body, headers } = await gateway.bid("answers", 1_049);
  expect(status).toBe(409);
  expect(headers.get("content-type")).toBe("application/problem+json; charset=utf-8");
  expect(body).toEqual({
    type: "https://gavel.dev/problems/too_low",
    title: "The bid is below the minimum",
    status: 409,
    detail: expect.stringContaining("1050"),
    code: "too_low",
    minimumMinor: 1_050,
    epoch: 1,
    seq: 2,
  });
});

test("the bidder is the token's subject, whatever characters it has", async () => {
  const bidderId = `zoë "x" {a:b}:* \u{1f3a8} ${"é".repeat(90)}`;
  const answer = await gateway.bid("identity", 1_000, { token: await tokenOf(bidderId) });
  expect(answer.status).toBe(201);
  expect((await acceptedOn("identity"))[0]!.bidderId).toBe(bidderId);
  const { body } = await gateway.get("/v1/lots/identity");
  expect(body["leadingBid"].bidderId).toBe(bidderId);
});

test("a bid sent again gets the first answer to the byte, from any gateway and strategy", async () => {
  const first = await gateway.bid("retry", 1_000, { key: "again" });
  expect(first.status).toBe(201);
  await gateway.bid("retry", 1_500);
  for (const each of [gateway, second, optimistic]) {
    const again = await each.bid("retry", 1_000, { key: "again" });
    expect([again.status, again.text]).toEqual([201, first.text]);
  }
  expect(await acceptedOn("retry")).toHaveLength(2);
});

test("a key is for one bid of one bidder on one lot", async () => {
  expect((await gateway.bid("reused", 1_000, { key: "mine" })).status).toBe(201);
  const reused = await second.bid("reused", 2_000, { key: "mine" });
  expect([reused.status, reused.body["code"]]).toEqual([409, "key_reused"]);

  const token = await tokenOf("bea");
  expect((await gateway.bid("reused", 2_000, { key: "mine", token })).status).toBe(201);
  expect((await gateway.bid("together", 1_000, { key: "mine" })).status).toBe(201);
});

test("a rejected key may be used again: only acceptances are kept", async () => {
  expect((await gateway.bid("rules", 1, { key: "raise" })).body["code"]).toBe("too_low");
  expect((await gateway.bid("rules", 1_000, { key: "raise" })).status).toBe(201);
});

test("a hundred at once with one key are one bid and one answer", async () => {
  const all = await Promise.all(
    Array.from({ length: 100 }, (_, i) =>
      [gateway, second, optimistic][i % 3]!.bid("together", 5_000, { key: "hundred" }),
    ),
  );
  expect(new Set(all.map(({ status, text }) => `${status} ${text}`)).size).toBe(1);
  expect(all[0]!.status).toBe(201);
  expect(await acceptedOn("together")).toHaveLength(2);
});

test("numbers are what they denote: 1e3 and 1000.0 are 1000, and of equal names the last counts", async () => {
  const token = await tokenOf("ada");
  const send = async (body: string) => {
    const answer = await fetch(`${gateway.url}/v1/lots/typed/bids`, {
      method: "POST",
      headers: {
        "content-type": "application/json; charset=utf-8",
        authorization: `bearer ${token}`,
        "idempotency-key": body,
      },
      body,
    });
    return ((await answer.json()) as { amountMinor: number }).amountMinor;
  };
  expect(await send('{"amountMinor":1e3}')).toBe(1_000);
  expect(await send('{"amountMinor":2000.0}')).toBe(2_000);
  expect(await send('{"amountMinor":1,"amountMinor":3000}')).toBe(3_000);
});

test("an amount above what the auction allows is the field's fault, and 10^12 is exact", async () => {
  const high = await gateway.bid("answers", RULES.maxAmountMinor + 1);
  expect([high.status, high.body["code"], high.body["field"]]).toEqual([
    400,
    "invalid",
    "amountMinor",
  ]);
  // Three bids: none may be above maxJump times the minimum.
  for (const amountMinor of [900_000_000, RULES.maxAmountMinor]) {
    await gateway.bid("answers", amountMinor / 1_000);
    const { body } = await gateway.bid("answers", amountMinor);
    expect([body["amountMinor"], body["minimumMinor"]]).toEqual([amountMinor, amountMinor + 200]);
  }
  const { body } = await gateway.bid("answers", RULES.maxAmountMinor + 200);
  expect(body["amountMinor"]).toBe(1_000_000_000_200); // No bid ends a lot.
});

test("a bid far above the minimum is refused and learns the most that it may be", async () => {
  const { status, body } = await gateway.bid("jump", 1_000_001);
  expect(status).toBe(409);
  expect(body).toMatchObject({ code: "jump_too_large", maximumMinor: 1_000_000, epoch: 1 });
  expect((await gateway.bid("jump", 1_000_000)).status).toBe(201);
});

test("a withdrawn lot takes no bids", async () => {
  const lots = definition.lots.map((lot) => ({ ...lot, withdrawn: lot.lotId === "gone" }));
  await defineLots(store, keys, { ...definition, lots }, { maxPendingBytes: MAX_PENDING_BYTES });
  const { status, body } = await gateway.bid("gone", 1_000);
  expect([status, body["code"]]).toEqual([409, "withdrawn"]);
});

test("the store's clock decides: too early, in time, too late", async () => {
  const uid = randomUUID();
  const its = await startTestGateway(redis.url, uid); // first: the time before the opening is for one bid
  const nowMs = await storeClockMs(store);
  const lots = [lotDefinition("brief", { lastsMs: 2_500 })];
  await defineAndOpen(store, { uid, opensAtMs: nowMs + 2_500, lots });
  const early = await until("the gateway knows the auction", async () => {
    const answer = await its.bid("brief", 1_000);
    return answer.status === 503 ? null : answer;
  });
  expect([early.status, early.body["code"]]).toEqual([409, "not_open"]);
  const accepted = await until("the lot opens", async () => {
    const answer = await its.bid("brief", 1_000);
    return answer.status === 201 ? answer : null;
  });
  expect(accepted.body["placedAtMs"]).toBeGreaterThanOrEqual(nowMs + 2_500);
  const late = await until("the lot closes", async () => {
    const answer = await its.bid("brief", 1);
    return answer.body["code"] === "too_low" ? null : answer;
  });
  expect([late.status, late.body["code"]]).toEqual([409, "closed"]);
  expect(await storeClockMs(store)).toBeGreaterThanOrEqual(nowMs + 5_000);
});

test("a gateway whose auction is not set up yet refuses bids for now", async () => {
  const early = await startTestGateway(redis.url, "not-defined-yet");
  const { status, body, headers } = await early.bid("answers", 1_000);
  expect([status, body["code"]]).toEqual([503, "unavailable"]);
  expect(headers.get("retry-after")).toMatch(/^[1-9]$/);
  expect((await early.get("/v1/auction")).status).toBe(503);
});
