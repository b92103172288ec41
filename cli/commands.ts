/**
 * The commands of `gavel`. Dispatch, help and tests read this table. Each command is imported when it
 * runs, so that a short command does not load the libraries of the others.
 */
import type { Command } from "./command.ts";
import { EXIT_CODES } from "./commands/check-exit-codes.ts";

export const COMMANDS: Readonly<Record<string, Command>> = {
  up: {
    usage: "up [auction.yaml]",
    takesArgument: true,
    help: "run an Auction on this machine; DETACH=1 runs it in the background",
    run: async (invocation) => (await import("./commands/up.ts")).up(invocation),
  },
  down: {
    usage: "down",
    help: "stop the processes that `up` started",
    async run({ folder, terminal }) {
      const { down } = await import("../operator/local/down.ts");
      return down(folder, terminal);
    },
  },
  status: {
    usage: "status",
    help: "show tiers, stores, archive lag, lots and endpoints",
    run: async (invocation) => (await import("./commands/status.ts")).status(invocation),
  },
  token: {
    usage: "token [bidder]",
    takesArgument: true,
    help: "print a bidder's token (or BIDDER=…); SCOPE=admin prints the owner's",
    run: async (invocation) => (await import("./commands/token.ts")).token(invocation),
  },
  sql: {
    usage: "sql [statement]",
    takesArgument: true,
    help: "run one read-only SQL statement on the archive (or Q=…)",
    run: async (invocation) => (await import("./commands/sql.ts")).sql(invocation),
  },
  logs: {
    usage: "logs [process]",
    takesArgument: true,
    help: "print the last log lines of every process, or of one (TIER=…, LINES=…)",
    run: async (invocation) => (await import("./commands/logs.ts")).logs(invocation),
  },
  check: {
    usage: "check [options]",
    help: "check every bid in the archive, and in recorded histories",
    alias: "verify",
    optionsHelp: async () => (await import("./commands/check-options.ts")).CHECK_HELP,
    failureExitCode: EXIT_CODES.unreadable,
    run: async (invocation) => (await import("./commands/check.ts")).check(invocation),
  },
  "dead-letters": {
    usage: "dead-letters",
    help: "list, show, replay or discard dead letters",
    optionsHelp: async () => (await import("./commands/dead-letters.ts")).DEAD_LETTERS_HELP,
    run: async (invocation) => (await import("./commands/dead-letters.ts")).deadLetters(invocation),
  },
  capacity: {
    usage: "capacity [auction.yaml]",
    help: "print the memory budget: the memory that Redis needs for an auction",
    optionsHelp: async () => (await import("./commands/capacity.ts")).CAPACITY_HELP,
    run: async (invocation) => (await import("./commands/capacity.ts")).capacity(invocation),
  },
  restore: {
    usage: "restore [--force]",
    help: "write the auction from the archive back into Redis; asks first",
    optionsHelp: async () => (await import("./commands/restore.ts")).RESTORE_HELP,
    run: async (invocation) => (await import("./commands/restore.ts")).restore(invocation),
  },
  reset: {
    usage: "reset",
    help: "delete all data of this folder; asks first",
    async run({ folder, terminal }) {
      const { reset } = await import("../operator/local/reset.ts");
      return reset(folder, terminal);
    },
  },
};

/** A command by its name or alias. */
export function findCommand(name: string): Command | undefined {
  if (Object.hasOwn(COMMANDS, name)) return COMMANDS[name];
  return Object.values(COMMANDS).find(({ alias }) => alias === name);
}
