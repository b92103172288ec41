import { expect, test, vi } from "vitest";
import type { Bus } from "../../bus/connect.ts";
import { StreamOutage } from "./stream-outage.ts";

const LIMIT_MS = 30_000;
const busWith = (getAccountInfo: () => Promise<object>) =>
  ({ manager: { getAccountInfo } }) as unknown as Bus;
const answering = busWith(async () => ({}));
const silent = busWith(async () => Promise.reject(new Error("no answer")));

test("only an outage that lasts, while JetStream answers, and nothing else happens, is one of the stream", async () => {
  vi.useFakeTimers({ toFake: ["performance"] });
  try {
    const outage = new StreamOutage(LIMIT_MS);
    const failedLater = (bus = answering) => {
      vi.advanceTimersByTime(LIMIT_MS);
      return outage.failed(bus);
    };
    expect(await outage.failed(answering)).toBe(false);
    expect(await failedLater()).toBe(true);

    outage.ended();
    expect(await failedLater()).toBe(false);
    expect(await failedLater(silent)).toBe(false);
    expect(await failedLater()).toBe(false);
    expect(await failedLater()).toBe(true);
  } finally {
    vi.useRealTimers();
  }
});
