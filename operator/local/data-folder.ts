/**
 * The folder `.gavel/`: the auctions that it runs, the secrets, the URLs of the stores, data and logs.
 * Only the owner can read files with secrets.
 */
import { randomBytes, randomUUID } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { type StoreName, STORES, type TierName } from "../api/components.ts";

/** The order in which the tiers start. */
export const START_ORDER = ["archival", "gateway", "broadcast"] as const satisfies TierName[];

export interface RecordedAuction {
  readonly uid: string;
  readonly name: string;
  /** Path of the YAML file. */
  readonly file: string;
}

export class DataFolder {
  readonly path: string;

  constructor(path: string) {
    this.path = resolve(path);
  }

  get exists(): boolean {
    return existsSync(this.path);
  }

  get rulesFile(): string {
    return join(this.path, "rules.json");
  }
  get tokenSecretFile(): string {
    return join(this.path, "secrets", "token");
  }
  get postgresPasswordFile(): string {
    return join(this.path, "secrets", "postgres-password");
  }
  urlFile(store: StoreName): string {
    return join(this.path, "connections", `${store}-url`);
  }
  storeDir(store: StoreName): string {
    return join(this.path, store);
  }
  /** Configuration and data of Prometheus (OBSERVE=1). */
  get prometheusDir(): string {
    return join(this.path, "prometheus");
  }
  logFile(process: StoreName | TierName | "up" | "prometheus"): string {
    const isStore = (STORES as readonly string[]).includes(process);
    return join(this.path, isStore ? process : "logs", `${process}.log`);
  }
  get runDir(): string {
    return join(this.path, "run");
  }

  /** Creates the folder and the secrets if they do not exist. */
  prepare(): void {
    for (const name of ["secrets", "connections", "logs", "run"]) {
      mkdirSync(join(this.path, name), { recursive: true });
    }
    for (const file of [this.tokenSecretFile, this.postgresPasswordFile]) {
      if (!existsSync(file)) writeSecret(file, randomBytes(32).toString("hex"));
    }
  }

  /** The auction of this name that the folder runs, with its uid; null if it has run none. */
  recorded(name: string): RecordedAuction | null {
    const all = this.#auctions();
    return Object.hasOwn(all, name) ? all[name]! : null;
  }

  record(name: string, file: string, uid: string = randomUUID()): RecordedAuction {
    const auction = { uid, name, file };
    const all = { ...this.#auctions(), [name]: auction };
    writeAtomically(this.#auctionsFile, `${JSON.stringify(all, null, 2)}\n`, 0o644);
    return auction;
  }

  get #auctionsFile(): string {
    return join(this.path, "auctions.json");
  }

  #auctions(): Record<string, RecordedAuction> {
    if (!existsSync(this.#auctionsFile)) return {};
    return JSON.parse(readFileSync(this.#auctionsFile, "utf8")) as Record<string, RecordedAuction>;
  }
}

export function writeSecret(file: string, text: string): void {
  writeAtomically(file, `${text}\n`, 0o600);
}

/** Writes to a temporary file and renames it: a crash leaves the old content. */
export function writeAtomically(file: string, text: string, mode: number): void {
  mkdirSync(dirname(file), { recursive: true });
  const temporaryFile = `${file}.new`;
  writeFileSync(temporaryFile, text, { mode, flush: true });
  renameSync(temporaryFile, file);
}
