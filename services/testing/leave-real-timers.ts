/** Pure test files share a process: a file that leaves fake timers behind would block the tests of every later file. */
import { afterAll, expect, vi } from "vitest";

const shared = globalThis as { realSetTimeout?: typeof setTimeout };
shared.realSetTimeout ??= setTimeout;

afterAll(() => {
  vi.restoreAllMocks();
  expect(setTimeout, "this file left fake timers").toBe(shared.realSetTimeout);
});
