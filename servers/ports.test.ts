import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { freePort } from "./ports.ts";

test("no two processes get the same port", async () => {
  const mine = await Promise.all(Array.from({ length: 500 }, () => freePort()));
  const module = new URL("ports.ts", import.meta.url).href;
  const code = `const { freePort } = await import("${module}");
    console.log(JSON.stringify(await Promise.all(Array.from({ length: 500 }, () => freePort()))));`;
  const output = execFileSync(process.execPath, ["--input-type=module", "-e", code]);
  const theirs = JSON.parse(output.toString()) as number[];
  expect(new Set(mine.concat(theirs)).size).toBe(1_000);
});
