/** The result of `gavel check`, as text. */
import type { CheckResult } from "../../services/lot/checker/checker.ts";
import { VERDICTS } from "../../services/lot/checker/verdicts.ts";

const SHOWN_VERDICTS = 20;
const RECORD_MAX_CHARACTERS = 400;

/** The checker's result for an auction of the archive, or for a file of events. */
export interface CheckedAuction extends CheckResult {
  readonly auctionUid: string | null;
  readonly name: string;
}

export function reportOf(auctions: readonly CheckedAuction[]): string {
  return auctions.map(auctionReport).join("\n\n");
}

function auctionReport({ auctionUid, name, counts, verdicts }: CheckedAuction): string {
  const { lots, events, bids, records, acknowledged, rejected, refused, unknown } = counts;
  const { lost, duplicated, misordered, viewers, viewersComplete } = counts;
  const total = Object.values(counts.verdicts).reduce((sum, count) => sum + count, 0);
  const lines = [`${name}${auctionUid === null ? "" : ` (${auctionUid})`}`];
  lines.push(`log       ${lots} lots, ${events} events, ${bids} bids`);
  if (records > 0) {
    lines.push(
      `history   ${records} records: ${acknowledged} bids acknowledged, ${rejected} rejected, ${refused} refused`,
      `unknown   ${unknown.resolved + unknown.unresolved}, ${unknown.unresolved} of them unresolved`,
      `lost ${lost}, duplicated ${duplicated}, misordered ${misordered}`,
    );
    if (viewers > 0) lines.push(`viewers   ${viewersComplete} of ${viewers} complete`);
  }
  for (const { verdict, lotId, detail, records: offenders } of verdicts.slice(0, SHOWN_VERDICTS)) {
    lines.push("", `${verdict}: ${VERDICTS[verdict]}`, `  ${lotId} ${detail}`);
    for (const offender of offenders) lines.push(`  ${shortened(JSON.stringify(offender))}`);
  }
  if (total > SHOWN_VERDICTS) {
    const names = Object.entries(counts.verdicts).map(([verdict, count]) => `${verdict} ${count}`);
    lines.push("", `more verdicts are not shown; in total: ${names.join(", ")}`);
  }
  lines.push("", total === 0 ? "holds" : `${total} ${total === 1 ? "verdict" : "verdicts"}`);
  return lines.join("\n");
}

function shortened(text: string): string {
  return text.length > RECORD_MAX_CHARACTERS ? `${text.slice(0, RECORD_MAX_CHARACTERS)}…` : text;
}
