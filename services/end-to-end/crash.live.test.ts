/**
 * Each part of a running auction is killed with SIGKILL while bids are placed, and comes back. After
 * that every acknowledged bid must be in the archive, exactly as it was acknowledged, once; nothing
 * else may be there; and a viewer who resumes must have seen every event.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { Client } from "pg";
import { beforeAll, expect, test } from "vitest";
import { lotDefinition } from "../testing/auction.ts";
import { type RunningAuction, startAuction } from "../testing/running-auction.ts";
import { until } from "../testing/until.ts";
import { connectViewer, type TestViewer } from "../testing/viewer.ts";

const VICTIMS = ["gateway", "broadcast", "archival", "redis", "nats", "postgres"] as const;
const BIDDERS = 10;
/** Bids acknowledged before the kill, and again after the return. */
const ENOUGH = 60;
/** Of each bidder. */
const BETWEEN_BIDS_MS = 15;
/** Each query of the archive opens a connection. */
const ARCHIVE_POLL_MS = 100;

let auction: RunningAuction;
beforeAll(async () => {
  // A lot for each: a viewer resumes from its first event, and the store keeps only so many.
  auction = await startAuction({ lots: VICTIMS.map((victim) => lotDefinition(victim)) });
});

interface Acknowledged {
  readonly bidId: string;
  readonly amountMinor: number;
  readonly seq: number;
  readonly bidderId: string;
  readonly key: string;
}

let amountMinor = 1_000;

/** Bids until told to stop; what has no answer, or an unknown fate, is sent again with its key. */
async function bidder(
  lotId: string,
  bidderId: string,
  acknowledged: Acknowledged[],
  isOver: () => boolean,
): Promise<void> {
  const token = await auction.token(bidderId);
  while (!isOver()) {
    const key = randomUUID();
    const amount = (amountMinor += 500);
    await until("the bid is decided", async () => {
      const response = await fetch(`${auction.gatewayUrl}/v1/lots/${lotId}/bids`, {
        method: "POST",
        body: JSON.stringify({ amountMinor: amount }),
        headers: {
          "content-type": "application/json",
          "idempotency-key": key,
          authorization: `Bearer ${token}`,
        },
        signal: AbortSignal.timeout(3_000),
      });
      const answer = (await response.json()) as Acknowledged & { code?: string };
      if (response.status === 201) acknowledged.push({ ...answer, bidderId, key });
      else if (response.status === 503) {
        await pause(BETWEEN_BIDS_MS);
        return false;
      } else expect(answer.code).toBe("too_low");
      return true;
    });
    await pause(BETWEEN_BIDS_MS);
  }
}

/** Watches the lot for as long as told, resuming whenever the socket breaks. */
async function watch(lotId: string, seqs: number[], isOver: () => boolean): Promise<void> {
  let at = { epoch: 1, seq: 0 };
  while (!isOver()) {
    let viewer: TestViewer | null = null;
    try {
      viewer = await connectViewer(auction.streamUrl);
      viewer.send({ type: "subscribe", lots: [lotId], since: { [lotId]: at } });
      for (;;) {
        const frame = await viewer.next((one) => "seq" in one || one.type === "error", 500);
        if (frame.type === "error") break;
        if (frame.type === "snapshot") expect(frame["recovered"]).toBe(true);
        else seqs.push(frame["seq"]);
        at = { epoch: frame["epoch"], seq: frame["seq"] };
      }
    } catch (error) {
      if ((error as Error).name === "AssertionError") throw error;
      // The socket broke, or nothing came for a while: look whether it is over, and resume.
      await pause(20);
    } finally {
      viewer?.close();
    }
  }
}

/** On a connection of its own: Postgres is among those that are killed. */
async function archived<Row>(lotId: string, sql: string): Promise<Row[]> {
  const archive = new Client({ connectionString: auction.postgresUrl, query_timeout: 5_000 });
  await archive.connect();
  try {
    return (await archive.query(sql, [auction.uid, lotId])).rows as Row[];
  } finally {
    await archive.end();
  }
}

interface ArchivedBid {
  readonly bid_id: string;
  readonly bidder_id: string;
  readonly amount: number;
  readonly seq: number;
  readonly key: string;
}

test.for(VICTIMS)(
  "the %s is killed during bidding and comes back: every acknowledged bid is archived once and seen",
  async (victim) => {
    let over = false;
    let watched = false;
    const acknowledged: Acknowledged[] = [];
    const seen: number[] = [];
    const viewer = watch(victim, seen, () => watched);
    const bidders = Array.from({ length: BIDDERS }, (_, n) =>
      bidder(victim, `bidder-${n}`, acknowledged, () => over),
    );
    await until("bids are acknowledged", () => acknowledged.length > ENOUGH);
    await auction.parts[victim].kill();
    const atKill = acknowledged.length;
    await auction.parts[victim].restart();
    await until("bids are acknowledged again", () => acknowledged.length > atKill + ENOUGH);
    over = true;
    await Promise.all(bidders);

    const bids = await until("all of them are archived", async () => {
      const rows = await archived<ArchivedBid>(
        victim,
        `select bid_id, bidder_id, amount_minor::float8 as amount, seq::int, idempotency_key as key
           from bids where auction_uid = $1 and lot_id = $2 order by epoch, seq`,
      );
      if (rows.length >= acknowledged.length) return rows;
      await pause(ARCHIVE_POLL_MS);
      return null;
    });
    const inOrder = acknowledged.toSorted((a, b) => a.seq - b.seq);
    expect(bids).toEqual(
      inOrder.map(({ bidId, bidderId, amountMinor: amount, seq, key }) => {
        return { bid_id: bidId, bidder_id: bidderId, amount, seq, key };
      }),
    );
    const events = await archived<{ seq: number }>(
      victim,
      `select seq::int from events where auction_uid = $1 and lot_id = $2 order by epoch, seq`,
    );
    const seqs = events.map(({ seq }) => seq);
    expect(seqs).toEqual(seqs.map((_, i) => i + 1));

    const hasAll = () => seen.length >= seqs.length;
    await until("the viewer has seen as many", hasAll).finally(() => (watched = true));
    await viewer;
    expect(seen).toEqual(seqs);
    expect(
      await archived("", `select 1 from dead_letters where auction_uid = $1 and $2 = $2`),
    ).toEqual([]);
  },
);
