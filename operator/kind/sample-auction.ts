/** An Auction on the cluster: applied, and waited for. */
import { setTimeout as pause } from "node:timers/promises";
import type { AuctionStatus } from "../api/auction-status.ts";
import type { KindCluster } from "./kind-cluster.ts";

export interface SeenAuction {
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly status?: AuctionStatus;
}

const POLL_MS = 1_000;

/** @throws Error with the API server's words, where it refuses the file */
export async function applyAuction(
  { kubectl }: KindCluster,
  file: string,
  namespace: string,
): Promise<void> {
  await kubectl(["apply", "-n", namespace, "-f", file]);
}

/**
 * Waits until an Auction's condition Ready is True, and says what it waits for whenever that changes.
 * @throws Error with the last thing that was in the way
 */
export async function waitUntilReady(
  { kubectl }: KindCluster,
  name: string,
  namespace: string,
  say: (line: string) => void,
  timeoutMs = 300_000,
): Promise<SeenAuction> {
  const deadline = Date.now() + timeoutMs;
  for (let last = ""; ;) {
    const text = await kubectl(["get", "auction", name, "-n", namespace, "-o", "json"]);
    const auction = JSON.parse(text) as SeenAuction;
    const { phase = "Pending", conditions = [] } = auction.status ?? {};
    const ready = conditions.find(({ type }) => type === "Ready");
    if (ready?.status === "True") return auction;
    const now = `${phase}: ${ready?.message ?? "the operator has not looked at it yet"}`;
    if (now !== last) say(`  ${now}`);
    last = now;
    if (Date.now() > deadline) {
      throw new Error(`${name} is not ready after ${timeoutMs / 1_000} s (${now})`);
    }
    await pause(POLL_MS);
  }
}
