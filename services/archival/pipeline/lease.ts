import { pause } from "../../runtime/lifecycle.ts";
import type { Store } from "../../store/connect.ts";
import type { Keys } from "../../store/keys.ts";
import { holdLease, releaseLease } from "../../store/lifecycle.ts";

/** How often a process without the lease tries to get it. */
const TRY_EVERY_MS = 250;

/**
 * Waits for the lease "relay", then runs `work` while the lease is held. When a process was stalled, two may
 * work at once for a moment: the work must tolerate it.
 * @param holder the same for the life of a process, so that it goes on at once after an outage of Redis
 * @param onOther is called when another process holds the lease
 * @param work must end soon after its signal aborts
 * @returns null when the signal aborted before the lease was free
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
    await pause(Math.min(TRY_EVERY_MS, everyMs) * (0.5 + Math.random()), signal);
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
      const triedAtMs = performance.now();
      const held = await hold().catch(() => null);
      if (held === true) heldAtMs = triedAtMs;
      // Without an answer the lease is ours until it expires.
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
