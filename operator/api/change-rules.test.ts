import { expect, test } from "vitest";
import type { AuctionResource } from "./auction-resource.ts";
import { PHASES } from "./auction-status.ts";
import { CHANGE_CASES } from "./change-cases.ts";
import { CHANGE_RULES, refusedChanges } from "./change-rules.ts";
import { validateAuction } from "./validate-auction.ts";

function valid(auction: unknown): AuctionResource {
  const validation = validateAuction(auction);
  if (!validation.ok) throw new Error(JSON.stringify(validation.problems));
  return validation.auction;
}

for (const { name, before, now, refusedIn, path, message } of CHANGE_CASES) {
  const when = refusedIn.length === 0 ? "in no phase" : `in ${refusedIn.join(", ")}`;
  test(`refusedChanges() refuses ${name} ${when}`, () => {
    for (const phase of PHASES) {
      const problems = refusedChanges(valid(now), valid(before), phase);
      const expected = { path, message: expect.stringMatching(message) };
      if (refusedIn.includes(phase)) expect(problems, phase).toContainEqual(expected);
      else expect(problems, phase).toEqual([]);
    }
  });
}

test("each rule refuses some change", () => {
  const refused = CHANGE_CASES.flatMap(({ now, before }) =>
    refusedChanges(valid(now), valid(before), "Closed"),
  );
  const silent = CHANGE_RULES.filter(
    (rule) => !refused.some(({ path, message }) => path === rule.path && message === rule.message),
  );
  expect(silent.map(({ message }) => message)).toEqual([]);
});
