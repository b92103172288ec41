/** Applies an Auction to the cluster and waits until it is ready. */
import { setTimeout as pause } from "node:timers/promises";
import type { AuctionStatus } from "../api/auction-status.ts";
import type { KindCluster } from "./kind-cluster.ts";

interface AuctionOnCluster {
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly status?: AuctionStatus;
}

const POLL_MS = 1_000;

/** @throws Error with the message of the API server, if it refuses the file */
export async function applyAuction(
  { kubectl }: KindCluster,
  file: string,
  namespace: string,
): Promise<void> {
  await kubectl(["apply", "-n", namespace, "-f", file]);
}

/**
 * Waits until the condition Ready of an Auction is True. Prints the phase and message whenever they change.
 * @throws Error with the last message, after the timeout
 */
export async function waitUntilReady(
  { kubectl }: KindCluster,
  name: string,
  namespace: string,
  say: (line: string) => void,
  timeoutMs = 300_000,
): Promise<AuctionOnCluster> {
  const deadline = Date.now() + timeoutMs;
  for (let last = ""; ;) {
    const text = await kubectl(["get", "auction", name, "-n", namespace, "-o", "json"]);
    const auction = JSON.parse(text) as AuctionOnCluster;
    const { phase = "Pending", conditions = [] } = auction.status ?? {};
    const ready = conditions.find(({ type }) => type === "Ready");
    if (ready?.status === "True") return auction;
    const progress = `${phase}: ${ready?.message ?? "the operator has not written a status yet"}`;
    if (progress !== last) say(`  ${progress}`);
    last = progress;
    if (Date.now() > deadline) {
      throw new Error(`${name} is not ready after ${timeoutMs / 1_000} s (${progress})`);
    }
    await pause(POLL_MS);
  }
}
