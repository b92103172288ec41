import { findProgram } from "./find-program.ts";

/**
 * A command that the kernel kills when the process that spawns it ends, however that ends: a benchmark or a test
 * that is stopped or killed leaves nothing behind. Where there is no setpriv (macOS), the command is as it was.
 */
export function endWithParent(command: string, args: readonly string[]): [string, string[]] {
  const setpriv = findProgram("setpriv");
  if (process.platform !== "linux" || setpriv === null) return [command, [...args]];
  return [setpriv, ["--pdeathsig", "KILL", "--", command, ...args]];
}
