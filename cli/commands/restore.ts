import { readRun } from "../../operator/local/run-record.ts";
import { connectArchive } from "../../services/archival/postgres/connection.ts";
import {
  type Restored,
  restore as restoreStore,
} from "../../services/archival/recovery/restore.ts";
import { connectBus } from "../../services/bus/connect.ts";
import { pause } from "../../services/runtime/lifecycle.ts";
import { createLog } from "../../services/runtime/log.ts";
import { readSecretFile } from "../../services/runtime/secret-file.ts";
import { connectStore, type Store } from "../../services/store/connect.ts";
import { type Keys, keysOf } from "../../services/store/keys.ts";
import { holdLease, releaseLease } from "../../services/store/lease.ts";
import { readAuction } from "../../services/store/lots.ts";
import { DEFAULT_OUTBOX_MAX_BYTES } from "../../services/store/memory-budget.ts";
import { requestRestore, RESTORE_REQUESTED } from "../../services/store/restore.ts";
import type { Invocation } from "../command.ts";

export const RESTORE_HELP = `usage: gavel restore [--force]

  write the auction from the archive back into Redis; asks first

Writes into Redis what Postgres holds, and what JetStream holds beyond that, under a higher epoch.
Amounts never decrease, closed lots stay closed, and idempotency keys of the last 10 to 20 minutes get
their former answers. Bids that neither holds are lost. Nobody can bid until the restore is complete.
Archival restores by itself when it finds that Redis lost the auction; this command is for doing it by hand.

  --force   restore even when Redis has the auction; events that only Redis has are kept
  YES=1     do not ask

Exit codes: 0 restored, 1 refused or failed, 2 wrong arguments, 3 nothing runs (make up restores by itself)
`;

const COMMAND_TIMEOUT_MS = 5_000;
const LEASE_MS = 60_000;
/** A running archival restores within two seconds. The lease of one that died lasts 5 s. */
const WAIT_MS = 20_000;

export async function restore({ folder, terminal, args }: Invocation): Promise<number> {
  if (args.some((word) => word !== "--force")) {
    process.stderr.write(RESTORE_HELP);
    return 2;
  }
  const rules = folder.readRules();
  if (readRun(folder) === null || rules === null) {
    terminal.say(
      `nothing runs from ${folder.path}: make up starts the auction and restores what Redis lost`,
    );
    return 3;
  }
  const { uid } = rules;
  const keys = keysOf(uid);
  const store = connectStore(
    readSecretFile(folder.urlFile("redis")),
    "gavel-restore",
    COMMAND_TIMEOUT_MS,
  );
  store.on("error", () => {}); // The commands report it.
  await store.connect();
  try {
    const before = await readAuction(store, keys);
    if (before !== null && !args.includes("--force")) {
      terminal.say(`Redis has auction ${uid} (epoch ${before.epoch}): nothing to restore.`);
      terminal.say("--force restores it anyway: see gavel restore --help");
      return 1;
    }
    terminal.say(`This writes auction ${uid} into Redis, from the archive, under a higher epoch.`);
    if (before !== null)
      terminal.say("Redis has the auction: nobody can bid until the restore is complete.");
    if (!(await terminal.confirmDeletion("Restore?"))) {
      terminal.say("Nothing was restored. (YES=1 answers yes.)");
      return 1;
    }
    if (before !== null) await requestRestore(store, keys);
    return await restoreUnderLease(
      store,
      keys,
      before?.epoch ?? 0,
      async () => {
        const restored = await restoreFrom(folder, uid, keys);
        for (const line of linesOf(restored)) terminal.say(line);
      },
      terminal.say,
    );
  } finally {
    store.disconnect();
  }
}

/** Either a running archival restores, or this process does under archival's lease: never both at once. */
async function restoreUnderLease(
  store: Store,
  keys: Keys,
  epoch: number,
  restoreNow: () => Promise<void>,
  say: (line: string) => void,
): Promise<number> {
  const holder = `gavel-restore-${process.pid}`;
  const deadline = Date.now() + WAIT_MS;
  while (Date.now() < deadline) {
    const auction = await readAuction(store, keys);
    if (
      auction !== null &&
      auction.epoch > epoch &&
      auction.confirmedServer !== RESTORE_REQUESTED
    ) {
      say(`Restored by archival: ${auction.lotIds.length} lots, epoch ${auction.epoch}.`);
      return 0;
    }
    if (await holdLease(store, keys, "relay", holder, LEASE_MS)) {
      try {
        await restoreNow();
        return 0;
      } finally {
        await releaseLease(store, keys, "relay", holder);
      }
    }
    await pause(250);
  }
  say("archival is restoring and has not finished: see make logs TIER=archival");
  return 1;
}

async function restoreFrom(
  folder: Invocation["folder"],
  uid: string,
  keys: Keys,
): Promise<Restored> {
  const archive = connectArchive(
    () => readSecretFile(folder.urlFile("postgres")),
    () => {},
  );
  const bus = await connectBus(() => readSecretFile(folder.urlFile("nats")), "gavel-restore");
  try {
    return await restoreStore({
      auctionUid: uid,
      readStoreUrl: () => readSecretFile(folder.urlFile("redis")),
      keys,
      archive,
      bus,
      // Archival writes its own value when it next defines the auction.
      limits: { maxPendingBytes: DEFAULT_OUTBOX_MAX_BYTES },
      log: createLog("restore", "error"),
    });
  } finally {
    await bus.connection.close();
    await archive.end();
  }
}

function linesOf({ epoch, lots, behind, fromStream, lastKnownAtMs }: Restored): string[] {
  const last = lastKnownAtMs === null ? "none" : new Date(lastKnownAtMs).toISOString();
  return [
    `Restored: ${lots} lots, epoch ${epoch}.`,
    `  lots of which Redis had less than the archive: ${behind.length === 0 ? "none" : behind.join(", ")}`,
    `  events taken from JetStream that Postgres did not have: ${fromStream}`,
    `  latest known event: ${last}; bids acknowledged after it, if any, are lost`,
  ];
}
