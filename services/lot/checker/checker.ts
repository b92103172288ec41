/**
 * The checker judges every bid of a history by the log of events, and the log by the rules. It is pure, exact,
 * and takes O(n log n). verdicts.ts lists the verdicts; history.ts defines a history.
 */
import type { LotEvent } from "../events.ts";
import type { Terms } from "../terms.ts";
import { Answers } from "./answers.ts";
import { type ArchiveRows, checkRows } from "./archive-rows.ts";
import type { HistoryRecord } from "./history.ts";
import type { Clock } from "./rejections.ts";
import { replayLog } from "./timeline.ts";
import { type Verdict, type VerdictName, Verdicts } from "./verdicts.ts";
import { Viewers } from "./viewers.ts";

export interface CheckerOptions {
  /** By lotId. A lot without terms is judged by the values in its own events. */
  readonly terms?: ReadonlyMap<string, Terms> | undefined;
  /** False when others bid, too: a bid that is not in the history is then no phantom. */
  readonly complete?: boolean;
  /** Every lot that was not withdrawn must have a result. */
  readonly ended?: boolean;
  /** The history was recorded until no frame was outstanding: every viewer must have reached the end. */
  readonly settled?: boolean;
  /** Redis's clock minus the history's clock, where it was measured. Otherwise the two are not compared. */
  readonly clock?: Clock | null;
  /** False when Redis's clock was moved on purpose: `not_open` and `closed` may then alternate. */
  readonly steadyClock?: boolean;
  /** When the auction was fenced, by Redis's clock: nothing may be decided after it. */
  readonly fencedAtMs?: number | null;
  /** How long the store remembers a key, at least. */
  readonly keyWindowMs?: number;
  /** The archive's tables; they are compared with the log. */
  readonly archive?: ArchiveRows;
  /** Verdicts that were found while the log was read. */
  readonly found?: Verdicts;
}

export interface Counts {
  readonly lots: number;
  readonly events: number;
  /** Bids in the log. */
  readonly bids: number;
  readonly records: number;
  readonly reads: number;
  readonly frames: number;
  /** Distinct bids that were acknowledged. */
  readonly acknowledged: number;
  /** Answers, not distinct bids. */
  readonly rejected: number;
  readonly refused: number;
  /** Keys that were answered `unknown`, by whether a later answer resolved them. */
  readonly unknown: { readonly resolved: number; readonly unresolved: number };
  readonly lost: number;
  readonly duplicated: number;
  readonly misordered: number;
  readonly viewers: number;
  readonly viewersComplete: number;
  /** By name. `CheckResult.verdicts` holds the first 100 of each. */
  readonly verdicts: Readonly<Partial<Record<VerdictName, number>>>;
}

export interface CheckResult {
  readonly verdicts: readonly Verdict[];
  readonly counts: Counts;
}

/** How long the store remembers a key, at least: KEYS_WINDOW_MS of store/keys.ts. */
export const KEY_WINDOW_MS = 10 * 60_000;

type Log = readonly LotEvent[] | ReadonlyMap<string, readonly LotEvent[]>;

