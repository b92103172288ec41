/** `gavel`: the command line of an Auction on this machine. The Makefile's targets call it. */
import { LocalEnv } from "../operator/local/config.ts";
import { DataFolder } from "../operator/local/data-folder.ts";
import { createTerminal } from "../operator/local/terminal.ts";
import { readEnv } from "../services/runtime/env.ts";
import { COMMANDS } from "./commands.ts";
import { CommandEnv } from "./config.ts";

const USAGE = `usage: gavel <command>

${Object.values(COMMANDS)
  .map(({ usage, help }) => `  ${usage.padEnd(20)} ${help}`)
  .join("\n")}

Variables (ports, folders …): services/CONFIGURATION.md`;

const commandOf = (name: string) => (Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined);

async function main(words: readonly string[]): Promise<number> {
  const [name = "", argument, ...rest] = words;
  const command = commandOf(name);
  if (["--help", "-h", "help"].includes(name)) {
    process.stdout.write(`${USAGE}\n`);
    return 0;
  }
  if (command === undefined) {
    process.stderr.write(`${name === "" ? "" : `gavel: no command ${name}\n\n`}${USAGE}\n`);
    return 2;
  }
  const isHelp = [argument, ...rest].some((word) => word === "--help" || word === "-h");
  const isTooMuch =
    command.optionsHelp === undefined &&
    (rest.length > 0 || argument?.startsWith("-") || (argument && !command.usage.includes("[")));
  if (isHelp || isTooMuch) {
    const stream = isHelp ? process.stdout : process.stderr;
    const usage = `usage: gavel ${command.usage}\n\n  ${command.help}\n`;
    stream.write(command.optionsHelp ?? usage);
    return isHelp ? 0 : 2;
  }
  const env = { ...readEnv(LocalEnv), ...readEnv(CommandEnv) };
  const folder = new DataFolder(env.GAVEL_DIR);
  return command.run({
    env,
    folder,
    terminal: createTerminal(env.YES),
    argument,
    words: words.slice(1),
  });
}

// `gavel status | head`: who reads may leave, and what was begun is still ended in good order.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
});

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`gavel: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = commandOf(process.argv[2] ?? "")?.failure ?? 1;
}
