import { existsSync, readFileSync } from "node:fs";
import { readRun } from "../../operator/local/run-record.ts";
import { connectArchive } from "../../services/archival/postgres/connection.ts";
import { type Restored, restore as putBack } from "../../services/archival/recovery/restore.ts";
import { connectBus } from "../../services/bus/connect.ts";
import { pause } from "../../services/runtime/lifecycle.ts";
import { createLog } from "../../services/runtime/log.ts";
import { readSecretFile } from "../../services/runtime/secret-file.ts";
import { connectStore, type Store } from "../../services/store/connect.ts";
import { type Keys, keysOf } from "../../services/store/keys.ts";
import { holdLease, releaseLease } from "../../services/store/lifecycle.ts";
import { readAuction } from "../../services/store/lots.ts";
import { askForRestore, RESTORE_ASKED } from "../../services/store/restore.ts";
import type { Context } from "../commands.ts";

export const RESTORE_HELP = `usage: gavel restore [--force]

  put the auction back into Redis from the archive; asks first

Redis gets what Postgres has, and what JetStream has beyond that, under a higher epoch: no amount goes
back, closed lots stay closed, keys of the last 10 to 20 minutes are answered as before. What neither
has is lost. Nobody can bid until it is complete. Archival does the same by itself when it finds that
Redis lost the auction; this is for doing it by hand.

  --force   although Redis has the auction: what it has and the archive lacks stays
  YES=1     go ahead without asking

Exit codes: 0 restored, 1 refused or failed, 2 wrong words, 3 nothing runs (make up restores by itself)
`;

const COMMAND_TIMEOUT_MS = 5_000;
const LEASE_MS = 60_000;
/** A running archival does it within a second or two; one that is gone keeps its lease for 5 s. */
const WAIT_MS = 20_000;

export async function restore({ folder, terminal, words }: Context): Promise<number> {
  if (words.some((word) => word !== "--force")) {
    process.stderr.write(RESTORE_HELP);
    return 2;
  }
  if (readRun(folder) === null || !existsSync(folder.rulesFile)) {
    terminal.say(`nothing runs from ${folder.path}: make up starts it, and restores what is lost`);
    return 3;
  }
  const { uid } = JSON.parse(readFileSync(folder.rulesFile, "utf8")) as { uid: string };
  const keys = keysOf(uid);
  const store = connectStore(
    readSecretFile(folder.urlFile("redis")),
    "gavel-restore",
    COMMAND_TIMEOUT_MS,
  );
  store.on("error", () => {}); // Its commands fail with it.
  await store.connect();
  try {
    const before = await readAuction(store, keys);
    if (before !== null && !words.includes("--force")) {
      terminal.say(`Redis has auction ${uid} (epoch ${before.epoch}): nothing to restore.`);
      terminal.say("--force restores it nevertheless: see gavel restore --help");
      return 1;
    }
    terminal.say(`This writes auction ${uid} into Redis, from the archive, under a higher epoch.`);
    if (before !== null) terminal.say("Redis has it: nobody can bid until it is done.");
    if (!(await terminal.confirmDeletion("Restore?"))) {
      terminal.say("Nothing was done. (YES=1 answers for you.)");
      return 1;
    }
    if (before !== null) await askForRestore(store, keys);
    return await restoreOrWatch(
      store,
      keys,
      before?.epoch ?? 0,
      async () => {
        const restored = await putBackFrom(folder, uid, keys);
        for (const line of linesOf(restored)) terminal.say(line);
      },
      terminal.say,
    );
  } finally {
    store.disconnect();
  }
}

/** Either a running archival does it, or we do, under its lease: never both at once. */
async function restoreOrWatch(
  store: Store,
  keys: Keys,
  epoch: number,
  work: () => Promise<void>,
  say: (line: string) => void,
): Promise<number> {
  const holder = `gavel-restore-${process.pid}`;
  const deadline = Date.now() + WAIT_MS;
  while (Date.now() < deadline) {
    const auction = await readAuction(store, keys);
    if (auction !== null && auction.epoch > epoch && auction.confirmedServer !== RESTORE_ASKED) {
      say(`Restored by archival: ${auction.lotIds.length} lots, epoch ${auction.epoch}.`);
      return 0;
    }
    if (await holdLease(store, keys, "relay", holder, LEASE_MS)) {
      try {
        await work();
        return 0;
      } finally {
        await releaseLease(store, keys, "relay", holder);
      }
    }
    await pause(250);
  }
  say("archival is at it, and has not finished: see make logs TIER=archival");
  return 1;
}

async function putBackFrom(folder: Context["folder"], uid: string, keys: Keys): Promise<Restored> {
  const archive = connectArchive(
    () => readSecretFile(folder.urlFile("postgres")),
    () => {},
  );
  const bus = await connectBus(() => readSecretFile(folder.urlFile("nats")), "gavel-restore");
  try {
    return await putBack({
      of: { auctionUid: uid, partition: 0 },
      readStoreUrl: () => readSecretFile(folder.urlFile("redis")),
      keys,
      archive,
      bus,
      maxBytes: OUTBOX_MAX_BYTES,
      log: createLog("restore", "error"),
    });
  } finally {
    await bus.connection.close();
    await archive.end();
  }
}

/** As archival's own default; it writes its own when it defines the auction next. */
const OUTBOX_MAX_BYTES = 256 * 1024 ** 2;

function linesOf({ epoch, lots, behind, fromStream, lastKnownAtMs }: Restored): string[] {
  const last = lastKnownAtMs === null ? "none" : new Date(lastKnownAtMs).toISOString();
  return [
    `Restored: ${lots} lots, epoch ${epoch}.`,
    `  Redis had less than the archive of: ${behind.length === 0 ? "none" : behind.join(", ")}`,
    `  from JetStream, not in Postgres before: ${fromStream} events`,
    `  latest event known: ${last}; what was acknowledged after it is lost, if there was any`,
  ];
}
