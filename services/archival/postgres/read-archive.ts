/** Reads whole auctions out of the archive, as of one instant, for whoever judges them. */
import pg from "pg";
import type {
  BidRow,
  DeadLetterRow,
  EventRow,
  LotRow,
  ResultRow,
} from "../../lot/checker/archive-rows.ts";
import type { AuctionDefinition } from "../../store/define-lots.ts";

const CONNECT_TIMEOUT_MS = 3_000;
/** Of one page: an index scan, however large the archive is. */
const STATEMENT_TIMEOUT_MS = 30_000;
const PAGE_ROWS = 10_000;

export interface ArchivedAuction {
  readonly auctionUid: string;
  readonly name: string;
  /** Its rules file, as last registered. */
  readonly definition: AuctionDefinition;
  /** When all intake ended for good, by Redis's clock; null: it did not. */
  readonly fencedAtMs: number | null;
}

/** Of one lot, or with null of all lots. */
export interface Part {
  readonly auctionUid: string;
  readonly lotId: string | null;
}

/** A time as whole ms since 1970; exact, as all that is archived is whole ms. */
const ms = (column: string) => `(extract(epoch from ${column}) * 1000)::float8`;

const PLACE = `lot_id as "lotId", epoch::float8, seq::float8`;
const LEADER = `bidder_id as "bidderId", bid_id as "bidId", amount_minor::float8 as "amountMinor"`;
const OF = `where auction_uid = $1 and ($2::text is null or lot_id = $2)`;

/** Rows of one auction, page by page, all as of when the archive was opened. */
export class ArchiveReader {
  readonly #session: pg.Client;
  #cursors = 0;

  constructor(session: pg.Client) {
    this.#session = session;
  }

  /** The latest registered first. */
  async auctions(): Promise<ArchivedAuction[]> {
    const { rows } = await this.#session.query<ArchivedAuction>(
      `select auction_uid as "auctionUid", name, rules as definition, ${ms("fenced_at")} as "fencedAtMs"
       from auctions
       order by registered_at desc, auction_uid`,
    );
    return rows;
  }

  /** In their lots' order. */
  events(of: Part): AsyncGenerator<EventRow> {
    return this.#rows(
      `select ${PLACE}, type, ${ms("at")} as "atMs", body from events ${OF}
       order by lot_id, epoch, seq`,
      of,
    );
  }

  bids(of: Part): Promise<BidRow[]> {
    return this.#all(
      `select ${PLACE}, ${LEADER}, idempotency_key as key, ${ms("placed_at")} as "placedAtMs"
       from bids ${OF}`,
      of,
    );
  }

  results(of: Part): Promise<ResultRow[]> {
    return this.#all(
      `select ${PLACE}, outcome, ${LEADER}, ${ms("closed_at")} as "closedAtMs" from results ${OF}`,
      of,
    );
  }

  lots(of: Part): Promise<LotRow[]> {
    return this.#all(
      `select ${PLACE}, status, leading_bidder_id as "bidderId", leading_bid_id as "bidId",
         leading_amount_minor::float8 as "amountMinor", bid_count::float8 as "bidCount",
         ${ms("opens_at")} as "opensAtMs", ${ms("closes_at")} as "closesAtMs", extensions
       from lots ${OF}`,
      of,
    );
  }

  /** Those that still could not be archived; those of no lot belong to every part. */
  deadLetters(of: Part): Promise<DeadLetterRow[]> {
    return this.#all(
      `select dead_letter_id::float8 as "deadLetterId", lot_id as "lotId", reason, detail
       from dead_letters where auction_uid = $1 and replayed_at is null
         and ($2::text is null or lot_id is null or lot_id = $2) order by dead_letter_id`,
      of,
    );
  }

  async #all<Row>(sql: string, of: Part): Promise<Row[]> {
    const all: Row[] = [];
    for await (const row of this.#rows<Row>(sql, of)) all.push(row);
    return all;
  }

  async *#rows<Row>(sql: string, { auctionUid, lotId }: Part): AsyncGenerator<Row> {
    const cursor = `part_${++this.#cursors}`;
    await this.#session.query(`declare ${cursor} no scroll cursor for ${sql}`, [auctionUid, lotId]);
    for (;;) {
      const { rows } = await this.#session.query(`fetch ${PAGE_ROWS} from ${cursor}`);
      yield* rows as Row[];
      if (rows.length < PAGE_ROWS) break;
    }
    await this.#session.query(`close ${cursor}`);
  }
}

/** @throws what Postgres or the network said; nothing is changed, whatever happens */
export async function readArchive<T>(
  url: string,
  work: (archive: ArchiveReader) => Promise<T>,
): Promise<T> {
  const session = new pg.Client({
    connectionString: url,
    application_name: "gavel-verify",
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: STATEMENT_TIMEOUT_MS + 1_000,
    statement_timeout: STATEMENT_TIMEOUT_MS,
  });
  session.on("error", () => {}); // told again by the query that it breaks
  try {
    await session.connect();
    await session.query("begin isolation level repeatable read, read only");
    return await work(new ArchiveReader(session));
  } finally {
    await session.end().catch(() => {});
  }
}
