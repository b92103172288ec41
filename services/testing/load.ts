/** Bidders that retry through every outage, a viewer beside them, and the comparison with the archive. */
import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { Client } from "pg";
import type { Position } from "../lot/position.ts";
import type { RunningAuction } from "./running-auction.ts";
import { until } from "./until.ts";
import { connectViewer, type TestViewer } from "./viewer.ts";

export interface Acknowledged extends Position {
  readonly bidId: string;
  readonly amountMinor: number;
  readonly placedAtMs: number;
  readonly key: string;
}

/** Between two bids of a bidder, and before a repetition: what interleaves matters, not how much of it. */
const PAUSE_MS = 15;
const RETRY_MS = 40;
/** Each query of the archive opens a connection. */
const ARCHIVE_POLL_MS = 100;

/** Places bids on one lot until it is stopped. A bid without an answer is sent again with its key. */
export class BidLoad {
  readonly acknowledged: Acknowledged[] = [];
  #amountMinor: number;
  #over = false;
  readonly #auction: RunningAuction;
  readonly #lotId: string;
  readonly #bidders: Promise<void>[];

  constructor(auction: RunningAuction, lotId: string, bidders = 8, fromMinor = 1_000) {
    this.#auction = auction;
    this.#lotId = lotId;
    this.#amountMinor = fromMinor;
    this.#bidders = Array.from({ length: bidders }, (_, n) => this.#bid(`bidder-${n}`));
  }

  async #bid(bidderId: string): Promise<void> {
    const token = await this.#auction.token(bidderId);
    while (!this.#over) {
      const key = randomUUID();
      const body = JSON.stringify({ amountMinor: (this.#amountMinor += 500) });
      const decided = async (): Promise<boolean> => {
        const response = await fetch(`${this.#auction.gatewayUrl}/v1/lots/${this.#lotId}/bids`, {
          method: "POST",
          body,
          headers: {
            "content-type": "application/json",
            "idempotency-key": key,
            authorization: `Bearer ${token}`,
          },
          signal: AbortSignal.timeout(3_000),
        });
        const answer = (await response.json()) as Acknowledged;
        if (response.status === 201) this.acknowledged.push({ ...answer, key });
        if (response.status === 201 || response.status === 409 || this.#over) return true;
        await pause(RETRY_MS);
        return false;
      };
      await until("the bid is decided", decided);
      await pause(PAUSE_MS);
    }
  }

  /** Waits until that many more bids are acknowledged. */
  async more(bids: number): Promise<void> {
    const before = this.acknowledged.length;
    await until("bids are acknowledged", () => this.acknowledged.length >= before + bids);
  }

  async stop(): Promise<void> {
    this.#over = true;
    await Promise.all(this.#bidders);
  }
}

interface Shown {
  /** The leading amount of every frame that has one, in order; null: no bid yet. */
  readonly leadingMinor: (number | null)[];
  readonly epochs: Set<number>;
  /** Snapshots that say that events were lost. */
  readonly lossesShown: number;
}

/** Connects a viewer that watches the lot. */
export async function watchLot(
  auction: RunningAuction,
  lotId: string,
): Promise<{ viewer: TestViewer; shown(): Shown }> {
  const viewer = await connectViewer(auction.streamUrl);
  await until("the lot is shown", async () => {
    viewer.send({ type: "subscribe", lots: [lotId] });
    const frame = await viewer.next(({ type }) => type === "snapshot" || type === "error");
    return frame.type === "snapshot";
  });
  return {
    viewer,
    shown() {
      const frames = viewer.frames.filter((frame) => frame["lotId"] === lotId);
      const said = frames.filter(({ type }) => type === "snapshot" || type === "bid_accepted");
      return {
        leadingMinor: said.map(({ type, ...frame }) =>
          type === "snapshot" ? (frame["leadingBid"]?.amountMinor ?? null) : frame["amountMinor"],
        ),
        epochs: new Set(said.map((frame) => frame["epoch"] as number)),
        lossesShown: frames.filter((frame) => frame["recovered"] === false).length,
      };
    },
  };
}

/** How many amounts are below one that was shown before. */
export function countLowered({ leadingMinor }: Shown): number {
  let highest = 0;
  let count = 0;
  for (const amount of leadingMinor) {
    if ((amount ?? 0) < highest) count++;
    highest = Math.max(highest, amount ?? 0);
  }
  return count;
}

/** Queries the archive on a connection of its own. `$1` is the auction. */
export async function queryArchive<Row>(auction: RunningAuction, sql: string): Promise<Row[]> {
  const client = new Client({ connectionString: auction.postgresUrl, query_timeout: 10_000 });
  client.on("error", () => {});
  await client.connect();
  try {
    return (await client.query(sql, [auction.uid])).rows as Row[];
  } finally {
    await client.end();
  }
}

/** Waits until the archive has the last bid. @returns the bids that the archive does not have */
export async function findMissing(
  auction: RunningAuction,
  acknowledged: readonly Acknowledged[],
): Promise<Acknowledged[]> {
  const last = acknowledged.at(-1)!;
  const sql = "select bid_id from bids where auction_uid = $1";
  const archived = await until("the last bid is archived", async () => {
    const rows = await queryArchive<{ bid_id: string }>(auction, sql);
    const ids = new Set(rows.map(({ bid_id }) => bid_id));
    if (ids.has(last.bidId)) return ids;
    await pause(ARCHIVE_POLL_MS);
    return null;
  });
  return acknowledged.filter(({ bidId }) => !archived.has(bidId));
}
