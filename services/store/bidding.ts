/**
 * Wires the path of a bid to Redis, the same in every tier that takes bids:
 * batcher → guard (circuit breaker) → durability → strategy.
 */
import Type from "typebox";
import { Breaker, keepProbing, logChanges } from "../runtime/breaker.ts";
import type { Lifecycle } from "../runtime/lifecycle.ts";
import { type Logger, SampledLog } from "../runtime/log.ts";
import type { Tracing } from "../runtime/tracing.ts";
import type { BiddingMetrics } from "./bidding-metrics.ts";
import { Batcher, BATCHER_DEFAULTS, scriptStrategy, type Strategy } from "./batcher.ts";
import { type Store, storeClockMs, type StoreUrl } from "./connect.ts";
import { guardStrategy } from "./guard.ts";
import type { Keys } from "./keys.ts";
import { optimisticStrategy } from "./optimistic.ts";
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
  /** The connection that only bids use. */
  readonly store: Store;
  /** For the further connections of optimistic transactions and of replication. */
  readonly url: StoreUrl;
  readonly keys: Keys;
  readonly metrics: BiddingMetrics;
  /** An optimistic transaction lost a race and is tried again. */
  readonly onConflict: () => void;
  /** The script decided a batch in place of an optimistic transaction. */
  readonly onScript?: () => void;
  readonly tracing: Tracing | null;
  readonly log: Logger;
  /** Stops the probes and closes the further connections. */
  readonly lifecycle: Lifecycle;
}

export interface Bidding {
  readonly batcher: Batcher;
  /** The circuit breaker of Redis. */
  readonly breaker: Breaker;
  /** For /readyz. @throws where Redis does not answer */
  probe(): Promise<void>;
}

export function startBidding(dependencies: BiddingDependencies): Bidding {
  const { store, metrics, tracing, log, lifecycle } = dependencies;
  store.on("ready", () => metrics.storeUp.set(1)).on("close", () => metrics.storeUp.set(0));

  const breaker = new Breaker({ ...STORE_BREAKER, onChange: logChanges(log, "redis") });
  const readClock = () => storeClockMs(store);
  const probing = new AbortController();
  void keepProbing(breaker, readClock, probing.signal);
  lifecycle.onStop("store probes", () => probing.abort());

  const strategy = withDurability(chooseStrategy(dependencies), dependencies);
  const lost = new SampledLog(log, 1);
  const batcher = new Batcher(guardStrategy(strategy, breaker), {
    ...BATCHER_DEFAULTS,
    onBatch: (bids, tookMs, waitedMs) => {
      metrics.batchBids.observe(bids);
      metrics.batchWait.observe(waitedMs / 1000);
      metrics.storeCall.observe(tookMs / 1000);
    },
    onError: (error) => lost.warn({ err: error }, "store call with bids failed"),
    tracing,
  });
  const probe = async () => void (await breaker.call(readClock));
  return { batcher, breaker, probe };
}

function chooseStrategy(dependencies: BiddingDependencies): Strategy {
  const { env, store, url, keys, onConflict, onScript = () => {}, log, lifecycle } = dependencies;
  if (env.BID_STRATEGY === "script") return scriptStrategy(store, keys);
  const strategy = optimisticStrategy(url, keys, {
    onConflict,
    onScript,
    onError: (error) => log.debug({ err: error }, "store connection of a transaction failed"),
  });
  lifecycle.onStop("optimistic strategy", () => strategy.close());
  return strategy;
}

/** `BID_DURABILITY=replica`: bids are acknowledged once replicas have them, too. */
function withDurability(
  strategy: Strategy,
  { env, url, keys, lifecycle }: BiddingDependencies,
): Strategy {
  if (env.BID_DURABILITY === "local") return strategy;
  const replication = new Replication(url, keys, env.WAIT_REPLICAS, env.WAIT_MS);
  lifecycle.onStop("replication", () => replication.close());
  return replicatedStrategy(strategy, replication);
}
