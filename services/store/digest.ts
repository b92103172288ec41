/**
 * What a lot's hash keeps of all its events, so that an archive can be proved to have each of them: how many
 * bids, what they add up to, and a chain of hashes over the events' texts (append-event.lua).
 */
import { createHash } from "node:crypto";
import type { LotEvent } from "../lot/events.ts";

export interface Digest {
  /** Accepted bids. */
  readonly bidCount: number;
  /** Of their amounts, modulo 10^15: a double holds two such sums exactly. */
  readonly sumMinor: number;
  /** SHA-1, hex, of the chain before and the event's text; "" before the first event. */
  readonly chain: string;
}

export const NO_EVENTS: Digest = { bidCount: 0, sumMinor: 0, chain: "" };

const SUM_MODULUS = 1e15;

/**
 * @param event null for a text that is none: it is in the chain all the same
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

/** As a lot's hash has it. */
export function digestOf(fields: Readonly<Record<string, string>>): Digest {
  const number = (name: string) => Number(fields[name] ?? "0");
  return {
    bidCount: number("bidCount"),
    sumMinor: number("sumMinor"),
    chain: fields["chain"] ?? "",
  };
}
