import { ifUnavailable } from "../../access/error-class.ts";
import { pause } from "../../runtime/lifecycle.ts";
import type { Store } from "../../store/connect.ts";
import type { Keys } from "../../store/keys.ts";
import { holdLease, releaseLease } from "../../store/lease.ts";

/** How often a process without the lease tries to get it. */
const TRY_EVERY_MS = 250;

/** The result of acquiring or renewing the lease. */
type Attempt = "held" | "other holds" | "no answer";

/**
 * Waits for the lease "relay", then runs `work` while the lease is held. When a process was stalled, two may
 * work at once for a moment: the work must tolerate it.
 * @param holder the same for the life of a process, so that it continues at once after an outage of Redis
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
  const renewEveryMs = leaseMs / 4;
  const tryToHold = async (): Promise<Attempt> => {
    try {
      return (await holdLease(store, keys, "relay", holder, leaseMs)) ? "held" : "other holds";
    } catch (error) {
      return ifUnavailable("no answer" as const)(error);
    }
  };

  let heldAtMs = performance.now();
  let attempt = await tryToHold();
  while (attempt !== "held") {
    if (attempt === "other holds") onOther();
    if (signal.aborted) return null;
    await pause(Math.min(TRY_EVERY_MS, renewEveryMs) * (0.5 + Math.random()), signal);
    if (signal.aborted) return null;
    heldAtMs = performance.now();
    attempt = await tryToHold();
  }

  const ending = new AbortController();
  const stop = () => ending.abort();
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  let lost = false;
  const renewing = (async () => {
    while (!ending.signal.aborted) {
      await pause(renewEveryMs, ending.signal);
      const triedAtMs = performance.now();
      const renewal = await tryToHold();
      if (renewal === "held") heldAtMs = triedAtMs;
      // Without an answer the lease is ours until it expires.
      lost = renewal === "other holds" || performance.now() - heldAtMs > leaseMs;
      if (lost) ending.abort();
    }
  })();
  try {
    const result = await work(ending.signal);
    return { result, lost };
  } finally {
    ending.abort();
    signal.removeEventListener("abort", stop);
    await renewing;
    await releaseLease(store, keys, "relay", holder).catch(() => {}); // It expires by itself.
  }
}
