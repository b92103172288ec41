/** What `gavel verify` can be told, and its help. */
import { parseArgs } from "node:util";
import { VERDICTS } from "../../services/lot/checker/verdicts.ts";

export interface VerifyOptions {
  readonly histories: readonly string[];
  /** A file with the URL of the archive; undefined: that of `make up`. */
  readonly archive: string | undefined;
  /** A file of events to be judged instead of an archive. */
  readonly events: string | undefined;
  readonly auction: string | undefined;
  readonly lot: string | undefined;
  /** Bids came from others, too. */
  readonly partial: boolean;
  readonly ended: boolean;
  readonly settled: boolean;
  readonly json: boolean;
}

/** What the command exits with. Fixed: scripts go by them. */
export const EXIT_CODES = {
  holds: 0,
  verdict: 1,
  usage: 2,
  unread: 3,
} as const;

const indented = Object.entries(VERDICTS)
  .map(([name, meaning]) => `  ${name.padEnd(18)} ${meaning}`)
  .join("\n");

export const VERIFY_USAGE = `usage: gavel verify [--history FILE…] [--archive FILE | --events FILE] [--auction UID]
                    [--lot ID] [--partial] [--ended] [--settled] [--json]`;

export const VERIFY_HELP = `${VERIFY_USAGE}

  judge every bid: the archive, and what clients saw

  Without --history: the log by the rules, and the archive's tables by its events.
  With --history: also each answer that a client got and each frame that a viewer saw.

  --history FILE   what clients saw, JSONL (services/lot/checker/history.ts); may come several times
  --archive FILE   a file that holds the archive's URL; without it, that of make up
  --events FILE    judge the events in a JSONL file; no archive is asked
  --auction UID    of this auction. Without it: all that the archive has; with --history, the latest
  --lot ID         of this lot only
  --partial        the history is not of all bidders: bids of others are no phantoms
  --ended          the auction is over: a lot without a result is wrong
  --settled        the history went on until all was quiet: a viewer without the last event is wrong
  --json           one JSON document: {holds, auctions: [{auctionUid, name, counts, verdicts}]}

exit codes
  0  everything holds
  1  there is a verdict
  2  the command line is wrong
  3  something could not be read: a file, the archive, an auction that is not in it

verdicts
${indented}
`;

/** @throws Error when the words are not a command line of ours */
export function readVerifyOptions(words: readonly string[]): VerifyOptions {
  const { values, positionals } = parseArgs({
    args: [...words],
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
    throw new Error(`what is ${positionals[0]}? A history comes after --history`);
  }
  if (archive !== undefined && events !== undefined) {
    throw new Error("--archive and --events: only one of them is judged");
  }
  if (auction !== undefined && events !== undefined) {
    throw new Error("--auction is for an archive; a file of events is of one auction");
  }
  for (const [name, isGiven] of Object.entries({ partial, settled })) {
    if (isGiven && history.length === 0) throw new Error(`--${name} says something of a --history`);
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
