/** Runs one command of `gavel`: parses its arguments, prints help, and turns what it throws into an exit code. */
import type { Command, Invocation } from "./command.ts";
import { COMMANDS, findCommand } from "./commands.ts";

const EXIT_USAGE = 2;

const USAGE = `usage: gavel <command>

${Object.values(COMMANDS)
  .map(({ usage, help, alias }) => {
    return `  ${usage.padEnd(20)} ${help}${alias === undefined ? "" : `; alias: ${alias}`}`;
  })
  .join("\n")}

Examples
  gavel up manifests/samples/spring-sale.yaml
  gavel token alice
  gavel sql "select lot_id, bidder_id, amount_minor from bids order by seq"
  gavel check --history seen.jsonl

gavel <command> --help explains a command. Variables (ports, folders …): docs/configuration.md`;

/** @returns the exit code */
export async function runCommand(argv: readonly string[]): Promise<number> {
  try {
    return await dispatch(argv);
  } catch (error) {
    process.stderr.write(`gavel: ${await textOf(error)}\n`);
    return findCommand(argv[0] ?? "")?.failureExitCode ?? 1;
  }
}

/** The message of an error caused by the user or by an outage; for a defect its stack, to be reported. */
async function textOf(error: unknown): Promise<string> {
  if (!(error instanceof Error)) return String(error);
  const { isUnavailable } = await import("../services/access/error-class.ts");
  const isDefect =
    error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError;
  if (!isDefect || isUnavailable(error) || "code" in error) return error.message;
  return `defect, please report it: ${error.stack}`;
}

async function dispatch(argv: readonly string[]): Promise<number> {
  const [name = "", ...args] = argv;
  if (["--help", "-h", "help"].includes(name)) {
    process.stdout.write(`${USAGE}\n`);
    return 0;
  }
  const command = findCommand(name);
  if (command === undefined) {
    process.stderr.write(`${name === "" ? "" : `gavel: no command ${name}\n\n`}${USAGE}\n`);
    return EXIT_USAGE;
  }
  if (args.some((argument) => argument === "--help" || argument === "-h")) {
    process.stdout.write(await helpOf(command));
    return 0;
  }
  if (!accepts(command, args)) {
    process.stderr.write(await helpOf(command));
    return EXIT_USAGE;
  }
  return command.run(await invocationOf(args));
}

async function helpOf({ usage, help, optionsHelp }: Command): Promise<string> {
  return optionsHelp === undefined ? `usage: gavel ${usage}\n\n  ${help}\n` : optionsHelp();
}

/** Whether a command may be called with these arguments. */
function accepts(
  { takesArgument = false, optionsHelp }: Command,
  args: readonly string[],
): boolean {
  if (optionsHelp !== undefined) return true;
  const [argument = ""] = args;
  return args.length <= 1 && !argument.startsWith("-") && (argument === "" || takesArgument);
}

/** Loads the environment's schema only here: `gavel --help` does not need it. */
async function invocationOf(args: readonly string[]): Promise<Invocation> {
  const [{ readEnv }, { LocalEnv }, { CommandEnv }, { DataFolder }, { createTerminal }] =
    await Promise.all([
      import("../services/runtime/env.ts"),
      import("../operator/local/config.ts"),
      import("./config.ts"),
      import("../operator/local/data-folder.ts"),
      import("../operator/local/terminal.ts"),
    ]);
  const env = { ...readEnv(LocalEnv), ...readEnv(CommandEnv) };
  return {
    env,
    folder: new DataFolder(env.GAVEL_DIR),
    terminal: createTerminal(env.YES),
    argument: args[0],
    args,
  };
}
