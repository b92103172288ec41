import { afterAll } from "vitest";

const stops: (() => Promise<unknown> | unknown)[] = [];

afterAll(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

/**
 * Runs `stop` after the test file, the last one first. Unlike `afterAll`, it may be called inside a hook or a
 * test, where vitest ignores new hooks.
 */
export function afterFile(stop: () => Promise<unknown> | unknown): void {
  stops.push(stop);
}
