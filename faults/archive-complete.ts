/** Waits until every lot is closed in Redis and the archive holds its last event. */
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "pg";
import type { AuctionDefinition } from "../services/store/define-lots.ts";
import { connectStore, type Store } from "../services/store/connect.ts";
import { keysOf } from "../services/store/keys.ts";
import { until } from "../services/testing/until.ts";

const TIMEOUT_MS = 600_000;
/** After so long without a new event the archive is judged as it is. */
const STALL_MS = 45_000;
const LOG_EVERY_MS = 5_000;

interface Progress {
  readonly openLots: number;
  readonly archivedLots: number;
  readonly events: number;
}

/** Returns, too, when the archive makes no more progress: then the checker reports what is missing. */
export async function waitForCompleteArchive(
  definition: AuctionDefinition,
  urls: { readonly redis: string; readonly postgres: string },
  log: (line: string) => void,
): Promise<void> {
  const store = connectStore(urls.redis, "faults");
  store.on("error", () => {});
  await store.connect();
  const client = new Client({ connectionString: urls.postgres, query_timeout: 30_000 });
  await client.connect();
  const lots = definition.lots.length;
  let loggedMs = performance.now();
  let progressedMs = performance.now();
  let events = -1;
  const isOver = async (): Promise<boolean> => {
    await sleep(500);
    const now = await progressOf(definition, store, client);
    const nowMs = performance.now();
    if (now.events !== events) {
      events = now.events;
      progressedMs = nowMs;
    } else if (nowMs - progressedMs > STALL_MS) {
      log(`archive stalled at ${now.archivedLots} of ${lots} lots: it is judged as it is`);
      return true;
    }
    if (nowMs - loggedMs > LOG_EVERY_MS) {
      loggedMs = nowMs;
      log(`waiting: ${now.openLots} lots open, ${now.archivedLots} of ${lots} archived`);
    }
    return now.openLots === 0 && now.archivedLots === lots;
  };
  try {
    await until("every lot is archived", isOver, TIMEOUT_MS).catch((error: unknown) =>
      log(String(error)),
    );
  } finally {
    store.disconnect();
    await client.end();
  }
}

async function progressOf(
  definition: AuctionDefinition,
  store: Store,
  client: Client,
): Promise<Progress> {
  const keys = keysOf(definition.uid);
  const statuses = await Promise.all(
    definition.lots.map(({ lotId }) => store.hget(keys.lot(lotId).lot, "status")),
  );
  const { rows } = await client.query<{ archived: string; events: string }>(
    `select count(*) filter (where type in ('lot_closed', 'lot_withdrawn')) as archived,
            count(*) as events
     from events where auction_uid = $1`,
    [definition.uid],
  );
  return {
    openLots: statuses.filter((status) => status !== "closed" && status !== "withdrawn").length,
    archivedLots: Number(rows[0]!.archived),
    events: Number(rows[0]!.events),
  };
}
