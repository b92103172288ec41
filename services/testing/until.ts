/** A busy machine may need long, and a test that passes does not wait for it. */
const PATIENCE_MS = 60_000;
/** The interval grows: a short wait is noticed at once, and a long wait leaves the CPU to what it waits for. */
const POLL_MS = { first: 5, growth: 1.25, most: 20 };

/**
 * Waits until a condition holds. It polls instead of sleeping for as long as the condition might take.
 * @throws Error with the last failure, after `timeoutMs`
 */
export async function until<T>(
  what: string,
  condition: () => T | Promise<T>,
  timeoutMs = PATIENCE_MS,
): Promise<NonNullable<T>> {
  const deadline = Date.now() + timeoutMs;
  let last: unknown = "not yet";
  for (let pollMs = POLL_MS.first; ; pollMs = Math.min(POLL_MS.most, pollMs * POLL_MS.growth)) {
    try {
      const value = await condition();
      if (value) return value;
      last = value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) {
      throw new Error(`waited ${timeoutMs} ms in vain until ${what}: ${String(last)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}
