/** The auction of a fault run: lots that stay open for the whole run, and lots that close during it. */
import { randomUUID } from "node:crypto";
import type { AuctionDefinition } from "../services/store/define-lots.ts";

/** Load without faults, before the first fault. */
export const WARM_UP_MS = 2_000;
const LONG_LOTS = 12;
const SHORT_LOT_EVERY_MS = 5_000;
const STEP_MINOR = 1;
/** Between the last fault and the close of the long lots: time for the last retries. */
const LAST_BIDS_MS = 8_000;

export function faultAuction(durationMs: number): AuctionDefinition {
  const shortLots = Math.floor(durationMs / SHORT_LOT_EVERY_MS);
  const lot = (lotId: string, lastsMs: number) => ({
    lotId,
    title: lotId,
    startMinor: 1_000,
    reserveMinor: null,
    closesAtMs: null,
    lastsMs,
    withdrawn: false,
  });
  return {
    uid: randomUUID(),
    generation: 0,
    name: "faults",
    title: "Faults",
    currency: "EUR",
    minorUnitDigits: 2,
    opensAtMs: null,
    suspended: false,
    rules: {
      increments: [{ fromMinor: 0, stepMinor: STEP_MINOR }],
      antiSniping: { windowMs: 1_500, extensionMs: 700, maxExtensions: 20 },
      maxAmountMinor: 1_000_000_000_000,
      maxJump: 1_000,
      reserveDisclosure: "MetOnly",
    },
    lots: [
      ...Array.from({ length: LONG_LOTS }, (_, n) =>
        lot(`long-${n + 1}`, WARM_UP_MS + durationMs + LAST_BIDS_MS),
      ),
      ...Array.from({ length: shortLots }, (_, n) =>
        lot(`short-${n + 1}`, WARM_UP_MS + (n + 1) * SHORT_LOT_EVERY_MS - 2_000),
      ),
    ],
  };
}
