/**
 * One run: an auction under load, faults by the schedule of a seed, everything healed, and every bid
 * judged. See kinds.ts for what is done, schedule.ts for when, judge.ts for the verdict.
 */
import { randomUUID } from "node:crypto";
import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { signToken } from "../services/access/tokens.ts";
import type { Verdict } from "../services/lot/checker/verdicts.ts";
import { connectStore } from "../services/store/connect.ts";
import type { AuctionDefinition } from "../services/store/define-lots.ts";
import { keysOf } from "../services/store/keys.ts";
import { encodeEvent } from "../services/lot/events.ts";
import { Recorder } from "../load/recorder.ts";
import { until } from "../services/testing/until.ts";
import { judge, type Judgement } from "./judge.ts";
import { KINDS, Skipped } from "./kinds.ts";
import { Load } from "./load.ts";
import type { LoadPlan } from "./load-plan.ts";
import { type Injection, type KindName, type Lane, scheduleOf } from "./schedule.ts";
import { LINKS, linkName, SECRET, startSystem, type System } from "./system.ts";
import { Client } from "pg";

export interface Settings {
  readonly seed: number;
  readonly durationMs: number;
  readonly bidsPerSecond: number;
  readonly outboxMaxBytes: number;
  readonly say: (line: string) => void;
  /** Where to leave logs and histories; null: nowhere, unless something is wrong. */
  readonly keepIn: string;
}

export interface Totals {
  readonly injections: number;
  readonly kinds: ReadonlyMap<KindName, number>;
  readonly notSeen: readonly string[];
  readonly skipped: readonly string[];
  readonly judgement: Judgement;
  readonly bidsAttempted: number;
  readonly odd: readonly string[];
  /** Share of the time in which nothing was wrong. */
  readonly calm: number;
  readonly line: string;
  readonly good: boolean;
}

/** Few and busy: what is under way when something breaks has an unknown fate. */
const BIDDERS = 18;
const LONG_LOTS = 12;
const SHORT_LOT_EVERY_MS = 5_000;
const STEP_MINOR = 1;
/** After the faults: for the last retries, before the long lots close. */
const LAST_BIDS_MS = 8_000;
const WARM_UP_MS = 2_000;
const CALM_SHARE = 0.25;
const CALM_MS = 2_000;
const RESOLVE_TIMEOUT_MS = 60_000;
const ARCHIVE_TIMEOUT_MS = 600_000;
/** Without a further event in the archive for so long, it is as complete as it will be. */
const ARCHIVE_STALL_MS = 45_000;
const PROGRESS_MS = 5_000;

export function definitionOf(durationMs: number): AuctionDefinition {
  const shortLots = Math.floor(durationMs / SHORT_LOT_EVERY_MS);
  const lot = (lotId: string, lastsMs: number) => ({
    lotId,
    title: lotId,
    startMinor: 1_000,
    reserveMinor: null,
    closesAtMs: null,
    lastsMs,
    withdrawn: false,
  });
  return {
    uid: randomUUID(),
    name: "faults",
    title: "Faults",
    currency: "EUR",
    minorUnitDigits: 2,
    opensAtMs: null,
    suspended: false,
    rules: {
      increments: [{ fromMinor: 0, stepMinor: STEP_MINOR }],
      antiSniping: { windowMs: 1_500, extensionMs: 700, maxExtensions: 20 },
      maxAmountMinor: 1_000_000_000_000,
      reserveDisclosure: "MetOnly",
    },
    lots: [
      ...Array.from({ length: LONG_LOTS }, (_, n) =>
        lot(`long-${n + 1}`, WARM_UP_MS + durationMs + LAST_BIDS_MS),
      ),
      ...Array.from({ length: shortLots }, (_, n) =>
        lot(`short-${n + 1}`, WARM_UP_MS + (n + 1) * SHORT_LOT_EVERY_MS - 2_000),
      ),
    ],
  };
}

