/** The result of a fault run, as figures and as lines for the terminal. */
import type { Verdict } from "../services/lot/checker/verdicts.ts";
import type { Injector } from "./injector.ts";
import type { Judgement } from "./judge.ts";
import type { LoadCounts } from "./load-plan.ts";
import type { KindName } from "./schedule.ts";

export interface FaultRunResult {
  readonly injections: number;
  readonly injectionsByKind: ReadonlyMap<KindName, number>;
  readonly withoutEffect: readonly string[];
  readonly skipped: readonly string[];
  readonly judgement: Judgement;
  readonly bidsAttempted: number;
  readonly odd: readonly string[];
  /** Share of the time in which no fault was active. */
  readonly calmShare: number;
  readonly summary: string;
  readonly passed: boolean;
}

export function resultOf(
  injector: Injector,
  judgement: Judgement,
  bidders: LoadCounts,
): FaultRunResult {
  const { injections, injectionsByKind, withoutEffect, skipped, calmShare } = injector;
  const { counts, verdicts } = judgement;
  const { acknowledged, lost, duplicated, misordered, unknown } = counts;
  const { rejected, odd } = bidders;
  const unknownBids = unknown.resolved + unknown.unresolved;
  const bidsAttempted = acknowledged + rejected + unknown.unresolved;
  const share = ((100 * unknownBids) / Math.max(1, bidsAttempted)).toFixed(3);
  const resolved = unknown.unresolved === 0 ? "all resolved" : `${unknown.unresolved} UNRESOLVED`;
  const complete = counts.viewers > 0 && counts.viewersComplete === counts.viewers;
  const viewers = complete
    ? "viewers complete"
    : `viewers INCOMPLETE (${counts.viewersComplete} of ${counts.viewers})`;
  const passed =
    verdicts.length === 0 &&
    unknown.unresolved === 0 &&
    complete &&
    odd.length === 0 &&
    withoutEffect.length === 0 &&
    acknowledged > 0;
  const summary =
    `faults: ${injections} injections of ${injectionsByKind.size} kinds, ${acknowledged} acknowledged, ` +
    `lost ${lost}, duplicated ${duplicated}, misordered ${misordered}, ` +
    `unknown ${unknownBids} (${share} %) ${resolved}, ${viewers}`;
  return {
    injections,
    injectionsByKind,
    withoutEffect,
    skipped: [...skipped],
    judgement,
    bidsAttempted,
    odd,
    calmShare,
    summary,
    passed,
  };
}

/** A table of kinds, what failed, and the summary. */
export function reportOf(result: FaultRunResult): string[] {
  const { injectionsByKind, judgement, withoutEffect, skipped, odd, calmShare, summary } = result;
  const rows = [...injectionsByKind].sort(([a], [b]) => a.localeCompare(b));
  const examples = new Map<string, Verdict>();
  for (const verdict of judgement.verdicts) {
    if (!examples.has(verdict.verdict)) examples.set(verdict.verdict, verdict);
  }
  return [
    "",
    "kind              injections",
    ...rows.map(([kind, count]) => `${kind.padEnd(18)}${String(count).padStart(10)}`),
    `calm ${(calmShare * 100).toFixed(0)} % of the time; ${JSON.stringify(judgement.counts)}`,
    ...skipped.map((what) => `SKIPPED ${what}`),
    ...withoutEffect.map((what) => `NO EFFECT ${what}`),
    ...odd.map((what) => `UNEXPECTED ANSWER ${what}`),
    ...[...examples.values()].map(
      ({ verdict, lotId, detail, records }) =>
        `VERDICT ${verdict} ×${judgement.counts.verdicts[verdict]} e.g. ${lotId}: ${detail} ${JSON.stringify(records).slice(0, 900)}`,
    ),
    summary,
  ];
}
