import { expect, test } from "vitest";
import { parseAuctionFile, readAuctionFile } from "./auction-file.ts";

const AUCTION = `
apiVersion: gavel.dev/v1alpha1
kind: Auction
metadata: { name: evening }
spec:
  currency: USD
  schedule: { lasts: 30m }
  lots:
    - { id: picasso, startMinor: 1000, reserveFrom: { name: reserves, key: picasso } }
`;

const secret = (body: string) => `
---
apiVersion: v1
kind: Secret
metadata: { name: reserves }
${body}
`;

function problemsOf(text: string): string[] {
  const file = parseAuctionFile(text);
  return file.ok
    ? []
    : file.problems.map(({ line, path, message }) => `${line} ${path}: ${message}`);
}

test.each([
  ["stringData", "stringData: { picasso: '25000' }"],
  ["stringData as a number", "stringData: { picasso: 25000 }"],
  ["data", `data: { picasso: ${Buffer.from("25000\n").toString("base64")} }`],
])("a reserve is read from a Secret's %s in the same file", (_, body) => {
  const file = parseAuctionFile(AUCTION + secret(body));
  expect(file).toMatchObject({ ok: true, reserves: new Map([["picasso", 25_000]]) });
  // Secrets may stand first, too.
  expect(parseAuctionFile(`${secret(body)}---${AUCTION}`).ok).toBe(true);
});

test.each([
  ["no Secret", "", /this file has no Secret reserves/],
  ["no such key", "stringData: { braque: '1' }", /Secret reserves has no key picasso/],
  ["no number", "stringData: { picasso: 'a lot' }", /is not a whole number/],
  ["a fraction", "stringData: { picasso: '25000.50' }", /is not a whole number/],
  ["below the start", "stringData: { picasso: '999' }", /below the lot's startMinor/],
])("a reserve that cannot be had is a problem of its lot: %s", (_, body, message) => {
  const problems = problemsOf(AUCTION + (body === "" ? "" : secret(body)));
  expect(problems).toEqual([expect.stringMatching(/^9 spec\.lots\[0\]\.reserveFrom: /)]);
  expect(problems[0]).toMatch(message);
  expect(problems[0]).not.toContain("a lot of money");
});

test("invalid YAML is reported with its position", () => {
  expect(problemsOf("kind: Auction\nspec: [1, 2\nmetadata: {}\n")[0]).toMatch(/^\d+ column \d+: /);
  expect(problemsOf("kind: Auction\nkind: Auction\n")[0]).toMatch(/unique/);
});

test.each([
  ["an empty file", ""],
  ["only comments", "# nothing\n"],
  ["only a Secret", secret("data: {}")],
  ["two Auctions", `${AUCTION}---${AUCTION}`],
  ["text", "hello"],
  ["a list", "- 1\n- 2\n"],
  [
    "aliases without end",
    `a: &a [x,x,x,x,x,x,x,x,x]\n${"bcdefghi".replace(/./g, (c, i: number) => `${c}: &${c} [${Array(9).fill(`*${"abcdefgh"[i]}`).join(",")}]\n`)}`,
  ],
])("%s is refused", (_, text) => {
  expect(problemsOf(text).length).toBeGreaterThan(0);
});

test("a missing file is reported as a problem", () => {
  expect(readAuctionFile("/nowhere/auction.yaml")).toMatchObject({
    ok: false,
    problems: [{ message: expect.stringContaining("cannot be read") }],
  });
});

test("the samples are valid", async () => {
  const { readdirSync } = await import("node:fs");
  const folder = new URL("../../manifests/samples/", import.meta.url).pathname;
  for (const name of readdirSync(folder)) {
    expect(readAuctionFile(folder + name)).toMatchObject({ ok: true });
  }
});
