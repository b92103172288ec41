import { findProgram } from "./find-program.ts";

/**
 * Wraps a command so that the kernel kills it when its parent process ends, however that ends: a benchmark or a test
 * that is stopped or killed leaves nothing behind. Without setpriv (macOS) the command is unchanged.
 */
export function endWithParent(command: string, args: readonly string[]): [string, string[]] {
  const setpriv = findProgram("setpriv");
  if (process.platform !== "linux" || setpriv === null) return [command, [...args]];
  return [setpriv, ["--pdeathsig", "KILL", "--", command, ...args]];
}
