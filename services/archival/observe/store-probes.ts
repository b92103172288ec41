/**
 * Probes Redis, NATS and Postgres once a second each, and less often while one does not answer. The breakers are
 * metrics, and requests that need a store fail at once while its breaker is open.
 */
import { isUnavailable, refusalOf } from "../../access/error-class.ts";
import { answers as busAnswers, type Bus } from "../../bus/connect.ts";
import { Breaker, type BreakerState, logChanges } from "../../runtime/breaker.ts";
import { pause } from "../../runtime/lifecycle.ts";
import type { Logger } from "../../runtime/log.ts";
import { connectionFailure, type Store } from "../../store/connect.ts";
import { StoreUnavailable } from "../../store/unreachable.ts";
import type { Dependency } from "../metrics.ts";
import type { Refusals } from "../refusals.ts";
import { type Archive, ask as askArchive } from "../postgres/connection.ts";

export type StoreBreakers = Readonly<Record<Dependency, Breaker>>;

const PROBE_EVERY_MS = 1_000;
const ANSWER_MS = 1_000;
const PROBING = { failures: 2, waitMs: 200, waitMaxMs: 2_000, isOutage: isUnavailable } as const;

interface ProbedStores {
  readonly store: Store;
  readonly archive: Archive;
  /** Null before the first connection to NATS. */
  readonly currentBus: () => Bus | null;
  /** Why the last attempt to connect to NATS failed. */
  readonly busFailure: () => Error | null;
  readonly refusals: Refusals;
}

/**
 * Probes until the signal aborts, one probe of each store at a time.
 * @param onAnswer gets the time of each successful probe
 */
export function probeStores(
  { store, archive, currentBus, busFailure, refusals }: ProbedStores,
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
    redis: () =>
      store.ping().catch((error: unknown) => {
        throw connectionFailure(store) ?? error;
      }),
    nats: async () => {
      const bus = currentBus();
      if (bus !== null && (await busAnswers(bus, ANSWER_MS))) return;
      throw busFailure() ?? new StoreUnavailable("no answer");
    },
    postgres: () =>
      askArchive(archive, ANSWER_MS).catch((error: unknown) => {
        throw isUnavailable(error) ? error : new StoreUnavailable("no answer", { cause: error });
      }),
  };
  for (const name of ["redis", "nats", "postgres"] as const) {
    const probe = async () => {
      const startedMs = performance.now();
      await probes[name]();
      onAnswer(name, (performance.now() - startedMs) / 1000);
    };
    const work = `connecting to ${name}`;
    void keepProbing(breakers[name], probe, signal, (error) => {
      if (error === null) refusals.served(work);
      else if (refusalOf(error) !== null) refusals.failed(work, name, error);
    });
  }
  return breakers;
}

async function keepProbing(
  breaker: Breaker,
  probe: () => Promise<unknown>,
  signal: AbortSignal,
  onProbed: (error: unknown) => void,
): Promise<void> {
  while (!signal.aborted) {
    const isClosed = breaker.state === "closed";
    await pause(isClosed ? PROBE_EVERY_MS : Math.max(50, breaker.waitMs), signal);
    if (signal.aborted) return;
    await breaker.call(probe).then(() => onProbed(null), onProbed); // The breaker counts it.
  }
}
