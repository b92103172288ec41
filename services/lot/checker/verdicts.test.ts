import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { LISTED_MAX, VERDICTS, Verdicts } from "./verdicts.ts";

test("README.md lists every verdict as it is, in this order", () => {
  const readme = readFileSync(new URL("./README.md", import.meta.url), "utf8");
  const rows = [...readme.matchAll(/^\| `(\w+)` +\| (.+?) +\|$/gm)].map(([, name, says]) => [
    name,
    says,
  ]);
  expect(rows).toEqual(Object.entries(VERDICTS));
});

test("of one name a hundred are listed and all are counted", () => {
  const verdicts = new Verdicts();
  for (let i = 0; i < 1_000; i++) verdicts.add("lost", "lot-1", String(i), []);
  expect([verdicts.listed.length, verdicts.counts]).toEqual([LISTED_MAX, { lost: 1_000 }]);
});
