/** The options of `gavel check`, and its help. */
import { parseArgs } from "node:util";
import { VERDICTS } from "../../services/lot/checker/verdicts.ts";

export interface CheckOptions {
  readonly histories: readonly string[];
  /** A file with the URL of the archive; undefined: the archive of `make up`. */
  readonly archive: string | undefined;
  /** A file of events that is checked instead of an archive. */
  readonly events: string | undefined;
  readonly auction: string | undefined;
  readonly lot: string | undefined;
  /** The histories do not cover every bidder. */
  readonly partial: boolean;
  readonly ended: boolean;
  readonly settled: boolean;
  readonly json: boolean;
}

const verdictList = Object.entries(VERDICTS)
  .map(([name, meaning]) => `  ${name.padEnd(18)} ${meaning}`)
  .join("\n");

export const CHECK_USAGE = `usage: gavel check [--history FILE…] [--archive FILE | --events FILE] [--auction UID]
                   [--lot ID] [--partial] [--ended] [--settled] [--json]`;

export const CHECK_HELP = `${CHECK_USAGE}

  check every bid in the archive, and in recorded histories
  (alias: gavel verify, with the same options)

  Without --history: checks the event log by the rules, and the archive's tables by the event log.
  With --history: checks each answer that a bidder got and each frame that a viewer received, too.

  --history FILE   what bidders and viewers received, as JSONL (services/lot/checker/history.ts); repeatable
  --archive FILE   a file that holds the URL of the archive; default: the archive of make up
  --events FILE    check the events of a JSONL file instead of an archive
  --auction UID    check this auction; default: every auction, or with --history the latest
  --lot ID         check this lot only
  --partial        the histories do not cover every bidder: a bid missing from them is not a phantom
  --ended          the auction has ended: a lot without a result is a verdict
  --settled        every viewer had time to receive everything: a viewer without the last event is a verdict
  --json           print one JSON document: {holds, auctions: [{auctionUid, name, counts, verdicts}]}

examples
  gavel check                                    every auction in the archive of make up
  gavel check --auction UID --ended --json       one auction that has ended, for a script
  gavel check --history a.jsonl --history b.jsonl --settled
  gavel check --events events.jsonl --lot lot-1

exit codes
  0  everything holds
  1  there is at least one verdict
  2  the command line is wrong
  3  a file, the archive or the auction cannot be read

verdicts
${verdictList}
`;

/** @throws Error when the arguments are not valid */
export function parseCheckOptions(args: readonly string[]): CheckOptions {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      history: { type: "string", multiple: true, default: [] },
      archive: { type: "string" },
      events: { type: "string" },
      auction: { type: "string" },
      lot: { type: "string" },
      partial: { type: "boolean", default: false },
      ended: { type: "boolean", default: false },
      settled: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
    },
  });
  const { history, archive, events, auction, lot, partial, ended, settled, json } = values;
  if (positionals.length > 0 && history.length === 0) {
    throw new Error(`unexpected argument ${positionals[0]}: a history file comes after --history`);
  }
  if (archive !== undefined && events !== undefined) {
    throw new Error("--archive and --events: only one of them can be given");
  }
  if (auction !== undefined && events !== undefined) {
    throw new Error("--auction is for an archive; a file of events holds one auction");
  }
  for (const [name, isGiven] of Object.entries({ partial, settled })) {
    if (isGiven && history.length === 0) throw new Error(`--${name} requires --history`);
  }
  return {
    histories: [...history, ...positionals],
    archive,
    events,
    auction,
    lot,
    partial,
    ended,
    settled,
    json,
  };
}
