import { pause } from "../../runtime/lifecycle.ts";
import type { Store } from "../../store/connect.ts";
import type { Keys } from "../../store/keys.ts";
import { holdLease, releaseLease } from "../../store/lifecycle.ts";

/** A lease that is free, or a Redis that is back, is seen within about this. */
const LOOK_EVERY_MS = 250;

/**
 * Waits for the lease "relay", then works while it is kept. Two may work at once for a moment, when one
 * was stalled: the work must bear it.
 * @param holder stays the same for the life of a process: after Redis was away it goes on at once
 * @param onOther another holds it
 * @param work must end soon after its signal aborts
 */
export async function withLease<T>(
  store: Store,
  keys: Keys,
  { holder, leaseMs, onOther }: { holder: string; leaseMs: number; onOther: () => void },
  work: (signal: AbortSignal) => Promise<T>,
  signal: AbortSignal,
): Promise<{ lost: boolean; result: T } | null> {
  const everyMs = leaseMs / 4;
  const hold = () => holdLease(store, keys, "relay", holder, leaseMs);

  let heldAtMs = performance.now();
  for (let held; (held = await hold().catch(() => null)) !== true;) {
    if (held === false) onOther();
    if (signal.aborted) return null;
    await pause(Math.min(LOOK_EVERY_MS, everyMs) * (0.5 + Math.random()), signal);
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
