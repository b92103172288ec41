/** Pure test files share a process: one that left fake timers would stop the tests of every file after it. */
import { afterAll, expect, vi } from "vitest";

const shared = globalThis as { realSetTimeout?: typeof setTimeout };
shared.realSetTimeout ??= setTimeout;

afterAll(() => {
  vi.restoreAllMocks();
  expect(setTimeout, "this file left fake timers").toBe(shared.realSetTimeout);
});
