/** Runs the checker on the histories of the load and the archive. */
import { Client } from "pg";
import { readLines } from "../services/runtime/read-lines.ts";
import { type EventRow, eventOfRow } from "../services/lot/checker/archive-rows.ts";
import { type CheckResult, checkHistory } from "../services/lot/checker/checker.ts";
import { decodeHistory, type HistoryRecord } from "../services/lot/checker/history.ts";
import { Verdicts } from "../services/lot/checker/verdicts.ts";
import type { LotEvent } from "../services/lot/events.ts";
import type { Terms } from "../services/lot/terms.ts";
import type { AuctionDefinition } from "../services/store/define-lots.ts";

const PAGE_ROWS = 50_000;

function* readHistory(paths: readonly string[]): Generator<HistoryRecord> {
  for (const path of paths) yield* decodeHistory(readLines(path));
}

/** The archived events by lot, read page by page. */
async function readArchive(
  client: Client,
  auctionUid: string,
  found: Verdicts,
): Promise<Map<string, LotEvent[]>> {
  const log = new Map<string, LotEvent[]>();
  for (let after = ["", 0, 0] as [string, number, number]; ;) {
    const { rows } = await client.query<EventRow>(
      `select lot_id as "lotId", epoch::float8, seq::float8, type, body,
              round(extract(epoch from at) * 1000)::float8 as "atMs"
       from events where auction_uid = $1 and (lot_id, epoch, seq) > ($2, $3, $4)
       order by lot_id, epoch, seq limit ${PAGE_ROWS}`,
      [auctionUid, ...after],
    );
    for (const row of rows) {
      const event = eventOfRow(row, found);
      if (event === null) continue;
      const events = log.get(row.lotId);
      if (events) events.push(event);
      else log.set(row.lotId, [event]);
    }
    const last = rows.at(-1);
    if (rows.length < PAGE_ROWS || last === undefined) return log;
    after = [last.lotId, last.epoch, last.seq];
  }
}

export interface Judgement extends CheckResult {
  /** Events that were not archived. */
  readonly deadLetters: number;
  /** The archived events by lot. */
  readonly log: ReadonlyMap<string, readonly LotEvent[]>;
}

export async function judge(
  definition: AuctionDefinition,
  historyFiles: readonly string[],
  postgresUrl: string,
): Promise<Judgement> {
  const client = new Client({ connectionString: postgresUrl, query_timeout: 120_000 });
  await client.connect();
  try {
    const found = new Verdicts();
    const log = await readArchive(client, definition.uid, found);
    const { rows } = await client.query<{ reason: string; detail: string }>(
      "select reason, detail from dead_letters where auction_uid = $1 and replayed_at is null",
      [definition.uid],
    );
    for (const row of rows) found.add("dead_letter", "", `${row.reason}: ${row.detail}`, [row]);
    const terms = new Map<string, Terms>(
      definition.lots.map(({ lotId, startMinor, reserveMinor }) => {
        return [lotId, { startMinor, reserveMinor, rules: definition.rules }];
      }),
    );
    const options = { terms, found, complete: true, ended: true, settled: true };
    return {
      ...checkHistory(readHistory(historyFiles), log, options),
      deadLetters: rows.length,
      log,
    };
  } finally {
    await client.end();
  }
}
