/**
 * Probes Redis, NATS and Postgres once a second each, and less often while one does not answer. The breakers are
 * metrics, and requests that need a store fail at once while its breaker is open.
 */
import { isUnavailable } from "../../access/error-class.ts";
import { answers as busAnswers, type Bus } from "../../bus/connect.ts";
import { Breaker, type BreakerState, logChanges } from "../../runtime/breaker.ts";
import { pause } from "../../runtime/lifecycle.ts";
import type { Logger } from "../../runtime/log.ts";
import type { Store } from "../../store/connect.ts";
import { StoreUnavailable } from "../../store/unreachable.ts";
import type { Dependency } from "../metrics.ts";
import { type Archive, answers as archiveAnswers } from "../postgres/connection.ts";

export type StoreBreakers = Readonly<Record<Dependency, Breaker>>;

const PROBE_EVERY_MS = 1_000;
const ANSWER_MS = 1_000;
const PROBING = { failures: 2, waitMs: 200, waitMaxMs: 2_000, isOutage: isUnavailable } as const;

interface ProbedStores {
  readonly store: Store;
  readonly archive: Archive;
  /** Null before the first connection to NATS. */
  readonly currentBus: () => Bus | null;
}

/**
 * Probes until the signal aborts, one probe of each store at a time.
 * @param onAnswer gets the time of each successful probe
 */
export function probeStores(
  { store, archive, currentBus }: ProbedStores,
  log: Logger,
  signal: AbortSignal,
  onAnswer: (dependency: Dependency, seconds: number) => void,
): StoreBreakers {
  const breakerOf = (dependency: string, onOpen: () => void = () => {}): Breaker => {
    const logChange = logChanges(log, dependency);
    const onChange = (state: BreakerState, before: BreakerState, failures: number): void => {
      logChange(state, before, failures);
      if (state === "open") onOpen();
    };
    return new Breaker({ ...PROBING, onChange });
  };
  // A silent connection may be dead: its own pings would find that out many seconds later.
  const reconnectBus = () =>
    void currentBus()
      ?.connection.reconnect()
      .catch(() => {});
  const breakers = {
    redis: breakerOf("redis"),
    nats: breakerOf("nats", reconnectBus),
    postgres: breakerOf("postgres"),
  };
  const probes: Record<Dependency, () => Promise<unknown>> = {
    redis: () => store.ping(),
    nats: async () => {
      const bus = currentBus();
      requireAnswer(bus !== null && (await busAnswers(bus, ANSWER_MS)));
    },
    postgres: async () => requireAnswer(await archiveAnswers(archive, ANSWER_MS)),
  };
  for (const name of ["redis", "nats", "postgres"] as const) {
    const probe = async () => {
      const startedMs = performance.now();
      await probes[name]();
      onAnswer(name, (performance.now() - startedMs) / 1000);
    };
    void keepProbing(breakers[name], probe, signal);
  }
  return breakers;
}

function requireAnswer(answered: boolean): void {
  if (!answered) throw new StoreUnavailable("no answer");
}

async function keepProbing(
  breaker: Breaker,
  probe: () => Promise<unknown>,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const isClosed = breaker.state === "closed";
    await pause(isClosed ? PROBE_EVERY_MS : Math.max(50, breaker.waitMs), signal);
    if (!signal.aborted) await breaker.call(probe).catch(() => {}); // The breaker counts it.
  }
}
