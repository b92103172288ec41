/** The URLs of the stores, each in the file that a variable names. */
import { readFileSync } from "node:fs";
import { StoreRefused } from "../store/unreachable.ts";

const FORMS = {
  REDIS_URL_FILE: {
    form: "redis://[user:password@]host:port",
    protocols: ["redis:", "rediss:"],
    needsHost: true,
  },
  NATS_URL_FILE: {
    form: "nats://[user:password@|token@]host:port",
    protocols: ["nats:", "tls:"],
    needsHost: true,
  },
  POSTGRES_URL_FILE: {
    form: "postgres://user:password@host:port/database",
    protocols: ["postgres:", "postgresql:"],
    needsHost: false, // The URL of a Unix socket names only its folder.
  },
} as const;

/**
 * Reads the URL of a store. A process continues without it: the file may be corrected or mounted later.
 * @throws StoreRefused that names the variable and the expected form, and never quotes the file
 */
export function readStoreUrl(variable: keyof typeof FORMS, file: string): string {
  const { form, protocols, needsHost } = FORMS[variable];
  let text: string;
  try {
    text = readFileSync(file, "utf8").trim();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new StoreRefused(`${variable}: ${file} cannot be read (${code})`);
  }
  const isOfForm = isUrlOf(protocols, needsHost, needsHost ? text : asPostgresReads(text));
  if (isOfForm) return text;
  throw new StoreRefused(
    `${variable}: ${file} does not contain a URL like ${form}: write one, with user and password percent-encoded`,
  );
}

/** The client accepts an empty host after a password, and a percent sign that encodes nothing. */
function asPostgresReads(text: string): string {
  return text.replace("@/", "@socket/").replace(/%(?![0-9a-f]{2})/gi, "%25");
}

function isUrlOf(protocols: readonly string[], needsHost: boolean, text: string): boolean {
  try {
    const { protocol, hostname, username, password } = new URL(text);
    decodeURIComponent(username + password);
    return protocols.includes(protocol) && (hostname !== "" || !needsHost);
  } catch {
    return false; // The error contains the URL.
  }
}
