/** Runs a command of `gavel` inside the test's process, which takes a tenth of the time of a process of its own. */
import { vi } from "vitest";
import { plainEnv } from "../../services/testing/plain-env.ts";
import { runCommand } from "../run-command.ts";

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** One command at a time: the environment and the output of this process are the command's. */
export async function runHere(
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<Ended> {
  const outputs = { stdout: "", stderr: "" };
  const spies = (["stdout", "stderr"] as const).map((name) =>
    vi.spyOn(process[name], "write").mockImplementation((text) => {
      outputs[name] += String(text);
      return true;
    }),
  );
  const ownEnv = process.env;
  process.env = plainEnv(env);
  try {
    const status = await runCommand(argv);
    return { status, ...outputs };
  } finally {
    process.env = ownEnv;
    for (const spy of spies) spy.mockRestore();
  }
}
