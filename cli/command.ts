/** What a command of `gavel` is, and what it is called with. */
import type { LocalEnv } from "../operator/local/config.ts";
import type { DataFolder } from "../operator/local/data-folder.ts";
import type { Terminal } from "../operator/local/terminal.ts";
import type { CommandEnv } from "./config.ts";

export interface Invocation {
  readonly env: LocalEnv & CommandEnv;
  readonly folder: DataFolder;
  readonly terminal: Terminal;
  /** The first word after the command. For token, sql and logs, a variable does the same. */
  readonly argument: string | undefined;
  /** All words after the command. */
  readonly args: readonly string[];
}

export interface Command {
  readonly usage: string;
  /** Whether one argument may follow. A command with `optionsHelp` checks its arguments itself. */
  readonly takesArgument?: boolean;
  readonly help: string;
  /** Another name for the same command. */
  readonly alias?: string;
  /** Help of a command that parses options itself. */
  readonly optionsHelp?: () => Promise<string>;
  /** Exit code when the command throws; default 1. */
  readonly failureExitCode?: number;
  /** @returns the exit code */
  run(invocation: Invocation): Promise<number>;
}
