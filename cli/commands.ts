/** The commands of `gavel`, each with its line of help. One list: dispatch, help and tests read it. */
import type { LocalEnv } from "../operator/local/config.ts";
import type { DataFolder } from "../operator/local/data-folder.ts";
import { down } from "../operator/local/down.ts";
import { reset } from "../operator/local/reset.ts";
import type { Terminal } from "../operator/local/terminal.ts";
import type { CommandEnv } from "./config.ts";
import { logs } from "./commands/logs.ts";
import { restore, RESTORE_HELP } from "./commands/restore.ts";
import { sql } from "./commands/sql.ts";
import { status } from "./commands/status.ts";
import { token } from "./commands/token.ts";
import { up } from "./commands/up.ts";
import { verify } from "./commands/check.ts";
import { EXIT_CODES, VERIFY_HELP } from "./commands/check-options.ts";

export interface Context {
  readonly env: LocalEnv & CommandEnv;
  readonly folder: DataFolder;
  readonly terminal: Terminal;
  /** The one word that may follow the command; each has a variable that does the same. */
  readonly argument: string | undefined;
  /** All that follows the command, for one that reads options. */
  readonly words: readonly string[];
}

export interface CliCommand {
  readonly usage: string;
  readonly help: string;
  /** It reads its own options, and this is its help. Without it a command takes one word at most. */
  readonly optionsHelp?: string;
  /** What it exits with when it throws; 1 unless said. */
  readonly failure?: number;
  /** @returns the exit code */
  run(context: Context): Promise<number>;
}

export const COMMANDS: Readonly<Record<string, CliCommand>> = {
  up: {
    usage: "up [auction.yaml]",
    help: "run an Auction here; DETACH=1: in the background",
    run: up,
  },
  down: {
    usage: "down",
    help: "stop what up started",
    run: ({ folder, terminal }) => down(folder, terminal),
  },
  status: { usage: "status", help: "tiers, stores, archive lag, lots, endpoints", run: status },
  token: {
    usage: "token [bidder]",
    help: "print a bidder's token (BIDDER=…); SCOPE=admin: the owner's",
    run: token,
  },
  sql: { usage: "sql [statement]", help: "ask the archive (Q=…), read-only", run: sql },
  logs: {
    usage: "logs [process]",
    help: "the last lines of each process (TIER=…, LINES=…)",
    run: logs,
  },
  verify: {
    usage: "verify [options]",
    help: "judge every bid: the archive, and what clients saw",
    optionsHelp: VERIFY_HELP,
    failure: EXIT_CODES.unread,
    run: verify,
  },
  restore: {
    usage: "restore [--force]",
    help: "put the auction back into Redis from the archive; asks first",
    optionsHelp: RESTORE_HELP,
    run: restore,
  },
  reset: {
    usage: "reset",
    help: "delete all data of this folder; asks first",
    run: ({ folder, terminal }) => reset(folder, terminal),
  },
};
