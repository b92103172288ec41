import { existsSync } from "node:fs";
import type {
  ArchivedAuction,
  ArchiveReader,
} from "../../services/archival/postgres/read-archive.ts";
import { readArchive } from "../../services/archival/postgres/read-archive.ts";
import { eventOfRow } from "../../services/lot/checker/archive-rows.ts";
import { type Audit, audit, type AuditOptions } from "../../services/lot/checker/checker.ts";
import { decodeHistory, type HistoryRecord } from "../../services/lot/checker/history.ts";
import { Verdicts } from "../../services/lot/checker/verdicts.ts";
import { decodeEvent, type LotEvent } from "../../services/lot/events.ts";
import type { Terms } from "../../services/lot/terms.ts";
import { readSecretFile } from "../../services/runtime/secret-file.ts";
import type { Context } from "../commands.ts";
import { linesOf } from "../output/lines.ts";
import {
  EXIT_CODES,
  readVerifyOptions,
  VERIFY_USAGE,
  type VerifyOptions,
} from "./check-options.ts";
import { reportOf } from "./check-report.ts";

/** What was judged: an auction of the archive, or a file. */
export interface Judged extends Audit {
  readonly auctionUid: string | null;
  readonly name: string;
}

/** Judges an archive, and with it what clients saw. */
export async function verify({ folder, terminal, words }: Context): Promise<number> {
  let options: VerifyOptions;
  try {
    options = readVerifyOptions(words);
  } catch (error) {
    process.stderr.write(`gavel: ${(error as Error).message}\n\n${VERIFY_USAGE}\n`);
    return EXIT_CODES.usage;
  }
  const all =
    options.events !== undefined
      ? [judgeFile(options.events, options)]
      : await judgeArchive(options, options.archive ?? folder.urlFile("postgres"));
  const holds = all.every(({ verdicts }) => verdicts.length === 0);
  terminal.say(options.json ? JSON.stringify({ holds, auctions: all }) : reportOf(all));
  return holds ? EXIT_CODES.holds : EXIT_CODES.verdict;
}

async function judgeArchive(options: VerifyOptions, urlFile: string): Promise<Judged[]> {
  if (!existsSync(urlFile)) {
    const hint = options.archive === undefined ? ": make up makes an archive" : "";
    throw new Error(`${urlFile} is not there${hint}`);
  }
  return readArchive(readSecretFile(urlFile), async (archive) => {
    const known = await archive.auctions();
    const { auction, histories } = options;
    const named = known.filter(({ auctionUid }) => auction === undefined || auctionUid === auction);
    if (named.length === 0) {
      throw new Error(auction === undefined ? "the archive is empty" : `no auction ${auction}`);
    }
    const wanted = histories.length > 0 ? named.slice(0, 1) : named;
    const judged: Judged[] = [];
    for (const one of wanted) judged.push(await judgeAuction(archive, one, options));
    return judged;
  });
}

async function judgeAuction(
  archive: ArchiveReader,
  { auctionUid, name, definition, fencedAtMs }: ArchivedAuction,
  options: VerifyOptions,
): Promise<Judged> {
  const lotId = options.lot ?? null;
  const of = { auctionUid, lotId };
  const terms = new Map<string, Terms>();
  for (const lot of definition.lots) {
    if (lotId !== null && lot.lotId !== lotId) continue;
    const { startMinor, reserveMinor } = lot;
    terms.set(lot.lotId, { startMinor, reserveMinor, rules: definition.rules });
  }
  const found = new Verdicts();
  const log: LotEvent[] = [];
  for await (const row of archive.events(of)) {
    const event = eventOfRow(row, found);
    if (event !== null) log.push(event);
  }
  if (lotId !== null && terms.size === 0 && log.length === 0) {
    throw new Error(`auction ${auctionUid} has no lot ${lotId}`);
  }
  const rows = {
    bids: await archive.bids(of),
    results: await archive.results(of),
    lots: await archive.lots(of),
    deadLetters: await archive.deadLetters(of),
  };
  return { auctionUid, name, ...judge(log, options, { terms, found, fencedAtMs, archive: rows }) };
}

function judgeFile(path: string, options: VerifyOptions): Judged {
  const log: LotEvent[] = [];
  let number = 0;
  for (const line of linesOf(path)) {
    number++;
    if (line.trim() === "") continue;
    try {
      const event = decodeEvent(line);
      if (options.lot === undefined || event.lotId === options.lot) log.push(event);
    } catch (error) {
      throw new Error(`${path}: line ${number}: ${(error as Error).message}`, { cause: error });
    }
  }
  return { auctionUid: null, name: path, ...judge(log, options, {}) };
}

function judge(
  log: readonly LotEvent[],
  { histories, partial, ended, settled, lot }: VerifyOptions,
  more: AuditOptions,
): Audit {
  const isAsked = (record: HistoryRecord): boolean =>
    lot === undefined ||
    record.op === "connected" ||
    (record.op === "frame" ? (record.frame["lotId"] ?? lot) : record.lotId) === lot;
  function* records(): Generator<HistoryRecord> {
    for (const path of histories) {
      try {
        for (const record of decodeHistory(linesOf(path))) if (isAsked(record)) yield record;
      } catch (error) {
        throw new Error(`${path}: ${(error as Error).message}`, { cause: error });
      }
    }
  }
  const complete = histories.length > 0 && !partial;
  return audit(records(), log, { ...more, complete, ended, settled });
}