/** The order of the log's events does not matter; the order of a viewer's frames does. */
export function checkHistory(
  history: Iterable<HistoryRecord>,
  log: Log,
  options: CheckerOptions = {},
): CheckResult {
  const verdicts = options.found ?? new Verdicts();
  const logs = log instanceof Map ? log : byLot(log as readonly LotEvent[]);
  const lots = new Map<string, Answers>();
  const add = (lotId: string, events: readonly LotEvent[]): Answers => {
    const timeline = replayLog(lotId, events, options.terms?.get(lotId) ?? null, verdicts);
    const answers = new Answers(timeline, answerOptions(options), verdicts);
    lots.set(lotId, answers);
    return answers;
  };
  for (const [lotId, events] of logs) add(lotId, events);
  for (const lotId of options.terms?.keys() ?? []) if (!lots.has(lotId)) add(lotId, []);

  const tally = { records: 0, reads: 0, frames: 0, rejected: 0, refused: 0 };
  const viewers = new Viewers(lots, verdicts);
  for (const record of history) {
    tally.records++;
    switch (record.op) {
      case "bid":
        if (record.outcome === "rejected") tally.rejected++;
        else if (record.outcome === "refused") tally.refused++;
        (lots.get(record.lotId) ?? add(record.lotId, [])).bid(record);
        break;
      case "read":
        tally.reads++;
        (lots.get(record.lotId) ?? add(record.lotId, [])).read(record);
        break;
      case "frame":
        tally.frames++;
        viewers.frame(record);
        break;
      case "connected":
        viewers.connected(record);
    }
  }
  for (const answers of lots.values()) answers.finish();
  viewers.finish(options.settled ?? false);
  if (options.ended) expectResults(lots, verdicts);
  if (options.fencedAtMs != null) expectNothingAfter(options.fencedAtMs, options, lots, verdicts);
  if (options.archive) {
    const timelines = new Map([...lots].map(([lotId, { timeline }]) => [lotId, timeline]));
    checkRows(options.archive, timelines, verdicts);
  }
  return { verdicts: verdicts.listed, counts: { ...tally, ...count(lots, viewers, verdicts) } };
}

function answerOptions(options: CheckerOptions) {
  const { complete, clock, steadyClock, fencedAtMs, keyWindowMs } = options;
  return {
    complete: complete ?? true,
    clock: clock ?? null,
    steadyClock: steadyClock ?? true,
    fencedAtMs: fencedAtMs ?? null,
    keyWindowMs: keyWindowMs ?? KEY_WINDOW_MS,
  };
}

function byLot(events: readonly LotEvent[]): Map<string, LotEvent[]> {
  const logs = new Map<string, LotEvent[]>();
  for (const event of events) {
    const log = logs.get(event.lotId);
    if (log) log.push(event);
    else logs.set(event.lotId, [event]);
  }
  return logs;
}

function expectResults(lots: ReadonlyMap<string, Answers>, verdicts: Verdicts): void {
  for (const [lotId, { timeline }] of lots) {
    const status = timeline.status[timeline.end]!;
    if (status === "closed" || status === "withdrawn") continue;
    const last = timeline.events.at(-1);
    verdicts.add("no_result", lotId, `the lot is ${status}`, last ? [last] : []);
  }
}

/** A clock that was moved on purpose orders nothing. */
function expectNothingAfter(
  fencedAtMs: number,
  { steadyClock = true }: CheckerOptions,
  lots: ReadonlyMap<string, Answers>,
  verdicts: Verdicts,
): void {
  if (!steadyClock) return;
  for (const [lotId, { timeline }] of lots) {
    const late = timeline.events.find(({ atMs }) => atMs > fencedAtMs);
    if (late === undefined) continue;
    const detail = `${late.type} ${late.atMs - fencedAtMs} ms after the fence`;
    verdicts.add("after_fence", lotId, detail, [late]);
  }
}

function count(
  lots: ReadonlyMap<string, Answers>,
  viewers: Viewers,
  verdicts: Verdicts,
): Omit<Counts, "records" | "reads" | "frames" | "rejected" | "refused"> {
  const all = [...lots.values()];
  const sum = (countOf: (answers: Answers) => number) =>
    all.reduce((total, answers) => total + countOf(answers), 0);
  const lost = sum((answers) => answers.lost);
  return {
    lots: lots.size,
    events: sum(({ timeline }) => timeline.end),
    bids: sum(({ timeline }) => timeline.bidCount[timeline.end]!),
    acknowledged: sum(({ acknowledged }) => acknowledged) + lost,
    unknown: {
      resolved: sum(({ unknown }) => unknown.resolved),
      unresolved: sum(({ unknown }) => unknown.unresolved),
    },
    lost,
    duplicated: verdicts.sum("seq_repeated", "bid_twice", "key_twice", "answers_differ"),
    misordered: verdicts.sum(
      "moved",
      "reordered",
      "epoch_overlap",
      "time_backwards",
      "viewer_order",
    ),
    viewers: viewers.count,
    viewersComplete: viewers.complete,
    verdicts: verdicts.counts,
  };
}
