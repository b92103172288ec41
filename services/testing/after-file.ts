import { afterAll } from "vitest";

const stops: (() => Promise<unknown> | unknown)[] = [];

afterAll(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

/**
 * Stops something when the test file is done, last started first. Unlike `afterAll`, it may be called
 * from anywhere: vitest forgets what a hook or a test registers.
 */
export function afterFile(stop: () => Promise<unknown> | unknown): void {
  stops.push(stop);
}
