/** The parts that run an Auction. */
export type Component = "gateway" | "broadcast" | "archival" | "redis" | "nats" | "postgres";

export type TierName = Extract<Component, "gateway" | "broadcast" | "archival">;
export type StoreName = Exclude<Component, TierName>;

export const TIERS: readonly TierName[] = ["gateway", "broadcast", "archival"];
export const STORES: readonly StoreName[] = ["redis", "nats", "postgres"];
