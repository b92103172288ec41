/**
 * Wires the path of a bid to Redis, the same in every tier that takes bids:
 * batcher → guard (circuit breaker) → durability → strategy.
 */
import type { Counter } from "prom-client";
import Type from "typebox";
import { Breaker, keepProbing, logChanges } from "../runtime/breaker.ts";
import type { Lifecycle } from "../runtime/lifecycle.ts";
import { type Logger, SampledLog } from "../runtime/log.ts";
import type { Tracing } from "../runtime/tracing.ts";
import type { BiddingMetrics } from "./bidding-metrics.ts";
import { Batcher, BATCHER_DEFAULTS, scriptStrategy, type Strategy } from "./batcher.ts";
import type { StoreConnections } from "./connections.ts";
import { didNotServe, guardStrategy } from "./guard.ts";
import type { Keys } from "./keys.ts";
import { optimisticStrategy } from "./optimistic.ts";
import { StoreUnavailable } from "./unreachable.ts";
import { DurabilityEnv, replicatedStrategy, Replication } from "./replication.ts";

/** What a tier that takes bids reads from its environment for this. */
export const BiddingEnv = {
  BID_STRATEGY: Type.Union([Type.Literal("script"), Type.Literal("optimistic")], {
    description: "How bids are decided: by a script in Redis, or by optimistic transactions.",
    default: "script",
  }),
  ...DurabilityEnv,
};
type BiddingEnv = Type.Static<Type.TObject<typeof BiddingEnv>>;

/** Three failed calls open the circuit: bids are then refused at once instead of waiting for time-outs. */
const STORE_BREAKER = { failures: 3, waitMs: 100, waitMaxMs: 1_000 } as const;

interface BiddingDependencies {
  readonly env: BiddingEnv;
  /** Those of the whole process, which is ready while all of them are. Connections for bids are added to them. */
  readonly connections: StoreConnections;
  readonly keys: Keys;
  readonly metrics: BiddingMetrics & { readonly internalErrors: Pick<Counter, "inc"> };
  /** An optimistic transaction lost a race and is tried again. */
  readonly onConflict: () => void;
  /** The script decided a batch in place of an optimistic transaction. */
  readonly onScript?: () => void;
  readonly tracing: Tracing | null;
  readonly log: Logger;
  /** Stops the probes. */
  readonly lifecycle: Lifecycle;
}

export interface Bidding {
  readonly batcher: Batcher;
  /** The circuit breaker of Redis. */
  readonly breaker: Breaker;
  /** For /readyz. @throws StoreUnavailable where a connection to Redis is missing, or Redis does not answer */
  probe(): Promise<void>;
}

export function startBidding(dependencies: BiddingDependencies): Bidding {
  const { connections, metrics, tracing, log, lifecycle } = dependencies;
  const strategy = withDurability(chooseStrategy(dependencies), dependencies);

  const breaker = new Breaker({
    ...STORE_BREAKER,
    isOutage: didNotServe,
    onChange: logChanges(log, "redis"),
  });
  const probing = new AbortController();
  void keepProbing(breaker, () => strategy.nowMs(), probing.signal);
  lifecycle.onStop("store probes", () => probing.abort());

  const lost = new SampledLog(log, 1);
  const batcher = new Batcher(guardStrategy(strategy, breaker), {
    ...BATCHER_DEFAULTS,
    onBatch: (bids, tookMs, waitedMs) => {
      metrics.batchBids.observe(bids);
      metrics.batchWait.observe(waitedMs / 1000);
      metrics.storeCall.observe(tookMs / 1000);
    },
    onError: (error) => {
      if (didNotServe(error)) return lost.warn({ err: error }, "store call with bids failed");
      metrics.internalErrors.inc();
      lost.error({ err: error }, "store call with bids failed: defect");
    },
    tracing,
  });
  const probe = async () => {
    connections.requireAll();
    await breaker
      .call(() => strategy.nowMs())
      .catch((cause: unknown) => {
        throw new StoreUnavailable("Redis does not answer", { cause });
      });
  };
  return { batcher, breaker, probe };
}

function chooseStrategy(dependencies: BiddingDependencies): Strategy {
  const { env, connections, keys, onConflict, onScript = () => {} } = dependencies;
  // Bids have separate connections: reads must not delay them.
  if (env.BID_STRATEGY === "script") return scriptStrategy(connections.open("bids"), keys);
  return optimisticStrategy(connections, keys, { onConflict, onScript });
}

/** `BID_DURABILITY=replica`: bids are acknowledged once replicas have them, too. */
function withDurability(
  strategy: Strategy,
  { env, connections, keys }: BiddingDependencies,
): Strategy {
  if (env.BID_DURABILITY === "local") return strategy;
  const replication = new Replication(connections, keys, env.WAIT_REPLICAS, env.WAIT_MS);
  return replicatedStrategy(strategy, replication);
}
