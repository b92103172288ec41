import type { Store } from "./connect.ts";

/** What Redis says of itself. */
export interface RedisHealth {
  readonly usedBytes: number;
  /** 0 where it has no limit of its own. */
  readonly maxBytes: number;
  readonly clients: number;
  /** Whether its last write to the append-only file went well. */
  readonly writesWell: boolean;
  /** Since it started: of all scripts together, ours and others'. */
  readonly scriptCalls: number;
  readonly scriptSeconds: number;
}

const SECTIONS = ["memory", "clients", "persistence", "commandstats"];

/** Null where it does not tell (INFO is refused). @throws when it does not answer */
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