export async function runFaults(settings: Settings): Promise<Totals> {
  const { seed, durationMs, say } = settings;
  const definition = definitionOf(durationMs);
  say(`faults: SEED=${seed} DURATION=${durationMs / 1_000} auction ${definition.uid}`);
  const schedule = scheduleOf(seed, durationMs);
  const system = await startSystem(definition, { ...settings, onStep: say });
  const loads: Load[] = [];
  const files = ["bidders", "watchers"].map((name) => join(system.dir, `${name}.jsonl`));
  try {
    await system.open();
    const plan = await planOf(system, settings);
    const [bidders, watchers] = (["bidders", "watchers"] as const).map(
      (name, i) => new Load(name, { ...plan, historyFile: files[i]! }),
    ) as [Load, Load];
    loads.push(bidders, watchers);
    const startMs = performance.now();
    const progress = setInterval(() => say(progressLine(startMs, bidders, watchers)), PROGRESS_MS);
    await sleep(WARM_UP_MS);
    const tally = new Tally(say);
    await injectAll(system, schedule, tally, durationMs);
    for (const part of Object.values(system.parts)) await part.start();
    say("all is healed; waiting for the last answers");
    await bidders.finish(RESOLVE_TIMEOUT_MS).catch((error: unknown) => say(String(error)));
    await allArchived(system, say);
    await watchers.finish(RESOLVE_TIMEOUT_MS).catch((error: unknown) => say(String(error)));
    clearInterval(progress);
    say(progressLine(startMs, bidders, watchers));
    const judgement = await judge(definition, files, system.urls.postgres);
    const totals = totalsOf(tally, judgement, bidders);
    if (!totals.good) keep(system, files, settings, judgement);
    return totals;
  } catch (error) {
    keep(system, files, settings);
    throw error;
  } finally {
    for (const load of loads) load.kill();
    await system.stop();
  }
}

async function planOf(system: System, settings: Settings): Promise<LoadPlan> {
  const portsOf = (tier: string) =>
    LINKS.filter(([from, to]) => from === "load" && to.startsWith(tier)).map(
      ([from, to]) => system.proxies.get(linkName(from, to))!.port,
    );
  const bidderIds = Array.from({ length: BIDDERS }, (_, n) => `bidder-${n}`);
  const tokens = bidderIds.map(async (sub) => {
    const token = await signToken(SECRET, { sub, scope: "bid", lifetimeSeconds: 86_400 });
    return [sub, token] as const;
  });
  return {
    uid: system.definition.uid,
    gatewayPorts: portsOf("gateway"),
    broadcastPorts: portsOf("broadcast"),
    lots: system.definition.lots.map(({ lotId }) => ({ lotId, long: lotId.startsWith("long") })),
    tokens: await Promise.all(tokens),
    bidsPerSecond: settings.bidsPerSecond,
    historyFile: "",
    seed: settings.seed,
  };
}

/** What was injected, and what of the time was calm. */
class Tally {
  readonly kinds = new Map<KindName, number>();
  readonly notSeen: string[] = [];
  readonly skipped = new Set<string>();
  injections = 0;
  #active = 0;
  #calmSinceMs = performance.now();
  readonly #fromMs = performance.now();
  #calmMs = 0;
  readonly say: (line: string) => void;

  constructor(say: (line: string) => void) {
    this.say = say;
  }

