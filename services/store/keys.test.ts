import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { KEY_WINDOW_MS } from "../lot/checker/checker.ts";
import { KEYS_WINDOW_MS, LOT_STREAM_BYTES } from "./keys.ts";
import { CLAIMS_MAX_BYTES, keptBytesOf } from "./memory-budget.ts";

/** A number that a script calls by this name. */
function inScript(file: string, name: string): number {
  const text = readFileSync(new URL(file, import.meta.url), "utf8");
  const [, factors] = new RegExp(`^local ${name} = ([\\d *]+)`, "m").exec(text)!;
  return factors!.split("*").reduce((result, factor) => result * Number(factor), 1);
}

test("what TypeScript and Lua both must know is the same in both", () => {
  expect(inScript("place-bids.lua", "KEYS_WINDOW_MS")).toBe(KEYS_WINDOW_MS);
  expect(inScript("lot-functions.lua", "LOT_STREAM_BYTES")).toBe(LOT_STREAM_BYTES);
  expect(inScript("place-bids.lua", "KEY_OVERHEAD_BYTES")).toBe(keptBytesOf(["", ""]));
  expect(inScript("claim-events.lua", "CLAIMS_MAX_BYTES")).toBe(CLAIMS_MAX_BYTES);
});

test("the checker lets a key be forgotten no sooner than the store does", () => {
  expect(KEY_WINDOW_MS).toBe(KEYS_WINDOW_MS);
});
