import { existsSync } from "node:fs";
import {
  type ArchivedAuction,
  type ArchiveReader,
  readArchive,
} from "../../services/archival/postgres/read-archive.ts";
import { eventOfRow } from "../../services/lot/checker/archive-rows.ts";
import {
  type CheckResult,
  checkHistory,
  type CheckerOptions,
} from "../../services/lot/checker/checker.ts";
import { decodeHistory, type HistoryRecord } from "../../services/lot/checker/history.ts";
import { Verdicts } from "../../services/lot/checker/verdicts.ts";
import { decodeEvent, type LotEvent } from "../../services/lot/events.ts";
import type { Terms } from "../../services/lot/terms.ts";
import { readSecretFile } from "../../services/runtime/secret-file.ts";
import type { Invocation } from "../command.ts";
import { readLines } from "../../services/runtime/read-lines.ts";
import { EXIT_CODES } from "./check-exit-codes.ts";
import { CHECK_USAGE, type CheckOptions, parseCheckOptions } from "./check-options.ts";
import { type CheckedAuction, reportOf } from "./check-report.ts";

/** Checks an archive or a file of events, and the histories of bidders and viewers against it. */
export async function check({ folder, terminal, args }: Invocation): Promise<number> {
  let options: CheckOptions;
  try {
    options = parseCheckOptions(args);
  } catch (error) {
    process.stderr.write(`gavel: ${(error as Error).message}\n\n${CHECK_USAGE}\n`);
    return EXIT_CODES.usage;
  }
  const auctions =
    options.events !== undefined
      ? [checkFile(options.events, options)]
      : await checkArchive(options, options.archive ?? folder.urlFile("postgres"));
  const holds = auctions.every(({ verdicts }) => verdicts.length === 0);
  terminal.say(options.json ? JSON.stringify({ holds, auctions }) : reportOf(auctions));
  return holds ? EXIT_CODES.holds : EXIT_CODES.verdict;
}

async function checkArchive(options: CheckOptions, urlFile: string): Promise<CheckedAuction[]> {
  if (!existsSync(urlFile)) {
    const hint = options.archive === undefined ? ": make up creates the archive" : "";
    throw new Error(`${urlFile} does not exist${hint}`);
  }
  return readArchive(readSecretFile(urlFile), async (archive) => {
    const known = await archive.auctions();
    const { auction, histories } = options;
    const named = known.filter(({ auctionUid }) => auction === undefined || auctionUid === auction);
    if (named.length === 0) {
      throw new Error(auction === undefined ? "the archive is empty" : `no auction ${auction}`);
    }
    const selected = histories.length > 0 ? named.slice(0, 1) : named;
    const checked: CheckedAuction[] = [];
    for (const one of selected) checked.push(await checkAuction(archive, one, options));
    return checked;
  });
}

async function checkAuction(
  archive: ArchiveReader,
  { auctionUid, name, definition, fencedAtMs }: ArchivedAuction,
  options: CheckOptions,
): Promise<CheckedAuction> {
  const lotId = options.lot ?? null;
  const scope = { auctionUid, lotId };
  const terms = new Map<string, Terms>();
  for (const lot of definition.lots) {
    if (lotId !== null && lot.lotId !== lotId) continue;
    const { startMinor, reserveMinor } = lot;
    terms.set(lot.lotId, { startMinor, reserveMinor, rules: definition.rules });
  }
  const found = new Verdicts();
  const log: LotEvent[] = [];
  for await (const row of archive.events(scope)) {
    const event = eventOfRow(row, found);
    if (event !== null) log.push(event);
  }
  if (lotId !== null && terms.size === 0 && log.length === 0) {
    throw new Error(`auction ${auctionUid} has no lot ${lotId}`);
  }
  const rows = {
    bids: await archive.bids(scope),
    results: await archive.results(scope),
    lots: await archive.lots(scope),
    deadLetters: await archive.deadLetters(scope),
  };
  return {
    auctionUid,
    name,
    ...checkLog(log, options, { terms, found, fencedAtMs, archive: rows }),
  };
}

function checkFile(path: string, options: CheckOptions): CheckedAuction {
  const log: LotEvent[] = [];
  let number = 0;
  for (const line of readLines(path)) {
    number++;
    if (line.trim() === "") continue;
    try {
      const event = decodeEvent(line);
      if (options.lot === undefined || event.lotId === options.lot) log.push(event);
    } catch (error) {
      throw new Error(`${path}: line ${number}: ${(error as Error).message}`, { cause: error });
    }
  }
  return { auctionUid: null, name: path, ...checkLog(log, options, {}) };
}

function checkLog(
  log: readonly LotEvent[],
  { histories, partial, ended, settled, lot }: CheckOptions,
  archiveOptions: CheckerOptions,
): CheckResult {
  const isSelected = (record: HistoryRecord): boolean =>
    lot === undefined ||
    record.op === "connected" ||
    (record.op === "frame" ? (record.frame["lotId"] ?? lot) : record.lotId) === lot;
  function* records(): Generator<HistoryRecord> {
    for (const path of histories) {
      try {
        for (const record of decodeHistory(readLines(path))) if (isSelected(record)) yield record;
      } catch (error) {
        throw new Error(`${path}: ${(error as Error).message}`, { cause: error });
      }
    }
  }
  const complete = histories.length > 0 && !partial;
  return checkHistory(records(), log, { ...archiveOptions, complete, ended, settled });
}
