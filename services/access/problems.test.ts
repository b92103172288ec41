import { expect, test } from "vitest";
import type { Placement, UnavailableReason } from "../store/place-bids.ts";
import { problem, PROBLEMS, problemOf, retryAfterSeconds } from "./problems.ts";

type ProblemError = Exclude<Placement, { outcome: "accepted" }>;
const judged = { minimumMinor: 1_050, maximumMinor: 2_100, epoch: 2, seq: 7 };

test("every fate of a bid but acceptance has its code and status", () => {
  const cases: [ProblemError, code: string, status: number][] = [
    [{ outcome: "too_low", ...judged }, "too_low", 409],
    [{ outcome: "too_high", ...judged }, "invalid", 400],
    [{ outcome: "jump_too_large", ...judged }, "jump_too_large", 409],
    [{ outcome: "not_open", ...judged }, "not_open", 409],
    [{ outcome: "closed", ...judged }, "closed", 409],
    [{ outcome: "withdrawn", ...judged }, "withdrawn", 409],
    [{ outcome: "suspended", ...judged }, "suspended", 409],
    [{ outcome: "unknown_lot" }, "unknown_lot", 404],
    [{ outcome: "key_reused" }, "key_reused", 409],
    [{ outcome: "unknown" }, "unknown", 503],
  ];
  for (const [placement, code, status] of cases) {
    expect(problemOf(placement)).toMatchObject({
      code,
      status,
      type: `https://gavel.dev/problems/${code}`,
    });
  }
});

test("a bid that is too low or too far above learns what may be bid, and as of which event", () => {
  const { minimumMinor, maximumMinor, ...at } = judged;
  expect(problemOf({ outcome: "too_low", ...judged })).toMatchObject({ minimumMinor, ...at });
  expect(problemOf({ outcome: "jump_too_large", ...judged })).toMatchObject({
    maximumMinor,
    ...at,
  });
});

test("a refusal says why nothing was decided, and never that a bid was rejected", () => {
  const whys: UnavailableReason[] = ["store", "busy", "undefined", "expired", "regressed", "full"];
  const details = whys.map((why) => problemOf({ outcome: "unavailable", why }).detail);
  expect(new Set(details).size).toBe(whys.length);
  for (const detail of details) {
    expect(detail).toContain("Nothing was decided");
    expect(detail).not.toContain("reject");
  }
  expect(problemOf({ outcome: "unknown" }).detail).toContain("same Idempotency-Key");
});

test("what passes by itself, and only that, says when to come back", () => {
  for (const code of Object.keys(PROBLEMS) as (keyof typeof PROBLEMS)[]) {
    const seconds = retryAfterSeconds(code);
    if (problem(code, "").status === 503) expect(seconds).toBeOneOf([1, 2, 3]);
    else expect(seconds).toBeNull();
  }
});
