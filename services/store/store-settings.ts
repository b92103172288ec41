/** Whether a Redis keeps what it acknowledged, judged by its settings. */
import type { Store } from "./connect.ts";

export interface StoreDurability {
  /** "unknown" if CONFIG is refused. */
  readonly keeps: "yes" | "no" | "unknown";
  /**
   * The settings that weaken durability, as "appendonly=no". Where bids wait for replicas (BID_DURABILITY=replica),
   * "appendfsync=everysec" alone is no weakness.
   */
  readonly settings: readonly string[];
}

/** The required values. */
const REQUIRED = { appendonly: "yes", appendfsync: "always", "maxmemory-policy": "noeviction" };

/** Our scripts need commands that older versions lack. */
const OLDEST_MAJOR = 7;

/** @throws when Redis does not answer */
export async function readDurability(store: Store): Promise<StoreDurability> {
  const names = Object.keys(REQUIRED) as (keyof typeof REQUIRED)[];
  const pipeline = store.pipeline().info("server");
  for (const name of names) pipeline.config("GET", name);
  const [info, ...values] = (await pipeline.exec()) ?? [];
  if (!info || info[0]) throw info?.[0] ?? new Error("Redis does not answer");
  const settings: string[] = [];
  const version = /^redis_version:(\S+)/m.exec(String(info[1]))?.[1] ?? "";
  if (Number.parseInt(version, 10) < OLDEST_MAJOR) settings.push(`redis_version=${version}`);
  let refused = false;
  for (const [i, name] of names.entries()) {
    const [error, reply] = values[i] ?? [new Error("no reply"), null];
    if (error !== null && error.name !== "ReplyError") throw error;
    const value = error === null ? (reply as string[])[1] : undefined;
    if (value === undefined) refused = true;
    else if (value !== REQUIRED[name]) settings.push(`${name}=${value}`);
  }
  return { keeps: settings.length > 0 ? "no" : refused ? "unknown" : "yes", settings };
}
