/**
 * `durability: Replica`: a bid is acknowledged once a replica has it, too, so that the loss of the master loses no
 * acknowledged bid.
 *
 * Batches do not wait one by one: a round covers everything decided before it began, and the next round begins
 * when it ends. Rounds use a connection of their own, because WAIT blocks its connection.
 */
import Type from "typebox";
import type { Strategy } from "./batcher.ts";
import type { Store } from "./connect.ts";
import type { StoreConnections } from "./connections.ts";
import type { Keys } from "./keys.ts";

export const DurabilityEnv = {
  BID_DURABILITY: Type.Union([Type.Literal("local"), Type.Literal("replica")], {
    description:
      "When a bid is acknowledged: once it is on Redis's disk, or once WAIT_REPLICAS replicas have it, too. Without enough replicas, every bid is then answered `unknown`.",
    default: "local",
  }),
  WAIT_REPLICAS: Type.Integer({
    description: "BID_DURABILITY=replica: how many replicas must have a bid.",
    minimum: 1,
    maximum: 5,
    default: 1,
  }),
  WAIT_MS: Type.Integer({
    description: "BID_DURABILITY=replica: how long replicas may take; then the bid is `unknown`.",
    minimum: 10,
    maximum: 600,
    default: 300,
  }),
};

/** WAIT replies at its timeout; the reply may take a little longer. */
const ANSWER_MS = 200;

/** Waits for replicas, round after round. */
export class Replication {
  #round: Promise<boolean> | null = null;
  #next: Promise<boolean> | null = null;
  readonly #store: Store;
  readonly #keys: Keys;
  readonly #replicas: number;
  readonly #waitMs: number;

  constructor(connections: StoreConnections, keys: Keys, replicas: number, waitMs: number) {
    this.#store = connections.open("replication", waitMs + ANSWER_MS); // Rounds fail without it.
    this.#keys = keys;
    this.#replicas = replicas;
    this.#waitMs = waitMs;
  }

  /** Whether enough replicas have everything that Redis replied before this call. Never rejects. */
  reached(): Promise<boolean> {
    if (this.#round === null) return this.#begin();
    this.#next ??= this.#round.then(() => this.#begin());
    return this.#next;
  }

  #begin(): Promise<boolean> {
    this.#next = null;
    const round = this.#wait().finally(() => {
      if (this.#round === round) this.#round = null;
    });
    this.#round = round;
    return round;
  }

  async #wait(): Promise<boolean> {
    // WAIT covers the last write of its own connection: this one is replicated, and not written to disk.
    const replies = await this.#store
      .pipeline()
      .publish(this.#keys.round, "")
      .wait(this.#replicas, this.#waitMs)
      .exec()
      .catch(() => null);
    const [error, replicas] = replies?.[1] ?? [null, 0];
    return error === null && Number(replicas) >= this.#replicas;
  }
}

/** An accepted bid that too few replicas have is `unknown`; a retry with its key waits for them again. */
export function replicatedStrategy(strategy: Strategy, replication: Replication): Strategy {
  return {
    ...strategy,
    async decide(...batch) {
      const decided = await strategy.decide(...batch);
      const isAccepted = decided.placements.some(({ outcome }) => outcome === "accepted");
      if (!isAccepted || (await replication.reached())) return decided;
      const placements = decided.placements.map((placement) =>
        placement.outcome === "accepted" ? ({ outcome: "unknown" } as const) : placement,
      );
      return { ...decided, placements };
    },
  };
}
