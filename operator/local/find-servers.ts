/**
 * Where the three servers come from: this machine's programs, else Docker, else they are installed
 * by the system's package manager. Each choice is said, with its reason, and kept: the data of a
 * server that ran in Docker is not where a program would look for it.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type DataFolder, type StoreName, STORES, writeWhole } from "./data-folder.ts";
import { isPortInUse } from "../../servers/ports.ts";
import { findProgram } from "../../servers/find-program.ts";
import type { Terminal } from "./terminal.ts";

export type Source = "program" | "docker";
export type Sources = Readonly<Record<StoreName, Source>>;

interface Server {
  readonly program: string;
  /** Programs it cannot do without. */
  readonly needs: readonly string[];
  readonly packages: readonly string[];
  /** The oldest that we have run on. */
  readonly oldest: string;
  /** Where the package's own service would listen. */
  readonly usualPort: number;
}

export const SERVERS: Readonly<Record<StoreName, Server>> = {
  redis: {
    program: "redis-server",
    needs: ["redis-server"],
    packages: ["redis-server"],
    oldest: "7.0.15",
    usualPort: 6379,
  },
  nats: {
    program: "nats-server",
    needs: ["nats-server"],
    packages: ["nats-server"],
    oldest: "2.9.10", // Debian 12's
    usualPort: 4222,
  },
  postgres: {
    program: "postgres",
    needs: ["postgres", "initdb"],
    packages: ["postgresql"],
    oldest: "15",
    usualPort: 5432,
  },
};

/** What this machine has. */
export interface Machine {
  readonly programs: Readonly<Record<StoreName, boolean>>;
  readonly docker: boolean;
  readonly apt: boolean;
}

export type Choice =
  | Source
  | "install"
  | "nowhere"
  /** Its data is in a volume of Docker, which does not answer. */
  | "away";

/** Pure: which way each server comes, given what there is and how it came the last time. */
export function choose(
  { programs, docker, apt }: Machine,
  before: Partial<Sources>,
): Record<StoreName, Choice> {
  const choice = (store: StoreName): Choice => {
    if (before[store] === "docker") return docker ? "docker" : "away";
    if (programs[store]) return "program";
    // Its data is a program's: Docker would begin with nothing.
    if (docker && before[store] !== "program") return "docker";
    return apt ? "install" : "nowhere";
  };
  return { redis: choice("redis"), nats: choice("nats"), postgres: choice("postgres") };
}

/** Installs the servers that this machine can be had to run in no other way, after asking. */
export async function installMissing(folder: DataFolder, terminal: Terminal): Promise<void> {
  const before = readSources(folder);
  const choices = choose(lookAround(before), before);
  const missing = STORES.filter((store) => choices[store] === "install");
  if (missing.length === 0) return;
  await installPackages(
    missing.flatMap((store) => SERVERS[store].packages),
    `${missing.map((store) => SERVERS[store].program).join(", ")}: not on PATH, and Docker does not answer`,
    terminal,
  );
}

/**
 * Finds the servers, installs what is missing, and says which it took.
 * @throws Error with what to do, where a server can be had in no way
 */
export async function findServers(folder: DataFolder, terminal: Terminal): Promise<Sources> {
  await installMissing(folder, terminal);
  const before = readSources(folder);
  const choices = choose(lookAround(before), before);
  const named = (choice: Choice) =>
    STORES.filter((store) => choices[store] === choice)
      .map((store) => `${SERVERS[store].program} (${SERVERS[store].oldest}+)`)
      .join(", ");
  if (named("away") !== "") {
    throw new Error(
      `the data of ${named("away")} is in Docker, which does not answer: start it (or make reset)`,
    );
  }
  const nowhere = named("nowhere") || named("install");
  if (nowhere !== "") {
    throw new Error(
      `cannot find ${nowhere}: put it on PATH, or start Docker (there is no apt-get here to install it with)`,
    );
  }
  for (const store of STORES) {
    terminal.say(`  ${SERVERS[store].program.padEnd(13)} ${origin(store, choices[store])}`);
  }
  const sources = choices as Sources;
  writeWhole(sourcesFile(folder), `${JSON.stringify(sources)}\n`, 0o644);
  return sources;
}

