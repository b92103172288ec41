/** How long two busy cores may delay an answer: with two other test files and two busy loops, seconds. */
const BUSY_MACHINE_MS = 4_000;

/**
 * The bound for something that is promised within `promisedMs`. The promise holds on a machine with free
 * processors, where the benchmarks measure it. Tests run on a busy one and only find what is broken: then
 * nothing answers until the dependency returns, or a longer limit is over.
 */
export function withMargin(promisedMs: number): number {
  return promisedMs + BUSY_MACHINE_MS;
}
