/**
 * One of several operators works: the one that holds a Lease. Time is measured on this process's own
 * monotonic clock since it saw the record change; no two machines' clocks are ever compared.
 */
import { pause } from "../../services/runtime/lifecycle.ts";
import type { Logger } from "../../services/runtime/log.ts";
import { isApiError } from "./api-error.ts";
import type { Cluster } from "./client.ts";
import { KINDS, type KubernetesObject } from "./object.ts";
import type { KubeMetrics } from "./metrics.ts";

const MANAGER = "gavel-operator-lease";

export interface LeaseTiming {
  /** What others wait, after the last renewal that they saw, before they take the Lease. */
  readonly leaseMs: number;
  /** Without a renewal for so long the holder stops working: well before others start. */
  readonly renewWithinMs: number;
  readonly retryMs: number;
}

const TIMING: LeaseTiming = { leaseMs: 15_000, renewWithinMs: 10_000, retryMs: 2_000 };

export interface LeadOptions {
  readonly cluster: Pick<Cluster, "on">;
  readonly namespace: string;
  /** Of the Lease. */
  readonly name: string;
  /** Of this process alone: a restarted one has another. */
  readonly identity: string;
  readonly log: Logger;
  readonly metrics?: KubeMetrics | undefined;
  readonly timing?: LeaseTiming;
}

interface Lease extends KubernetesObject {
  spec?: {
    holderIdentity?: string;
    leaseDurationSeconds?: number;
    acquireTime?: string;
    renewTime?: string;
    leaseTransitions?: number;
  };
}

/**
 * Waits for the Lease, then runs `work` while it is held. The work's signal aborts when the Lease is lost
 * or `signal` aborts; the Lease is released when the work has ended.
 * A process that was stalled for longer than `renewWithinMs` gives up, whatever the server says: another
 * may hold the Lease already, and may have acted.
 * @param work must end soon after its signal aborts
 * @returns "lost" where the Lease went before `signal` aborted: the process must end, not begin anew
 */