const sourcesFile = (folder: DataFolder) => join(folder.path, "servers.json");

/** How this folder's servers were run before. */
export function readSources(folder: DataFolder): Partial<Sources> {
  const file = sourcesFile(folder);
  return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Sources) : {};
}

function lookAround(before: Partial<Sources>): Machine {
  const has = (store: StoreName) => SERVERS[store].needs.every((name) => findProgram(name));
  const programs = { redis: has("redis"), nats: has("nats"), postgres: has("postgres") };
  const isEnough =
    Object.values(programs).every(Boolean) && !Object.values(before).includes("docker");
  return { programs, docker: !isEnough && dockerAnswers(), apt: findProgram("apt-get") !== null };
}

const DOCKER_TIMEOUT_MS = 10_000;

function dockerAnswers(): boolean {
  const docker = findProgram("docker");
  if (docker === null) return false;
  return spawnSync(docker, ["info"], { stdio: "ignore", timeout: DOCKER_TIMEOUT_MS }).status === 0;
}

function origin(store: StoreName, choice: Choice): string {
  if (choice === "docker") return "in a Docker container (it is not on PATH, or was not at first)";
  const path = findProgram(SERVERS[store].program)!;
  const version = versionOf(path);
  const old =
    version !== null && isOlder(version, SERVERS[store].oldest)
      ? `; older than ${SERVERS[store].oldest}, the oldest that was tried`
      : "";
  return `${path} (${version ?? "version unknown"}${old})`;
}

function versionOf(path: string): string | null {
  try {
    const text = execFileSync(path, ["--version"], { stdio: "pipe", timeout: 5_000 }).toString();
    return /\d+(\.\d+)+/.exec(text)?.[0] ?? null;
  } catch {
    return null;
  }
}

export function isOlder(version: string, than: string): boolean {
  const [a, b] = [version.split(".").map(Number), than.split(".").map(Number)];
  const i = b.findIndex((part, at) => part !== (a[at] ?? 0));
  return i !== -1 && (a[i] ?? 0) < b[i]!;
}

/**
 * Says what it installs and why, asks where somebody can answer, and does it.
 * @throws Error where the answer is no, or the package manager fails
 */
export async function installPackages(
  packages: readonly string[],
  why: string,
  terminal: Terminal,
): Promise<void> {
  const sudo = process.getuid?.() === 0 ? [] : ["sudo"];
  terminal.say(`${why}.`);
  terminal.say(`Will install with ${[...sudo, "apt-get"].join(" ")}: ${packages.join(" ")}`);
  if (!(await terminal.agrees("Install?"))) throw new Error("nothing was installed");
  if (sudo.length > 0 && findProgram("sudo") === null) {
    throw new Error(`neither root nor sudo: install ${packages.join(" ")} and come back`);
  }
  const taken = await servicePorts();
  const apt = (...args: string[]) => {
    const command = [...sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", ...args];
    terminal.say(`  apt-get ${args.join(" ")}`);
    // stdin is the terminal's: sudo may ask for a password.
    const run = spawnSync(command[0]!, command.slice(1), { stdio: ["inherit", "ignore", "pipe"] });
    return { ok: run.status === 0, error: run.stderr?.toString().trim() ?? "" };
  };
  apt("update", "-q"); // Some source may be out of reach: the installation tells whether it matters.
  const { ok, error } = apt("install", "-y", "-q", "--no-install-recommends", ...packages);
  if (!ok) throw new Error(`apt-get install ${packages.join(" ")} failed:\n${error}`);

  const started = (await servicePorts()).filter((port) => !taken.includes(port));
  if (started.length > 0) {
    terminal.say(
      `  the packages started services of their own on port ${started.join(", ")}; Gavel does not use them`,
    );
  }
}

async function servicePorts(): Promise<number[]> {
  const ports = STORES.map((store) => SERVERS[store].usualPort);
  const taken = await Promise.all(ports.map(isPortInUse));
  return ports.filter((_, i) => taken[i]);
}
