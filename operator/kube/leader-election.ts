/**
 * Leader election by a Lease: one of several replicas works. Time is measured on this process's monotonic
 * clock, since it saw the record change. Clocks of two machines are never compared.
 */
import { pause } from "../../services/runtime/lifecycle.ts";
import type { Logger } from "../../services/runtime/log.ts";
import { isApiError } from "./api-error.ts";
import type { Cluster } from "./client.ts";
import { KINDS, type KubernetesObject } from "./object.ts";
import type { KubeMetrics } from "./metrics.ts";

const MANAGER = "gavel-operator-lease";

export interface LeaseTiming {
  /** How long others wait after the last renewal that they saw before they take the Lease. */
  readonly leaseMs: number;
  /** After this time without a renewal the holder stops, well before others start. */
  readonly renewWithinMs: number;
  readonly retryMs: number;
}

const TIMING: LeaseTiming = { leaseMs: 15_000, renewWithinMs: 10_000, retryMs: 2_000 };

interface LeaderElectionOptions {
  readonly cluster: Pick<Cluster, "on">;
  readonly namespace: string;
  /** The name of the Lease. */
  readonly name: string;
  /** Unique to this process: a restarted one has another. */
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
 * Waits for the Lease, then runs `work` while this process holds it. The work's signal aborts when the Lease
 * is lost or `signal` aborts. The Lease is released when the work has ended.
 * A process that was stalled for longer than `renewWithinMs` stops, whatever the API server answers: another
 * process may hold the Lease already.
 * @param work must end soon after its signal aborts
 * @returns "lost" if the Lease was lost before `signal` aborted: the process must exit
 */
export async function runAsLeader(
  options: LeaderElectionOptions,
  work: (signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<"stopped" | "lost"> {
  const { log, metrics, name, timing = TIMING } = options;
  const candidate = new Candidate(options, timing);
  metrics?.isLeader.set({ name }, 0);
  for (;;) {
    if (signal.aborted) return "stopped";
    if (await candidate.acquire()) break;
    // With jitter, so that candidates do not try at the same time.
    await pause(timing.retryMs * (1 + 1.2 * Math.random()), signal);
  }
  log.info({ lease: name }, "became leader");
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
  // Independent of the renewals: one that hangs must not keep the work going. After a stall it fires first.
  const isLate = () => candidate.sinceRenewedMs >= timing.renewWithinMs;
  const guard = setInterval(() => isLate() && lose(), timing.retryMs / 8);
  const renewing = (async () => {
    while (!ending.signal.aborted) {
      await pause(timing.retryMs, ending.signal);
      // Checked before the renewal: one that succeeds after a stall proves nothing about the time between.
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
    if (isLost) log.error({ lease: name }, "leadership lost");
    else await candidate.release();
  }
  return isLost ? "lost" : "stopped";
}

class Candidate {
  readonly #options: LeaderElectionOptions;
  readonly #timing: LeaseTiming;
  readonly #cluster: Cluster;
  /** The last record read, and when it was first read so. */
  #record = "";
  #recordAtMs = 0;
  /** When the last successful renewal was sent. */
  #renewedAtMs = 0;

  constructor(options: LeaderElectionOptions, timing: LeaseTiming) {
    this.#options = options;
    this.#timing = timing;
    this.#cluster = options.cluster.on("lease");
  }

  get sinceRenewedMs(): number {
    return performance.now() - this.#renewedAtMs;
  }

  /** Takes the Lease if it is free. Never throws. @returns whether it was taken */
  async acquire(): Promise<boolean> {
    const sentAtMs = performance.now();
    try {
      const lease = await this.#cluster.get<Lease>(this.#ref);
      if (lease && !this.#isFree(lease)) return false;
      const taken = lease
        ? await this.#cluster.replace(this.#held(lease), { manager: MANAGER })
        : await this.#cluster.createIfAbsent(this.#held(null), { manager: MANAGER });
      if (taken) this.#renewedAtMs = sentAtMs;
      return taken !== null;
    } catch (error) {
      this.#logFailure(error, "Lease not acquired");
      return false;
    }
  }

  /** @returns false if another process holds the Lease; true if it was renewed or nobody answered: then `sinceRenewedMs` decides */
  async renew(): Promise<boolean> {
    const sentAtMs = performance.now();
    try {
      const lease = await this.#cluster.get<Lease>(this.#ref);
      if (lease?.spec?.holderIdentity !== this.#options.identity) return false;
      await this.#cluster.replace(this.#held(lease), { manager: MANAGER });
      this.#renewedAtMs = sentAtMs;
    } catch (error) {
      this.#logFailure(error, "Lease not renewed");
    }
    return true;
  }

  /** Lets another candidate take the Lease at once. If that fails, the Lease expires. */
  async release(): Promise<void> {
    try {
      const lease = await this.#cluster.get<Lease>(this.#ref);
      if (lease?.spec?.holderIdentity !== this.#options.identity) return;
      const now = microTime();
      const spec = { ...lease.spec, holderIdentity: "", leaseDurationSeconds: 1 };
      const released = { ...lease, spec: { ...spec, renewTime: now, acquireTime: now } };
      await this.#cluster.replace(released, { manager: MANAGER });
    } catch (error) {
      this.#logFailure(error, "Lease not released");
    }
  }

  get #ref() {
    const { namespace, name } = this.#options;
    return { ...KINDS.Lease, namespace, name };
  }

  #isFree(lease: Lease): boolean {
    const { holderIdentity, leaseDurationSeconds } = lease.spec ?? {};
    const record = JSON.stringify(lease.spec);
    if (record !== this.#record) {
      this.#record = record;
      this.#recordAtMs = performance.now();
    }
    if (!holderIdentity || holderIdentity === this.#options.identity) return true;
    // The holder's own duration counts: it may differ from ours.
    const leaseMs = (leaseDurationSeconds ?? this.#timing.leaseMs / 1_000) * 1_000;
    return performance.now() - this.#recordAtMs > leaseMs;
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

  #logFailure(error: unknown, message: string): void {
    const { log, name } = this.#options;
    // Another candidate was faster.
    if (isApiError(error, "conflict")) log.debug({ lease: name }, message);
    else log.warn({ err: error, lease: name }, message);
  }
}

/** Kubernetes' MicroTime: it must have six fractional digits. */
export const microTime = (atMs: number = Date.now()): string =>
  new Date(atMs).toISOString().replace("Z", "000Z");
