/** For each kind of fault: how it is injected, how its effect is observed, and how it is undone. */
import { execFile } from "node:child_process";
import { existsSync, readFileSync, renameSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { setTimeout as sleep } from "node:timers/promises";
import type { FaultProxy, Toxic } from "../services/testing/fault-proxy.ts";
import { until } from "../services/testing/until.ts";
import { freeBytes } from "./disk.ts";
import { Client } from "pg";
import { childrenOf, isAlive, type ManagedProcess, stateOf } from "./managed-process.ts";
import type { Injection, KindName } from "./schedule.ts";
import type { ProcessName, StoreName, System, TierName } from "./system.ts";

/** An active fault. */
interface Fault {
  /** Evidence of its effect, in a few words. */
  readonly seen: string;
  /** @returns evidence of its end */
  undo(): Promise<string>;
}

const run = promisify(execFile);

/** This machine cannot inject the fault. */
export class Unsupported extends Error {}

type Inject = (system: System, injection: Injection) => Promise<Fault>;

const EVIDENCE_MS = 8_000;
/** Postgres may hold a million events, and other faults may be active. */
const ARCHIVE_MS = 60_000;
/** Long enough for more events to be relayed than the archive has fetched. */
const FROZEN_MS = 2_000;
/** SQLSTATE. */
const DISK_FULL = "53100";
/** Time for Redis to load its append-only file. */
const LOAD_MS = 60_000;

export const KINDS: Record<KindName, Inject> = {
  refuse: toxic(() => ({ kind: "refuse" })),
  hang: toxic(() => ({ kind: "hang" })),
  reset: toxic(() => ({ kind: "reset" })),
  latency: toxic((dice) => ({ kind: "latency", delayMs: 20 + Math.round(dice * 480) })),
  bandwidth: toxic((dice) => {
    return { kind: "bandwidth", bytesPerSecond: 2_000 + Math.round(dice * 60_000) };
  }),
  cut: toxic((dice) => ({ kind: "cut", afterBytes: Math.round(dice * 100) })),
  mute: toxic(() => ({ kind: "mute" })),
  deaf: toxic(() => ({ kind: "deaf" })),
  kill: async (system, { target }) => {
    const managed = processOf(system, target);
    const { pid } = managed;
    await managed.kill();
    if (isAlive(pid)) throw new Error(`pid ${pid} of ${target} lives`);
    return { seen: `pid ${pid} gone`, undo: () => startAgain(system, managed, pid) };
  },
  freeze: async (system, { target }) => {
    const managed = processOf(system, target);
    const { pid } = managed;
    const frozen = await freeze(managed);
    return {
      seen: `pid ${pid} and ${frozen.length - 1} of its own stopped`,
      async undo() {
        thaw(frozen);
        await until(`${target} continues`, () => stateOf(pid) !== "T", EVIDENCE_MS);
        return "continued";
      },
    };
  },
  "clock-skew": async (system, { target, dice }) => {
    const managed = processOf(system, target);
    const skewMs = dice < 0.5 ? -3_600_000 : 3_600_000;
    const proof = join(system.dir, `${target}-clock`);
    const preload = new URL("./skewed-clock.ts", import.meta.url).href;
    await managed.terminate();
    await managed.start({
      NODE_OPTIONS: `--import=${preload}`,
      SKEW_MS: String(skewMs),
      SKEW_PROOF_FILE: proof,
    });
    const offMs = Number(readFileSync(proof, "utf8")) - Date.now();
    if (Math.abs(offMs - skewMs) > 60_000) throw new Error(`${target} is off by ${offMs} ms`);
    return {
      seen: `its clock is off by ${Math.round(offMs / 60_000)} min`,
      async undo() {
        const { pid } = managed;
        await managed.terminate();
        return startAgain(system, managed, pid);
      },
    };
  },
  "rolling-restart": async (system, { target }) => {
    const codes: (number | null)[] = [];
    for (const n of [1, 2]) {
      const managed = processOf(system, `${target}-${n}`);
      codes.push(await managed.terminate());
      await managed.start();
      await ready(system, managed.name as TierName);
    }
    if (codes.includes(null)) throw new Error(`${target} had to be killed`);
    return { seen: `exit codes ${codes.join(" ")}`, undo: async () => "both ready" };
  },
  "disk-full": async (system, { target }) => {
    const store = target as StoreName;
    const disk = system.disks[store];
    if (disk.why !== null) throw new Unsupported(disk.why);
    const managed = system.processes[store];
    const { pid } = managed;
    const seen = await until(
      `${store} runs out of space`,
      async () => {
        // Repeatedly: files that the store deletes free space.
        disk.fill();
        // Its log is on the same disk, so only its answer to a client shows the error.
        const told = store === "postgres" ? await writeMuch(system.urls.postgres) : null;
        if (told) return `no space: "${told}"`;
        if (!managed.isRunning()) return "no space, and it ended";
        return null;
      },
      EVIDENCE_MS,
    ).catch((error: unknown) => {
      disk.free();
      throw error;
    });
    const left = freeBytes(join(system.dir, store));
    return {
      seen: `${seen} (${left} bytes left)`,
      async undo() {
        disk.free();
        // Postgres may be shutting down or restarting by itself.
        await sleep(200);
        return managed.isRunning() ? "disk freed" : startAgain(system, managed, pid);
      },
    };
  },
  "redis-busy": async (system, { lastsMs }) => {
    const port = redisPort(system);
    await redis(port, ["CONFIG", "SET", "busy-reply-threshold", "50"]);
    const loop =
      "local t=redis.call('TIME') local s=t[1]*1000+t[2]/1000 repeat t=redis.call('TIME') until t[1]*1000+t[2]/1000-s>tonumber(ARGV[1]) return 'done'";
    const busy = redis(port, ["EVAL", loop, "0", String(lastsMs)], lastsMs + 5_000);
    busy.catch(() => {});
    await sleep(120);
    const reply = await redis(port, ["PING"]);
    if (!reply.startsWith("-BUSY")) throw new Error(`redis is not busy: ${reply}`);
    return {
      seen: "Redis answers BUSY",
      undo: () => busy.then((text) => `the script ended: ${text.trim().slice(-4)}`),
    };
  },
  // While Postgres is frozen: then only NATS holds the events relayed last.
  "nats-wiped": async (system, { lastsMs }) => {
    const { nats, postgres } = system.processes;
    const { pid } = nats;
    const frozen = await freeze(postgres);
    try {
      await sleep(FROZEN_MS + lastsMs);
      await nats.kill();
      const data = join(system.dataOf("nats"), "jetstream");
      if (!existsSync(data)) throw new Error(`no data of nats at ${data}`);
      rmSync(data, { recursive: true });
    } finally {
      thaw(frozen);
    }
    return {
      seen: `pid ${pid} gone, its data removed, postgres frozen before`,
      undo: () => startAgain(system, nats, pid),
    };
  },
  "postgres-rewound": async (system, { lastsMs }) => {
    const managed = system.processes.postgres;
    const data = join(system.dataOf("postgres"), "data");
    const backup = `${data}-backup`;
    await managed.terminate();
    await run("cp", ["-a", data, backup]);
    await managed.start();
    await sleep(lastsMs);
    const copied = await until("postgres answers", () => countEvents(system), EVIDENCE_MS);
    const before = await until(
      "the archive grows",
      async () => {
        const count = await countEvents(system);
        return count > copied ? count : null;
      },
      ARCHIVE_MS,
    );
    await managed.kill();
    rmSync(data, { recursive: true });
    renameSync(backup, data);
    await until("postgres starts from its backup", () => managed.start().then(() => true), LOAD_MS);
    const after = await until("postgres answers", () => countEvents(system), EVIDENCE_MS);
    if (after >= before)
      throw new Error(`the archive lost nothing: ${before} events, then ${after}`);
    return {
      seen: `restored from a copy: ${before} events, then ${after}`,
      undo: async () => "archival writes the missing events again",
    };
  },
};

function processOf(system: System, target: string): ManagedProcess {
  return system.processes[target as ProcessName];
}

/** Stops a process and its children (in Postgres they do the work). @returns their pids */
async function freeze({ name, pid }: ManagedProcess): Promise<number[]> {
  const pids = [pid, ...childrenOf(pid)];
  for (const one of pids) process.kill(one, "SIGSTOP");
  await until(`${name} is stopped`, () => stateOf(pid) === "T", EVIDENCE_MS);
  return pids;
}

function thaw(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      process.kill(pid, "SIGCONT");
    } catch {
      // The process has ended.
    }
  }
}

