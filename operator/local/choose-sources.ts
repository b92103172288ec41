/**
 * Chooses how each store runs: as a program of this machine, else in Docker, else as a program that the
 * system's package manager installs. The choice is printed and recorded, because a program cannot read
 * the data of a store that ran in Docker, nor the other way round.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { findProgram } from "../../servers/find-program.ts";
import { type StoreName, STORES } from "../api/components.ts";
import { type DataFolder, writeAtomically } from "./data-folder.ts";
import { installPackages } from "./install-packages.ts";
import { SERVERS } from "./server-programs.ts";
import type { Terminal } from "./terminal.ts";

export type Source = "program" | "docker";
export type Sources = Readonly<Record<StoreName, Source>>;

/** What is available on this machine. */
export interface Machine {
  readonly programs: Readonly<Record<StoreName, boolean>>;
  readonly docker: boolean;
  readonly apt: boolean;
}

type Choice =
  | Source
  | "install"
  /** No program, no Docker, no package manager. */
  | "unavailable"
  /** The data is in a Docker volume, and Docker does not answer. */
  | "docker-down";

/** Pure. @param before how each store ran the last time */
export function chooseSources(
  { programs, docker, apt }: Machine,
  before: Partial<Sources>,
): Record<StoreName, Choice> {
  const choice = (store: StoreName): Choice => {
    if (before[store] === "docker") return docker ? "docker" : "docker-down";
    if (programs[store]) return "program";
    // The data belongs to a program: a container would start with an empty volume.
    if (docker && before[store] !== "program") return "docker";
    return apt ? "install" : "unavailable";
  };
  return { redis: choice("redis"), nats: choice("nats"), postgres: choice("postgres") };
}

/** Installs, after asking, the servers that this machine can run in no other way. */
export async function installMissing(folder: DataFolder, terminal: Terminal): Promise<void> {
  const before = readSources(folder);
  const choices = chooseSources(inspectMachine(before), before);
  const missing = STORES.filter((store) => choices[store] === "install");
  if (missing.length === 0) return;
  await installPackages(
    missing.flatMap((store) => SERVERS[store].packages),
    `${missing.map((store) => SERVERS[store].program).join(", ")}: not on PATH, and Docker is not running`,
    terminal,
  );
}

/**
 * Chooses how each server runs, installs missing ones, and prints which were chosen.
 * @throws Error that says what to do, if a server is not available in any way
 */
export async function chooseServers(folder: DataFolder, terminal: Terminal): Promise<Sources> {
  await installMissing(folder, terminal);
  const before = readSources(folder);
  const choices = chooseSources(inspectMachine(before), before);
  const named = (choice: Choice) =>
    STORES.filter((store) => choices[store] === choice)
      .map((store) => `${SERVERS[store].program} (${SERVERS[store].oldest}+)`)
      .join(", ");
  if (named("docker-down") !== "") {
    throw new Error(
      `the data of ${named("docker-down")} is in Docker, which is not running: start Docker, or delete the data with make reset`,
    );
  }
  const unavailable = named("unavailable") || named("install");
  if (unavailable !== "") {
    throw new Error(
      `cannot find ${unavailable}: install it on PATH, or start Docker (there is no apt-get to install it with)`,
    );
  }
  for (const store of STORES) {
    terminal.say(`  ${SERVERS[store].program.padEnd(13)} ${describeSource(store, choices[store])}`);
  }
  const sources = choices as Sources;
  writeAtomically(sourcesFile(folder), `${JSON.stringify(sources)}\n`);
  return sources;
}

const sourcesFile = (folder: DataFolder) => join(folder.path, "servers.json");

/** How the stores of this folder ran the last time. */
export function readSources(folder: DataFolder): Partial<Sources> {
  const file = sourcesFile(folder);
  return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Sources) : {};
}

function inspectMachine(before: Partial<Sources>): Machine {
  const isInstalled = (store: StoreName) => SERVERS[store].needs.every((name) => findProgram(name));
  const programs = {
    redis: isInstalled("redis"),
    nats: isInstalled("nats"),
    postgres: isInstalled("postgres"),
  };
  const needsNoDocker =
    Object.values(programs).every(Boolean) && !Object.values(before).includes("docker");
  return {
    programs,
    docker: !needsNoDocker && isDockerRunning(),
    apt: findProgram("apt-get") !== null,
  };
}

const DOCKER_TIMEOUT_MS = 10_000;

function isDockerRunning(): boolean {
  const docker = findProgram("docker");
  if (docker === null) return false;
  return spawnSync(docker, ["info"], { stdio: "ignore", timeout: DOCKER_TIMEOUT_MS }).status === 0;
}

function describeSource(store: StoreName, choice: Choice): string {
  if (choice === "docker")
    return "in a Docker container (not on PATH now, or not at the first run)";
  const path = findProgram(SERVERS[store].program)!;
  const version = versionOf(path);
  const old =
    version !== null && isOlder(version, SERVERS[store].oldest)
      ? `; older than ${SERVERS[store].oldest}, the oldest tested version`
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
