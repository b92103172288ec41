/** Reads whole auctions from the archive in one snapshot, for the checker. */
import pg from "pg";
import type {
  BidRow,
  DeadLetterRow,
  EventRow,
  LotRow,
  ResultRow,
} from "../../lot/checker/archive-rows.ts";
import { currentDefinition, type StoredDefinition } from "./auctions.ts";
import type { AuctionDefinition } from "../../store/define-lots.ts";
import { WAITING } from "./dead-letters.ts";
import { epochMs } from "./time.ts";
import { begin } from "./transaction.ts";
import { READ_NUMBERS } from "./numbers.ts";

const CONNECT_TIMEOUT_MS = 3_000;
/** A page is an index scan, however large the archive is. */
const STATEMENT_TIMEOUT_MS = 30_000;
const PAGE_ROWS = 10_000;

export interface ArchivedAuction {
  readonly auctionUid: string;
  readonly name: string;
  /** The rules that the store took last. */
  readonly definition: AuctionDefinition;
  /** When the auction was fenced, by Redis's clock; null if it was not. */
  readonly fencedAtMs: number | null;
}

/** What to read: one lot, or all lots of an auction (null). */
interface Selection {
  readonly auctionUid: string;
  readonly lotId: string | null;
}

const POSITION = `lot_id as "lotId", epoch, seq`;
const LEADER = `bidder_id as "bidderId", bid_id as "bidId", amount_minor as "amountMinor"`;
const WHERE = `where auction_uid = $1 and ($2::text is null or lot_id = $2)`;

/** Reads the rows of one auction, page by page, all in the snapshot of its transaction. */
export class ArchiveReader {
  readonly #session: pg.Client;
  #cursors = 0;

  constructor(session: pg.Client) {
    this.#session = session;
  }

  /** The auction registered last comes first. */
  async auctions(): Promise<ArchivedAuction[]> {
    const { rows } = await this.#session.query<
      Omit<ArchivedAuction, "definition"> & { definition: StoredDefinition }
    >(
      `select auction_uid as "auctionUid", name, rules as definition, ${epochMs("fenced_at")} as "fencedAtMs"
       from public.auctions
       order by registered_at desc, auction_uid`,
    );
    return rows.map((row) => ({ ...row, definition: currentDefinition(row.definition) }));
  }

  /** In the order of each lot. */
  events(selection: Selection): AsyncGenerator<EventRow> {
    return this.#rows(
      `select ${POSITION}, type, ${epochMs("at")} as "atMs", body from public.events ${WHERE}
       order by lot_id, epoch, seq`,
      selection,
    );
  }

  bids(selection: Selection): Promise<BidRow[]> {
    return this.#all(
      `select ${POSITION}, ${LEADER}, idempotency_key as key, ${epochMs("placed_at")} as "placedAtMs"
       from public.bids ${WHERE}`,
      selection,
    );
  }

  results(selection: Selection): Promise<ResultRow[]> {
    return this.#all(
      `select ${POSITION}, outcome, ${LEADER}, ${epochMs("closed_at")} as "closedAtMs" from public.results ${WHERE}`,
      selection,
    );
  }

  lots(selection: Selection): Promise<LotRow[]> {
    return this.#all(
      `select ${POSITION}, status, leading_bidder_id as "bidderId", leading_bid_id as "bidId",
         leading_amount_minor as "amountMinor", bid_count as "bidCount",
         ${epochMs("opens_at")} as "opensAtMs", ${epochMs("closes_at")} as "closesAtMs", extensions
       from public.lots ${WHERE}`,
      selection,
    );
  }

  /** The dead letters of the outbox that wait; those without a lot belong to every lot. */
  deadLetters(selection: Selection): Promise<DeadLetterRow[]> {
    return this.#all(
      `select dead_letter_id as "deadLetterId", lot_id as "lotId", reason, detail
       from public.dead_letters where auction_uid = $1 and ${WAITING} and outbox_id is not null
         and ($2::text is null or lot_id is null or lot_id = $2) order by dead_letter_id`,
      selection,
    );
  }

  async #all<Row>(sql: string, selection: Selection): Promise<Row[]> {
    const all: Row[] = [];
    for await (const row of this.#rows<Row>(sql, selection)) all.push(row);
    return all;
  }

  async *#rows<Row>(sql: string, { auctionUid, lotId }: Selection): AsyncGenerator<Row> {
    const cursor = `rows_${++this.#cursors}`;
    await this.#session.query(`declare ${cursor} no scroll cursor for ${sql}`, [auctionUid, lotId]);
    for (;;) {
      const { rows } = await this.#session.query(`fetch ${PAGE_ROWS} from ${cursor}`);
      yield* rows as Row[];
      if (rows.length < PAGE_ROWS) break;
    }
    await this.#session.query(`close ${cursor}`);
  }
}

/** Runs `work` in a read-only transaction. @throws the error of `work`, Postgres or the network */
export async function readArchive<T>(
  url: string,
  work: (archive: ArchiveReader) => Promise<T>,
): Promise<T> {
  const session = new pg.Client({
    connectionString: url,
    application_name: "gavel-verify",
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: STATEMENT_TIMEOUT_MS + 1_000,
    types: READ_NUMBERS,
  });
  session.on("error", () => {}); // The running query rejects with the same error.
  try {
    await session.connect();
    await session.query(begin("repeatable read, read only", STATEMENT_TIMEOUT_MS));
    return await work(new ArchiveReader(session));
  } finally {
    await session.end().catch(() => {});
  }
}
