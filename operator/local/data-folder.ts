/**
 * The folder `.gavel/`: the auctions that it runs, the secrets, the URLs of the stores, data and logs.
 * Only the owner can read anything in it.
 */
import { randomBytes, randomUUID } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { AuctionDefinition } from "../../services/store/define-lots.ts";
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
  passwordFile(store: StoreName): string {
    return join(this.path, "secrets", `${store}-password`);
  }
  /** Password of the role that `make sql` uses. */
  get readerPasswordFile(): string {
    return join(this.path, "secrets", "postgres-reader-password");
  }
  /** URL of the archive for the role that `make sql` uses. */
  get readerUrlFile(): string {
    return join(this.path, "connections", "postgres-reader-url");
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
  /** @param process a store, a process of a tier (`gateway-2`), `up` or `prometheus` */
  logFile(process: string): string {
    const isStore = (STORES as readonly string[]).includes(process);
    return join(this.path, isStore ? process : "logs", `${process}.log`);
  }
  get runDir(): string {
    return join(this.path, "run");
  }

  /** The definition that the last run wrote. Null if there was none. */
  readRules(): AuctionDefinition | null {
    if (!existsSync(this.rulesFile)) return null;
    return JSON.parse(readFileSync(this.rulesFile, "utf8")) as AuctionDefinition;
  }

  /** Creates the folder and the secrets if they do not exist. */
  prepare(): void {
    mkdirSync(this.path, { recursive: true, mode: 0o700 });
    // If this process is root, Postgres runs as another user, who may enter this folder and not list it.
    chmodSync(this.path, process.getuid?.() === 0 ? 0o711 : 0o700);
    for (const name of ["secrets", "connections", "logs", "run", "redis", "nats"]) {
      mkdirSync(join(this.path, name), { recursive: true });
      chmodSync(join(this.path, name), 0o700); // made by an earlier version
    }
    const passwords = STORES.map((store) => this.passwordFile(store));
    for (const file of [this.tokenSecretFile, ...passwords, this.readerPasswordFile]) {
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
    writeAtomically(this.#auctionsFile, `${JSON.stringify(all, null, 2)}\n`);
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
  writeAtomically(file, `${text}\n`);
}

/** Writes to a temporary file and renames it: a crash leaves the old content. Only the owner can read it. */
export function writeAtomically(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const temporaryFile = `${file}.new`;
  writeFileSync(temporaryFile, text, { mode: 0o600, flush: true });
  renameSync(temporaryFile, file);
}
