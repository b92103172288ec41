/** `gavel`: the command line of an Auction on this machine. The Makefile's targets call it. */
import { enableCompileCache } from "node:module";
import { fileURLToPath } from "node:url";
import { tolerateClosedPipe } from "../services/runtime/closed-pipe.ts";
import { runCommand } from "./run-command.ts";

// Saves a third of the start-up time of a command, most of which is loading libraries.
enableCompileCache(fileURLToPath(new URL("../node_modules/.cache/gavel", import.meta.url)));

tolerateClosedPipe();
process.exitCode = await runCommand(process.argv.slice(2));
