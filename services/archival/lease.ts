import { hostname } from "node:os";
import { randomUUID } from "node:crypto";
import { pause } from "../runtime/lifecycle.ts";
import type { Store } from "../store/connect.ts";
import type { Keys } from "../store/keys.ts";
import { holdLease, releaseLease } from "../store/lifecycle.ts";

/**
 * Waits for the lease "relay", then works while it is kept. Two may work at once for a moment, when one
 * was stalled: the work must bear it.
 * @param work must end soon after its signal aborts
 */
export async function withLease<T>(
  store: Store,
  keys: Keys,
  leaseMs: number,
  work: (signal: AbortSignal) => Promise<T>,
  signal: AbortSignal,
): Promise<{ lost: boolean; result: T } | null> {
  const holder = `${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`;
  const everyMs = leaseMs / 4;
  const hold = () => holdLease(store, keys, "relay", holder, leaseMs);

  let heldAtMs = performance.now();
  while (!(await hold().catch(() => false))) {
    if (signal.aborted) return null;
    await pause(everyMs * (0.5 + Math.random()), signal);
    if (signal.aborted) return null;
    heldAtMs = performance.now();
  }

  const ending = new AbortController();
  const stop = () => ending.abort();
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  let lost = false;
  const keeping = (async () => {
    while (!ending.signal.aborted) {
      await pause(everyMs, ending.signal);
      const askedAtMs = performance.now();
      const held = await hold().catch(() => null);
      if (held === true) heldAtMs = askedAtMs;
      // No answer: it is still ours for as long as it was taken for.
      lost = held === false || performance.now() - heldAtMs > leaseMs;
      if (lost) ending.abort();
    }
  })();
  try {
    return { result: await work(ending.signal), lost };
  } finally {
    ending.abort();
    signal.removeEventListener("abort", stop);
    await keeping;
    await releaseLease(store, keys, "relay", holder).catch(() => {}); // It expires by itself.
  }
}