async function startAgain(
  system: System,
  managed: ManagedProcess,
  before: number,
): Promise<string> {
  await managed.start();
  if (managed.name === "redis") {
    const loaded = async () => (await redis(redisPort(system), ["PING"])).startsWith("+PONG");
    await until("redis has read its log", loaded, LOAD_MS);
  }
  if (managed.pid === before || !isAlive(managed.pid))
    throw new Error(`${managed.name} did not start`);
  return `pid ${managed.pid}`;
}

async function ready(system: System, tier: TierName): Promise<void> {
  // A fault of the other lane may keep it from being ready. The restart continues anyway.
  const isReady = async () => (await fetch(`${system.internalUrl(tier)}/readyz`)).ok;
  await until(`${tier} is ready`, isReady, 3_000).catch(() => {});
}

const redisPort = (system: System) => Number(new URL(system.urls.redis).port);

/** Writes more than fits on the disk; the failed statement is rolled back. @returns the error message */
async function writeMuch(postgresUrl: string): Promise<string | null> {
  const client = new Client({ connectionString: postgresUrl, query_timeout: EVIDENCE_MS });
  client.on("error", () => {});
  try {
    await client.connect();
    await client.query(
      "create temporary table much as select md5(n::text) from generate_series(1, 400000) n",
    );
    return null;
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    // A full disk may prevent the session itself, which has another error code.
    return code === DISK_FULL || message.includes("could not write") ? message : null;
  } finally {
    await client.end().catch(() => {});
  }
}

