/** Installs packages with the system's package manager. */
import { spawnSync } from "node:child_process";
import { findProgram } from "../../servers/find-program.ts";
import { isPortInUse } from "../../servers/ports.ts";
import { SERVERS } from "./server-programs.ts";
import type { Terminal } from "./terminal.ts";

/**
 * Prints which packages it installs and why, asks if there is a terminal, and installs them.
 * @throws Error if the answer is no, or the package manager fails
 */
export async function installPackages(
  packages: readonly string[],
  reason: string,
  terminal: Terminal,
): Promise<void> {
  const sudo = process.getuid?.() === 0 ? [] : ["sudo"];
  terminal.say(`${reason}.`);
  terminal.say(`Will install with ${[...sudo, "apt-get"].join(" ")}: ${packages.join(" ")}`);
  if (!(await terminal.confirm("Install?")))
    throw new Error(
      `not installed: install ${packages.join(" ")} yourself, then run the command again`,
    );
  if (sudo.length > 0 && findProgram("sudo") === null) {
    throw new Error(
      `cannot install without root or sudo: install ${packages.join(" ")}, then run the command again`,
    );
  }
  const portsBefore = await servicePortsInUse();
  const apt = (...args: string[]) => {
    const command = [...sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", ...args];
    terminal.say(`  apt-get ${args.join(" ")}`);
    // stdin is inherited: sudo may ask for a password.
    const run = spawnSync(command[0]!, command.slice(1), { stdio: ["inherit", "ignore", "pipe"] });
    return { ok: run.status === 0, error: run.stderr?.toString().trim() ?? "" };
  };
  apt("update", "-q"); // A source may be unreachable: the installation shows whether that matters.
  const { ok, error } = apt("install", "-y", "-q", "--no-install-recommends", ...packages);
  if (!ok) throw new Error(`apt-get install ${packages.join(" ")} failed:\n${error}`);

  const startedPorts = (await servicePortsInUse()).filter((port) => !portsBefore.includes(port));
  if (startedPorts.length > 0) {
    terminal.say(
      `  the packages started services of their own on port ${startedPorts.join(", ")}; Gavel does not use them`,
    );
  }
}

async function servicePortsInUse(): Promise<number[]> {
  const ports = Object.values(SERVERS).map(({ usualPort }) => usualPort);
  const taken = await Promise.all(ports.map(isPortInUse));
  return ports.filter((_, i) => taken[i]);
}
