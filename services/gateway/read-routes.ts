/** The public reads: the auction, its lots, their bids. */
import { invalid, ProblemError } from "../access/problem-edge.ts";
import { problem } from "../access/problems.ts";
import type { Lot } from "../lot/lot.ts";
import { viewOf } from "../lot/view.ts";
import type { Breaker } from "../runtime/breaker.ts";
import { type Store, storeClockMs } from "../store/connect.ts";
import type { Keys } from "../store/keys.ts";
import { readAuction, readLots, type StoredAuction } from "../store/lots.ts";
import { readHistory, positionOf } from "./bid-history.ts";
import {
  AuctionAnswer,
  HistoryAnswer,
  HistoryQuery,
  LotAnswer,
  LotParams,
  LotsAnswer,
  LotsQuery,
  problemAnswers,
} from "./schemas.ts";
import type { Server } from "./typed-server.ts";

export interface ReadOptions {
  readonly store: Store;
  readonly keys: Keys;
  readonly streamUrl: string;
  readonly archivalUrl: string;
  readonly archival: Breaker;
}

/** Lots read from the store in one call while a filtered page is filled. */
const LOTS_PER_READ = 200;

const ok = (schema: unknown) => ({
  200: { description: "Found", content: { "application/json": { schema } } },
});

export function readRoutes(app: Server, options: ReadOptions): void {
  auctionRoute(app, options);
  lotsRoute(app, options);
  lotRoute(app, options);
  historyRoute(app, options);
}

function auctionRoute(app: Server, { store, keys, streamUrl }: ReadOptions): void {
  const schema = {
    summary: "The auction",
    operationId: "getAuction",
    response: { ...ok(AuctionAnswer), ...problemAnswers() },
  };
  app.get("/v1/auction", { schema }, async () => {
    const [auction, serverTimeMs] = await Promise.all([
      auctionOf(store, keys),
      storeClockMs(store),
    ]);
    const lotCount = auction.lotIds.length;
    const suspended = auction.intake === "suspended";
    return { ...auction, suspended, serverTimeMs, streamUrl, lotCount };
  });
}

function lotsRoute(app: Server, { store, keys }: ReadOptions): void {
  const schema = {
    summary: "The lots, in the auction's order",
    operationId: "listLots",
    querystring: LotsQuery,
    response: { ...ok(LotsAnswer), ...problemAnswers("invalid") },
  };
  app.get("/v1/lots", { schema }, async (request) => {
    const { cursor, status } = request.query;
    const limit = Number(request.query.limit);
    const auction = await auctionOf(store, keys);
    let at = cursor === undefined ? 0 : auction.lotIds.indexOf(cursor) + 1;
    if (cursor !== undefined && at === 0) throw invalid("cursor", "is not of this list");

    const lots: Lot[] = [];
    while (at < auction.lotIds.length && lots.length < limit) {
      const size = status === undefined ? limit : LOTS_PER_READ;
      const lotIds = auction.lotIds.slice(at, at + size);
      const found = await readLots(store, keys, auction, lotIds);
      for (const lot of found) {
        if (lots.length === limit) break;
        at++;
        if (lot !== null && (status === undefined || lot.status === status)) lots.push(lot);
      }
    }
    const nextCursor = at < auction.lotIds.length ? auction.lotIds[at - 1]! : null;
    return { lots: lots.map(viewOf), nextCursor };
  });
}

function lotRoute(app: Server, { store, keys }: ReadOptions): void {
  const schema = {
    summary: "One lot",
    operationId: "getLot",
    params: LotParams,
    response: { ...ok(LotAnswer), ...problemAnswers("invalid", "unknown_lot") },
  };
  app.get("/v1/lots/:lotId", { schema }, async ({ params }) =>
    viewOf(await lotOf(store, keys, params.lotId)),
  );
}

function historyRoute(app: Server, options: ReadOptions): void {
  const { store, keys } = options;
  const schema = {
    summary: "A lot's accepted bids, newest first",
    operationId: "listBids",
    params: LotParams,
    querystring: HistoryQuery,
    response: { ...ok(HistoryAnswer), ...problemAnswers("invalid", "unknown_lot") },
  };
  app.get("/v1/lots/:lotId/bids", { schema }, async ({ params, query }) => {
    const { seq } = await lotOf(store, keys, params.lotId);
    if (seq === 0) return { bids: [], nextCursor: null };
    const before = query.cursor === undefined ? null : positionOf(query.cursor);
    return readHistory(options, params.lotId, before, Number(query.limit));
  });
}

async function auctionOf(store: Store, keys: Keys): Promise<StoredAuction> {
  const auction = await readAuction(store, keys);
  if (auction === null)
    throw new ProblemError(problem("unavailable", "The auction is not set up yet."));
  return auction;
}

async function lotOf(store: Store, keys: Keys, lotId: string): Promise<Lot> {
  const auction = await auctionOf(store, keys);
  const [lot] = await readLots(store, keys, auction, [lotId]);
  if (!lot)
    throw new ProblemError(problem("unknown_lot", "No lot of this auction has that lotId."));
  return lot;
}
