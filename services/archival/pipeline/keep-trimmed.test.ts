import { Registry } from "prom-client";
import { expect, test } from "vitest";
import type { Bus } from "../../bus/connect.ts";
import type { Logger } from "../../runtime/log.ts";
import type { Store } from "../../store/connect.ts";
import { keysOf } from "../../store/keys.ts";
import { createMetrics } from "../metrics.ts";
import { Refusals } from "../refusals.ts";
import { keepTrimmed } from "./keep-trimmed.ts";
import { Progress } from "./progress.ts";
import { Retention } from "./retention.ts";

test("a refused trim is named once, until the store serves it", async () => {
  const lines: string[] = [];
  const write = (_: object, message: string) => void lines.push(message);
  const log = { error: write, warn: write, info: write } as unknown as Logger;
  const refusals = new Refusals(createMetrics(new Registry()).storeRefuses, log);
  const stopping = new AbortController();
  const named: (string | null)[] = [];
  let attempts = 0;
  const store = {
    time: async () => ["1", "0"],
    trimOutbox: async () => {
      named.push(refusals.text);
      if (++attempts === 4) stopping.abort();
      else throw Object.assign(new Error("NOPERM no right to XTRIM"), { name: "ReplyError" });
      return [0];
    },
  } as unknown as Store;
  const trimming = { auctionUid: "u", store, keys: keysOf("u"), bus: {} as Bus, refusals, log };
  await keepTrimmed(trimming, new Progress("0-0"), new Retention(0, 1), stopping.signal);

  const why = expect.stringContaining("redis refuses: NOPERM no right to XTRIM");
  expect(named).toEqual([null, why, why, why]);
  expect(lines).toEqual(["store refuses", "trimming failed: retrying", "store serves again"]);
  expect(refusals.text).toBeNull();
});
