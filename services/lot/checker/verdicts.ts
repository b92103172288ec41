/** What can be wrong, by name. The names are a contract: scripts and the README's table go by them. */
import type { LotEvent } from "../events.ts";
import type { HistoryRecord } from "./history.ts";

/** Each verdict with what it says. README.md holds the same table. */
export const VERDICTS = {
  // The log by itself.
  seq_gap: "a lot's log does not begin at 1, or leaves a seq out",
  seq_repeated: "two events of a lot have the same epoch and seq",
  epoch_overlap: "an epoch begins at or below a seq of the epoch before it",
  time_backwards: "an event happened before the one numbered before it",
  wrong_opening: "a lot was opened twice, too early, or not before its other events",
  early_bid: "a bid was accepted before the lot was open",
  late_bid: "a bid was accepted at or after the close in force",
  after_end: "something happened to a lot that was closed or withdrawn",
  after_fence: "something happened to a lot after its auction was fenced",
  below_minimum: "a bid was accepted below the minimum in force",
  above_maximum: "a bid was accepted above the most that the rules allow",
  wrong_minimum: "an event states another minimum than the rules give",
  wrong_close: "a close was moved otherwise than by the rules, or back",
  wrong_reserve: "an event states the reserve wrongly",
  closed_early: "a lot was closed before the close in force",
  two_results: "a lot was closed twice",
  wrong_result: "a lot's result is not what its bids make it",
  no_result: "a lot that should be over has no result",
  bid_twice: "a bid stands in the log twice",
  key_twice: "one bidder's key on one lot was accepted twice",
  // The log and the clients.
  lost: "an acknowledged bid is not in the log",
  moved: "an acknowledged bid stands at another seq than was acknowledged",
  altered: "a bid in the log differs from what was sent or acknowledged",
  phantom: "the log has a bid that nobody sent",
  refused_recorded: "the log has a bid that was answered only with 503 unavailable",
  rejected_recorded: "the log has a bid that was only rejected",
  answers_differ: "one key was acknowledged with another bid than the log has",
  no_such_event: "an answer names an event that the log does not have",
  wrong_read: "a lot was shown otherwise than it stood at that event",
  wrong_rejection: "a bid was rejected for a reason that did not hold",
  key_forgotten: "a key was judged anew after its bid had been acknowledged",
  wrong_time: "a bid was not placed between its request and its answer",
  reordered: "a bid is numbered after a bid that was sent after its acknowledgement",
  stale: "an answer shows a state older than one already acknowledged",
  future: "an answer shows an event before it can have happened",
  // Viewers.
  viewer_order: "a viewer got an event or snapshot twice, or out of order",
  viewer_gap: "a viewer missed an event, and no snapshot replaced it",
  viewer_altered: "a viewer was shown an event or lot otherwise than the log has it",
  viewer_phantom: "a viewer was shown an event that the log does not have",
  viewer_behind: "a viewer did not get to the end of a lot's log",
  // The archive.
  row_differs: "a row of events differs from its own body, or is no event",
  bids_differ: "the rows of bids are not what the events make them",
  results_differ: "the rows of results are not what the events make them",
  lots_differ: "the rows of lots are not what the events make them",
  dead_letter: "something that was decided could not be archived",
} as const;

export type VerdictName = keyof typeof VERDICTS;

export interface Verdict {
  readonly verdict: VerdictName;
  /** Empty for what concerns no lot. */
  readonly lotId: string;
  readonly detail: string;
  /** The offending events, records and rows, the most telling first. */
  readonly records: readonly Offender[];
}

export type Offender = LotEvent | HistoryRecord | Readonly<Record<string, unknown>>;

/** Of one name, as many are listed; all are counted. */
export const LISTED_MAX = 100;

export class Verdicts {
  readonly listed: Verdict[] = [];
  readonly counts: Partial<Record<VerdictName, number>> = {};

  add(verdict: VerdictName, lotId: string, detail: string, records: readonly Offender[]): void {
    const count = (this.counts[verdict] ?? 0) + 1;
    this.counts[verdict] = count;
    if (count <= LISTED_MAX) this.listed.push({ verdict, lotId, detail, records });
  }

  sum(...names: readonly VerdictName[]): number {
    return names.reduce((total, name) => total + (this.counts[name] ?? 0), 0);
  }
}