  begin(): void {
    if (this.#active++ === 0) this.#calmMs += performance.now() - this.#calmSinceMs;
  }

  end(): void {
    if (--this.#active === 0) this.#calmSinceMs = performance.now();
  }

  count(kind: KindName): void {
    this.injections++;
    this.kinds.set(kind, (this.kinds.get(kind) ?? 0) + 1);
  }

  get calm(): number {
    const nowMs = performance.now();
    const now = this.#active === 0 ? nowMs - this.#calmSinceMs : 0;
    return (this.#calmMs + now) / (nowMs - this.#fromMs);
  }

  /** Faults that take longer than planned must not eat up the calm: waits for what is due of it. */
  async rest(): Promise<void> {
    const isRested = () =>
      this.calm >= CALM_SHARE ||
      (this.#active === 0 && performance.now() - this.#calmSinceMs > CALM_MS);
    if (performance.now() - this.#fromMs < CALM_MS * 3) return;
    while (!isRested()) await sleep(20);
  }
}

async function injectAll(
  system: System,
  schedule: readonly Injection[],
  tally: Tally,
  durationMs: number,
): Promise<void> {
  const startMs = performance.now();
  const lane = async (name: Lane): Promise<void> => {
    for (const injection of schedule.filter((one) => one.lane === name)) {
      const waitMs = startMs + injection.atMs - performance.now();
      if (waitMs > 0) await sleep(waitMs);
      await tally.rest();
      if (performance.now() - startMs > durationMs) {
        tally.say(`  #${injection.n} and those after it in its lane: the time is over`);
        return;
      }
      await inject(system, injection, tally);
    }
  };
  await Promise.all([lane("bids"), lane("archive")]);
  const leftMs = startMs + durationMs - performance.now();
  if (leftMs > 0) await sleep(leftMs);
}

async function inject(system: System, injection: Injection, tally: Tally): Promise<void> {
  const { n, kind, target, lastsMs } = injection;
  const title = `  #${n} ${kind} ${target}`;
  tally.begin();
  const beganMs = performance.now();
  try {
    const fault = await KINDS[kind](system, injection);
    await sleep(lastsMs);
    const undone = await fault.undo();
    tally.count(kind);
    const tookMs = Math.round(performance.now() - beganMs);
    tally.say(`${title}: ${fault.seen}; ${tookMs} ms (${lastsMs} planned); ${undone}`);
  } catch (error) {
    if (error instanceof Skipped) {
      if (!tally.skipped.has(kind)) tally.say(`${title}: SKIPPED, ${error.message}`);
      tally.skipped.add(`${kind} ${target}: ${error.message}`);
    } else {
      tally.notSeen.push(`#${n} ${kind} ${target}: ${String(error)}`);
      tally.say(`${title}: NOT SEEN: ${String(error)}`);
    }
  } finally {
    tally.end();
  }
}

let lastAcknowledged = 0;
let lastMs = 0;

function progressLine(startMs: number, bidders: Load, watchers: Load): string {
  const { acknowledged, rejected, refused, unknown, unresolved } = bidders.counts;
  const nowMs = performance.now();
  const perSecond = ((acknowledged - lastAcknowledged) * 1_000) / Math.max(1, nowMs - lastMs);
  lastAcknowledged = acknowledged;
  lastMs = nowMs;
  const seconds = Math.round((nowMs - startMs) / 1_000);
  return [
    `${seconds} s: ${acknowledged} acknowledged (${Math.round(perSecond)}/s)`,
    `${rejected} rejected`,
    `${refused} refused`,
    `${unknown} unknown (${unresolved} open)`,
    `${watchers.counts.frames} frames on ${watchers.counts.connections} sockets`,
  ].join(", ");
}

/** Until every lot is closed in Redis, and the archive has all its events. */
async function allArchived(system: System, say: (line: string) => void): Promise<void> {
  const { definition, urls } = system;
  const store = connectStore(urls.redis, "faults");
  store.on("error", () => {});
  await store.connect();
  const client = new Client({ connectionString: urls.postgres, query_timeout: 30_000 });
  await client.connect();
  const keys = keysOf(definition.uid);
  let said = performance.now();
  let [known, movedMs] = [-1, performance.now()];
  try {
    await until(
      "every lot's archive is complete",
      async () => {
        await sleep(500);
        const heads = await Promise.all(
          definition.lots.map(({ lotId }) =>
            store.hmget(keys.lot(lotId).lot, "status", "epoch", "seq"),
          ),
        );
        const { rows } = await client.query<{ count: string; events: string }>(
          "select count(*) filter (where type in ('lot_closed', 'lot_withdrawn')), count(*) as events from events where auction_uid = $1",
          [definition.uid],
        );
        const open = heads.filter(([status]) => status !== "closed" && status !== "withdrawn");
        const archived = Number(rows[0]!.count);
        const events = Number(rows[0]!.events);
        if (events !== known) [known, movedMs] = [events, performance.now()];
        else if (performance.now() - movedMs > ARCHIVE_STALL_MS) {
          say(`the archive stands still at ${archived} of ${heads.length} lots: judged as it is`);
          return true;
        }
        if (performance.now() - said > PROGRESS_MS) {
          said = performance.now();
          say(`waiting: ${open.length} lots open, ${archived} of ${heads.length} archived`);
        }
        return open.length === 0 && archived === heads.length;
      },
      ARCHIVE_TIMEOUT_MS,
    ).catch((error: unknown) => say(String(error)));
  } finally {
    store.disconnect();
    await client.end();
  }
}

function totalsOf(tally: Tally, judgement: Judgement, bidders: Load): Totals {
  const { counts, verdicts } = judgement;
  const { acknowledged, lost, duplicated, misordered, unknown } = counts;
  const { rejected, odd } = bidders.counts;
  const unknownBids = unknown.resolved + unknown.unresolved;
  const bidsAttempted = acknowledged + rejected + unknown.unresolved;
  const share = ((100 * unknownBids) / Math.max(1, bidsAttempted)).toFixed(3);
  const resolved = unknown.unresolved === 0 ? "all resolved" : `${unknown.unresolved} UNRESOLVED`;
  const complete = counts.viewers > 0 && counts.viewersComplete === counts.viewers;
  const viewers = complete
    ? "viewers complete"
    : `viewers INCOMPLETE (${counts.viewersComplete} of ${counts.viewers})`;
  const good =
    verdicts.length === 0 &&
    unknown.unresolved === 0 &&
    complete &&
    odd.length === 0 &&
    tally.notSeen.length === 0 &&
    acknowledged > 0;
  const line =
    `faults: ${tally.injections} injections of ${tally.kinds.size} kinds, ${acknowledged} acknowledged, ` +
    `lost ${lost}, duplicated ${duplicated}, misordered ${misordered}, ` +
    `unknown ${unknownBids} (${share} %) ${resolved}, ${viewers}`;
  return {
    injections: tally.injections,
    kinds: tally.kinds,
    notSeen: tally.notSeen,
    skipped: [...tally.skipped],
    judgement,
    bidsAttempted,
    odd,
    calm: tally.calm,
    line,
    good,
  };
}

/** A table of kinds, what is wrong, and the line of totals. */
export function reportOf(totals: Totals): string[] {
  const { kinds, judgement, notSeen, skipped, odd, calm, line } = totals;
  const rows = [...kinds].sort(([a], [b]) => a.localeCompare(b));
  const first = new Map<string, Verdict>();
  for (const verdict of judgement.verdicts) {
    if (!first.has(verdict.verdict)) first.set(verdict.verdict, verdict);
  }
  return [
    "",
    "kind              injections",
    ...rows.map(([kind, count]) => `${kind.padEnd(18)}${String(count).padStart(10)}`),
    `calm ${(calm * 100).toFixed(0)} % of the time; ${JSON.stringify(judgement.counts)}`,
    ...skipped.map((what) => `SKIPPED ${what}`),
    ...notSeen.map((what) => `NOT SEEN ${what}`),
    ...odd.map((what) => `ODD ${what}`),
    ...[...first.values()].map(
      ({ verdict, lotId, detail, records }) =>
        `VERDICT ${verdict} ×${judgement.counts.verdicts[verdict]} e.g. ${lotId}: ${detail} ${JSON.stringify(records).slice(0, 900)}`,
    ),
    line,
  ];
}

/** Histories and logs of a run that went wrong. */
function keep(
  system: System,
  files: readonly string[],
  { keepIn, say }: Settings,
  judgement?: Judgement,
): void {
  const dir = join(keepIn, system.definition.uid);
  mkdirSync(dir, { recursive: true });
  const logs = Object.values(system.parts).map(({ logFile }) => logFile);
  for (const file of [...files, ...logs]) {
    try {
      copyFileSync(file, join(dir, file.split("/").at(-1)!));
    } catch {
      // A log that was never written.
    }
  }
  if (judgement) {
    const recorder = new Recorder(join(dir, "archive.jsonl"));
    for (const events of judgement.log.values()) {
      for (const event of events) recorder.line(encodeEvent(event));
    }
    recorder.close();
  }
  say(`histories and logs are kept in ${dir}`);
}