/** Number of archived events, read without a proxy. */
async function countEvents({ urls, definition }: System): Promise<number> {
  const client = new Client({ connectionString: urls.postgres, query_timeout: EVIDENCE_MS });
  client.on("error", () => {});
  try {
    await client.connect();
    const text = "select count(*)::float8 as count from events where auction_uid = $1";
    return (await client.query<{ count: number }>(text, [definition.uid])).rows[0]!.count;
  } finally {
    await client.end().catch(() => {});
  }
}

/** A fault of a proxy. Its counters show the effect; `call` makes sure that there is traffic. */
function toxic(make: (dice: number) => Toxic): Inject {
  return async (system, { target, dice }) => {
    const proxy = system.proxies.get(target)!;
    const fault = make(dice);
    const before = { ...proxy.counters };
    await proxy.inject(fault);
    try {
      const seen = await until(
        `${target} suffers from ${fault.kind}`,
        () => evidence(proxy, fault, before, target),
        EVIDENCE_MS,
      );
      return { seen, undo: () => healed(proxy) };
    } catch (error) {
      await proxy.heal();
      throw error;
    }
  };
}

async function healed(proxy: FaultProxy): Promise<string> {
  await proxy.heal();
  return "healed";
}

async function evidence(
  proxy: FaultProxy,
  fault: Toxic,
  before: FaultProxy["counters"],
  target: string,
): Promise<string | null> {
  const called = await call(proxy.port, target);
  const grown = (counter: keyof FaultProxy["counters"], words: string) => {
    const by = proxy.counters[counter] - before[counter];
    return by > 0 ? `${by} ${words}` : null;
  };
  switch (fault.kind) {
    case "refuse":
      return called === "ECONNREFUSED" ? "port refused" : null;
    case "reset":
      return grown("reset", "connections reset");
    case "hang":
    case "deaf":
      return grown("withheldRequests", "requests withheld");
    case "mute":
      return grown("withheldReplies", "replies withheld");
    case "cut":
      return grown("cut", `replies cut after ${fault.afterBytes} bytes`);
    case "latency":
      return grown("delayedChunks", `pieces late by ${fault.delayMs} ms`);
    case "bandwidth":
      return grown("throttledChunks", `pieces at ${fault.bytesPerSecond} bytes/s`);
  }
}

const GREETINGS: Record<string, Buffer> = {
  redis: Buffer.from("INFO\r\n"),
  nats: Buffer.from("PING\r\n"),
  postgres: Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]),
};
const HTTP_GREETING = Buffer.from("GET /none HTTP/1.1\r\nhost: localhost\r\n\r\n");

/** Connects through the proxy as its clients do, sends a greeting, and closes after 100 ms. */
function call(port: number, target: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1" });
    const timer = setTimeout(() => {
      socket.destroy();
      resolve("silence");
    }, 100);
    socket.on("connect", () => socket.write(GREETINGS[target.split(">")[1]!] ?? HTTP_GREETING));
    socket.on("data", () => {});
    socket.on("error", (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      resolve(error.code ?? "error");
    });
  });
}

/** Sends one command to Redis without a proxy. @returns the first chunk of the reply */
function redis(port: number, words: readonly string[], timeoutMs = 3_000): Promise<string> {
  const text = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join("");
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", timeout: timeoutMs });
    socket.write(`*${words.length}\r\n${text}`);
    socket.on("data", (data) => {
      socket.destroy();
      resolve(data.toString());
    });
    socket.on("error", reject);
    socket.on("timeout", () => socket.destroy(new Error("redis does not answer")));
  });
}
