import { getEventListeners } from "node:events";
import { expect, test } from "vitest";
import { Progress } from "./progress.ts";

test("a relay that waited for room many times leaves no listener behind, and an abort ends its wait", async () => {
  const abort = new AbortController();
  const { signal } = abort;
  const progress = new Progress("0-0");
  for (let i = 1; i <= 3; i++) {
    progress.sending(`${i}-0`, 10);
    const waits = progress.waitForRoom(10, signal);
    progress.archived(`${i}-0`);
    await waits;
  }
  expect(getEventListeners(signal, "abort")).toEqual([]);
  progress.sending("4-0", 10);
  const waits = progress.waitForRoom(10, signal);
  abort.abort();
  await waits;
});
