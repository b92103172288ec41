/** The checker and an exhaustive search must say the same of every tiny history, right or wrong. */
import { expect, test } from "vitest";
import { checkHistory } from "./checker.ts";
import { breakHistory, type Broken } from "./break-history.ts";
import { canHaveHappened } from "./exhaustive-search.ts";
import { randomHistory, seededRandom, type Shape } from "./random-history.ts";
import type { VerdictName } from "./verdicts.ts";

const HISTORIES = 100_000;
const SEED = Number(process.env["SEED"] ?? 1);

/** At most 6 operations, so overlapping and so near to opening and close that all of it matters. */
const TINY: Omit<Shape, "steps" | "lastsMs"> = {
  lots: 1,
  viewers: 0,
  gapMs: 20,
  delayMs: 25,
  finish: false,
  weights: { pass: 8, withdraw: 3, unknown: 20, retry: 20 },
};

function tinyHistory(seed: number): { sample: ReturnType<typeof randomHistory>; broken: Broken } {
  const random = seededRandom(seed);
  const lastsMs = random() < 0.5 ? 30 : 90;
  const sample = randomHistory(random, { ...TINY, lastsMs, steps: 1 + Math.floor(random() * 6) });
  let broken: Broken = sample;
  const breaks = Math.floor(random() * 3);
  for (let time = 0; time < breaks; time++) broken = breakHistory(broken, random);
  return { sample, broken };
}

test("100,000 tiny histories, right and wrong: the checker says what an exhaustive search says", () => {
  const tally = { right: 0, wrong: 0 };
  const found = new Map<VerdictName, number>();
  const disagreeing: number[] = [];
  for (let seed = SEED; seed < SEED + HISTORIES; seed++) {
    const { sample, broken } = tinyHistory(seed);
    const { counts } = checkHistory(broken.history, broken.log, { terms: sample.terms });
    const names = Object.keys(counts.verdicts) as VerdictName[];
    const isRight = canHaveHappened(sample.lots[0]!, broken.history, broken.log);
    if (isRight !== (names.length === 0)) disagreeing.push(seed);
    tally[isRight ? "right" : "wrong"]++;
    for (const name of names) found.set(name, (found.get(name) ?? 0) + 1);
  }
  const names = [...found].map(([name, count]) => `${name} ${count}`).join(", ");
  console.log(
    `seeds ${SEED} to ${SEED + HISTORIES - 1}: ${tally.right} right, ${tally.wrong} wrong (${names})`,
  );
  expect(disagreeing).toEqual([]);
  expect(Math.min(tally.right, tally.wrong)).toBeGreaterThan(HISTORIES / 10);
  for (const name of [
    "reordered",
    "stale",
    "future",
    "key_forgotten",
    "wrong_rejection",
  ] as const) {
    expect([name, found.get(name)! > 50]).toEqual([name, true]);
  }
});
