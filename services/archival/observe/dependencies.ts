/**
 * Redis, NATS and Postgres as this process sees them: each is asked once a second, and less and less often
 * the longer it does not answer. Their states are a metric, and spare those who ask for history a wait.
 */
import { answers as busAnswers, type Bus } from "../../bus/connect.ts";
import { Breaker, type BreakerState, logChanges } from "../../runtime/breaker.ts";
import { pause } from "../../runtime/lifecycle.ts";
import type { Logger } from "../../runtime/log.ts";
import type { Store } from "../../store/connect.ts";
import type { Dependency } from "../metrics.ts";
import { type Archive, answers as archiveAnswers } from "../postgres/connection.ts";

export type Dependencies = Readonly<Record<Dependency, Breaker>>;

const ASK_EVERY_MS = 1_000;
const ANSWER_MS = 1_000;
const PROBING = { failures: 2, waitMs: 200, waitMaxMs: 2_000 } as const;

export interface Asked {
  readonly store: Store;
  readonly archive: Archive;
  /** Null before NATS was first reached. */
  readonly bus: () => Bus | null;
}

/** Asks until the signal aborts, one question to each at a time; `onAnswer` is told of those that are answered. */
export function watchDependencies(
  { store, archive, bus }: Asked,
  log: Logger,
  signal: AbortSignal,
  onAnswer: (dependency: Dependency, seconds: number) => void,
): Dependencies {
  const breakerOf = (dependency: string, onOpen: () => void = () => {}): Breaker => {
    const tell = logChanges(log, dependency);
    const onChange = (state: BreakerState, before: BreakerState, failures: number): void => {
      tell(state, before, failures);
      if (state === "open") onOpen();
    };
    return new Breaker({ ...PROBING, onChange });
  };
  const dependencies = {
    redis: breakerOf("redis"),
    // A connection that says nothing may be dead: its own pings would need many seconds to find out.
    nats: breakerOf(
      "nats",
      () =>
        void bus()
          ?.connection.reconnect()
          .catch(() => {}),
    ),
    postgres: breakerOf("postgres"),
  };
  const ask: Record<Dependency, () => Promise<unknown>> = {
    redis: () => store.ping(),
    nats: async () => mustAnswer(bus() !== null && (await busAnswers(bus()!, ANSWER_MS))),
    postgres: async () => mustAnswer(await archiveAnswers(archive, ANSWER_MS)),
  };
  for (const name of ["redis", "nats", "postgres"] as const) {
    const timed = async () => {
      const startedMs = performance.now();
      await ask[name]();
      onAnswer(name, (performance.now() - startedMs) / 1000);
    };
    void keepAsking(dependencies[name], timed, signal);
  }
  return dependencies;
}

function mustAnswer(answered: boolean): void {
  if (!answered) throw new Error("no answer");
}

async function keepAsking(
  breaker: Breaker,
  ask: () => Promise<unknown>,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const closed = breaker.state === "closed";
    await pause(closed ? ASK_EVERY_MS : Math.max(50, breaker.waitMs), signal);
    if (!signal.aborted) await breaker.call(ask).catch(() => {}); // It is counted.
  }
}
