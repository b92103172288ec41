/**
 * Waits until a condition holds: asks again and again instead of sleeping for as long as it might take.
 * @throws Error with the last failure, after `timeoutMs`
 */
export async function until<T>(
  what: string,
  condition: () => T | Promise<T>,
  timeoutMs = 10_000,
): Promise<NonNullable<T>> {
  const deadline = Date.now() + timeoutMs;
  let last: unknown = "not yet";
  for (;;) {
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
    await new Promise((resolve) => setTimeout(resolve, 15));
  }
}
