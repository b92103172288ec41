import type { Store } from "./connect.ts";

/** Redis's own figures, from INFO. */
export interface RedisHealth {
  readonly usedBytes: number;
  /** 0 where maxmemory is not set. */
  readonly maxBytes: number;
  readonly clients: number;
  /** Whether the last write to the append-only file succeeded. */
  readonly writesWell: boolean;
  /** Calls of all scripts since Redis started. */
  readonly scriptCalls: number;
  readonly scriptSeconds: number;
}

const SECTIONS = ["memory", "clients", "persistence", "commandstats"];

/** Null if INFO is refused. @throws when Redis does not answer */
export async function readRedisHealth(store: Store): Promise<RedisHealth | null> {
  let text: string;
  try {
    text = String(await store.call("INFO", ...SECTIONS));
  } catch (error) {
    if ((error as Error).name === "ReplyError") return null;
    throw error;
  }
  const field = (name: string) => new RegExp(`^${name}:(\\S*)`, "m").exec(text)?.[1] ?? "";
  const calls = /calls=(\d+),usec=(\d+)/.exec(field("cmdstat_evalsha"));
  return {
    usedBytes: Number(field("used_memory")),
    maxBytes: Number(field("maxmemory")),
    clients: Number(field("connected_clients")),
    writesWell: field("aof_last_write_status") !== "err",
    scriptCalls: Number(calls?.[1] ?? 0),
    scriptSeconds: Number(calls?.[2] ?? 0) / 1e6,
  };
}
