/**
 * The digest of all events of a lot, for the completeness proof of the archive: the number of bids, the sum of their
 * amounts, and a hash chain over the texts of the events. lot-functions.lua keeps it in the lot's hash.
 */
import { createHash } from "node:crypto";
import type { LotEvent } from "../lot/events.ts";

export interface Digest {
  /** Accepted bids. */
  readonly bidCount: number;
  /** Sum of the amounts, modulo 10^15: a double holds two such sums exactly. */
  readonly sumMinor: number;
  /** SHA-1, in hex, of the previous chain and the event's text; "" before the first event. */
  readonly chain: string;
}

export const NO_EVENTS: Digest = { bidCount: 0, sumMinor: 0, chain: "" };

const SUM_MODULUS = 1e15;

/**
 * @param event null for a text that is not an event: the chain includes it nevertheless
 * @param text of the event, byte for byte
 */
export function digestAfter(
  { bidCount, sumMinor, chain }: Digest,
  event: LotEvent | null,
  text: string,
): Digest {
  const next = createHash("sha1").update(chain).update(text).digest("hex");
  if (event?.type !== "bid_accepted") return { bidCount, sumMinor, chain: next };
  const sum = (sumMinor + (event.amountMinor % SUM_MODULUS)) % SUM_MODULUS;
  return { bidCount: bidCount + 1, sumMinor: sum, chain: next };
}

/** Reads it from a lot's hash. */
export function digestOf(fields: Readonly<Record<string, string>>): Digest {
  const number = (name: string) => Number(fields[name] ?? "0");
  return {
    bidCount: number("bidCount"),
    sumMinor: number("sumMinor"),
    chain: fields["chain"] ?? "",
  };
}
