/** Runs a third-party program (docker, kind, kubectl, helm, npm) to its end. */
import { spawn } from "node:child_process";
import { findProgram } from "./find-program.ts";

export interface RunOptions {
  readonly cwd?: string;
  /** Text for standard input. */
  readonly input?: string;
  readonly timeoutMs?: number;
  /** In its own process group: Ctrl-C at the terminal does not reach it. */
  readonly detached?: boolean;
}

const TIMEOUT_MS = 10 * 60_000;

/**
 * @returns standard output
 * @throws Error with standard error, if the program fails or takes longer than 10 min
 */
export async function runProgram(
  program: string,
  args: readonly string[],
  { cwd, input = "", timeoutMs = TIMEOUT_MS, detached = false }: RunOptions = {},
): Promise<string> {
  const path = findProgram(program);
  if (path === null) throw new Error(`${program} is not on PATH`);
  const child = spawn(path, args, {
    ...(cwd === undefined ? {} : { cwd }),
    detached,
    signal: AbortSignal.timeout(timeoutMs),
    stdio: ["pipe", "pipe", "pipe"],
  });
  let out = "";
  let err = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (err += text));
  child.stdin.on("error", () => {}); // The program exited before it read all input: its exit code says why.
  child.stdin.end(input);
  const code = await new Promise<number | string | null>((resolve, reject) => {
    child.once("error", (error) =>
      reject(
        error.name === "AbortError"
          ? new Error(`${program} ${args[0]} took longer than ${timeoutMs / 1_000} s`)
          : error,
      ),
    );
    child.once("close", (exitCode, signal) => resolve(exitCode ?? signal));
  });
  if (code !== 0) {
    throw new Error(`${program} ${args.join(" ")} exited with ${code}:\n${(err || out).trim()}`);
  }
  return out;
}

export const hasProgram = (program: string): boolean => findProgram(program) !== null;