export async function lead(
  options: LeadOptions,
  work: (signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<"stopped" | "lost"> {
  const { log, metrics, name, timing = TIMING } = options;
  const candidate = new Candidate(options, timing);
  metrics?.isLeader.set({ name }, 0);
  for (;;) {
    if (signal.aborted) return "stopped";
    if (await candidate.acquire()) break;
    // With jitter: those who wait for the same Lease do not ask at the same time.
    await pause(timing.retryMs * (1 + 1.2 * Math.random()), signal);
  }
  log.info({ lease: name }, "leading");
  metrics?.isLeader.set({ name }, 1);

  const ending = new AbortController();
  const stop = () => ending.abort();
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  let isLost = false;
  const lose = () => {
    isLost ||= !ending.signal.aborted;
    ending.abort();
  };
  // Beside the renewals: one that hangs must not keep the work going. After a stall it fires first of all.
  const isLate = () => candidate.sinceRenewedMs >= timing.renewWithinMs;
  const guard = setInterval(() => isLate() && lose(), timing.retryMs / 8);
  const renewing = (async () => {
    while (!ending.signal.aborted) {
      await pause(timing.retryMs, ending.signal);
      // Before the renewal: one that succeeds after a stall proves nothing of the time between.
      if (ending.signal.aborted || isLate()) return lose();
      if (!(await candidate.renew())) return lose();
    }
  })();
  try {
    await work(ending.signal);
  } finally {
    ending.abort();
    clearInterval(guard);
    signal.removeEventListener("abort", stop);
    await renewing;
    metrics?.isLeader.set({ name }, 0);
    if (isLost) log.error({ lease: name }, "lost the Lease");
    else await candidate.release();
  }
  return isLost ? "lost" : "stopped";
}

class Candidate {
  readonly #options: LeadOptions;
  readonly #timing: LeaseTiming;
  readonly #cluster: Cluster;
  /** The record as last seen, and when it was first seen so. */
  #seen = "";
  #seenAtMs = 0;
  /** When the request that last renewed it was sent. */
  #renewedAtMs = 0;

  constructor(options: LeadOptions, timing: LeaseTiming) {
    this.#options = options;
    this.#timing = timing;
    this.#cluster = options.cluster.on("lease");
  }

  get sinceRenewedMs(): number {
    return performance.now() - this.#renewedAtMs;
  }

  /** Takes the Lease if it is free. Never throws: false is "not now". */
  async acquire(): Promise<boolean> {
    const askedAtMs = performance.now();
    try {
      const lease = await this.#cluster.get<Lease>(this.#ref);
      if (lease && !this.#isFree(lease)) return false;
      const taken = lease
        ? await this.#cluster.replace(this.#held(lease), { manager: MANAGER })
        : await this.#cluster.createIfAbsent(this.#held(null), { manager: MANAGER });
      if (taken) this.#renewedAtMs = askedAtMs;
      return taken !== null;
    } catch (error) {
      this.#tell(error, "could not take the Lease");
      return false;
    }
  }

  /** False where another holds it. True where it is renewed, and where nobody answered: then the time since the last renewal decides. */
  async renew(): Promise<boolean> {
    const askedAtMs = performance.now();
    try {
      const lease = await this.#cluster.get<Lease>(this.#ref);
      if (lease?.spec?.holderIdentity !== this.#options.identity) return false;
      await this.#cluster.replace(this.#held(lease), { manager: MANAGER });
      this.#renewedAtMs = askedAtMs;
    } catch (error) {
      this.#tell(error, "could not renew the Lease");
    }
    return true;
  }

  /** Lets the next take it at once. Where that fails it expires by itself. */
  async release(): Promise<void> {
    try {
      const lease = await this.#cluster.get<Lease>(this.#ref);
      if (lease?.spec?.holderIdentity !== this.#options.identity) return;
      const now = microTime();
      const spec = { ...lease.spec, holderIdentity: "", leaseDurationSeconds: 1 };
      const released = { ...lease, spec: { ...spec, renewTime: now, acquireTime: now } };
      await this.#cluster.replace(released, { manager: MANAGER });
    } catch (error) {
      this.#tell(error, "could not release the Lease");
    }
  }

  get #ref() {
    const { namespace, name } = this.#options;
    return { ...KINDS.Lease, namespace, name };
  }

  #isFree(lease: Lease): boolean {
    const { holderIdentity, leaseDurationSeconds } = lease.spec ?? {};
    const record = JSON.stringify(lease.spec);
    if (record !== this.#seen) {
      this.#seen = record;
      this.#seenAtMs = performance.now();
    }
    if (!holderIdentity || holderIdentity === this.#options.identity) return true;
    // The holder's own word counts: it may have another duration than we.
    const leaseMs = (leaseDurationSeconds ?? this.#timing.leaseMs / 1_000) * 1_000;
    return performance.now() - this.#seenAtMs > leaseMs;
  }

  #held(before: Lease | null): Lease {
    const { namespace, name, identity } = this.#options;
    const { holderIdentity, leaseTransitions = 0, acquireTime } = before?.spec ?? {};
    const isOurs = holderIdentity === identity;
    const now = microTime();
    const { apiVersion, kind } = KINDS.Lease;
    return {
      apiVersion,
      kind,
      metadata: before?.metadata ?? { namespace, name },
      spec: {
        holderIdentity: identity,
        leaseDurationSeconds: Math.max(1, Math.ceil(this.#timing.leaseMs / 1_000)),
        acquireTime: isOurs && acquireTime ? acquireTime : now,
        renewTime: now,
        leaseTransitions: before === null || isOurs ? leaseTransitions : leaseTransitions + 1,
      },
    };
  }

  #tell(error: unknown, what: string): void {
    const { log, name } = this.#options;
    // Another was faster: nothing is wrong.
    if (isApiError(error, "conflict")) log.debug({ lease: name }, what);
    else log.warn({ err: error, lease: name }, what);
  }
}

/** Kubernetes' MicroTime: six digits, or it is refused. */
export const microTime = (atMs: number = Date.now()): string =>
  new Date(atMs).toISOString().replace("Z", "000Z");
