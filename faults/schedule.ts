/**
 * The schedule of faults, a function of seed and duration. Two lanes run side by side: one with faults between a
 * bidder and the decision, one with faults between the decision and the archive. Within a lane faults do not
 * overlap. At least a quarter of the time both lanes are calm.
 */
import { randomOf, shuffled } from "../load/random.ts";
import { LINKS, linkName, type ProcessName, STORES, type StoreName, TIERS } from "./system.ts";

const TOXIC_KINDS = [
  "refuse",
  "hang",
  "reset",
  "latency",
  "bandwidth",
  "cut",
  "mute",
  "deaf",
] as const;

export type KindName =
  | (typeof TOXIC_KINDS)[number]
  | "kill"
  | "freeze"
  | "rolling-restart"
  | "clock-skew"
  | "disk-full"
  | "redis-busy"
  | "nats-wiped"
  | "postgres-rewound";

export type Lane = "bids" | "archive";

export interface Injection {
  readonly n: number;
  readonly lane: Lane;
  readonly kind: KindName;
  /** A connection, a process, or a tier. */
  readonly target: string;
  /** Earliest start, from the start of the faults. */
  readonly atMs: number;
  readonly lastsMs: number;
  /** In [0, 1): a random number for details of the fault, such as its delay. */
  readonly dice: number;
}

/** A quarter of each cycle is calm. */
const CYCLE_MS = 8_000;
const BUSY_MS = 6_000;
const SHORTEST_MS = 300;
const LONGEST_MS = 3_000;
/** Between two faults of a lane. Longer in long runs, which then have hundreds of faults, not thousands. */
const gapMs = (durationMs: number): number =>
  Math.min(2_600, Math.max(400, durationMs / 100 - 2_500));

interface Kind {
  readonly kind: KindName;
  readonly lane: Lane;
  readonly targets: readonly string[];
  /** Injected once in this many rounds: some faults stop the whole auction for seconds. */
  readonly everyRounds: number;
  readonly longestMs: number;
  /** Approximate additional time to inject and undo it. */
  readonly costMs: number;
}

const laneOfLink = (from: string, to: string): Lane =>
  from.startsWith("archival") || to.startsWith("archival") ? "archive" : "bids";
const laneOfProcess = (managed: ProcessName): Lane =>
  managed.startsWith("archival") || managed === "nats" || managed === "postgres"
    ? "archive"
    : "bids";

/** Every kind of fault of a lane, with its possible targets. */
export function kindsOf(lane: Lane): Kind[] {
  const links = LINKS.filter(([from, to]) => laneOfLink(from, to) === lane);
  const names = links.map(([from, to]) => linkName(from, to));
  const processes: readonly ProcessName[] = [...TIERS, ...STORES];
  const own = processes.filter((managed) => laneOfProcess(managed) === lane);
  const store: StoreName = lane === "bids" ? "redis" : "postgres";
  const some = { lane, everyRounds: 1, longestMs: LONGEST_MS, costMs: 150 };
  const kinds: Kind[] = [
    ...TOXIC_KINDS.map((kind) => ({ ...some, kind, targets: names })),
    { ...some, kind: "kill", targets: own, longestMs: 1_000, costMs: 1_200 },
    { ...some, kind: "freeze", targets: own },
    {
      ...some,
      kind: "disk-full",
      targets: [store],
      everyRounds: 2,
      longestMs: 1_000,
      costMs: 1_500,
    },
  ];
  if (lane === "bids") {
    const skewed = own.filter((managed) => managed !== "redis");
    kinds.push(
      { ...some, kind: "clock-skew", targets: skewed, everyRounds: 2, costMs: 2_500 },
      { ...some, kind: "redis-busy", targets: ["redis"], longestMs: 1_500 },
      {
        ...some,
        kind: "rolling-restart",
        targets: ["gateway", "broadcast"],
        everyRounds: 3,
        costMs: 4_000,
      },
    );
  } else {
    kinds.push(
      { ...some, kind: "nats-wiped", targets: ["nats"], longestMs: 1_000, costMs: 2_800 },
      { ...some, kind: "postgres-rewound", targets: ["postgres"], everyRounds: 2, costMs: 3_000 },
      { ...some, kind: "rolling-restart", targets: ["archival"], everyRounds: 3, costMs: 4_000 },
    );
  }
  return kinds;
}

/** Each kind once a round, in a new order, with its targets in turn. */
function* drawn(lane: Lane, random: () => number): Generator<Kind & { target: string }> {
  const kinds = kindsOf(lane).map((kind) => ({ ...kind, order: shuffled(kind.targets, random) }));
  for (let round = 0; ; round++) {
    for (const { order, ...kind } of shuffled(kinds, random)) {
      if (round % kind.everyRounds !== 0) continue;
      const turn = Math.floor(round / kind.everyRounds);
      yield { ...kind, target: order[turn % order.length]! };
    }
  }
}

/** @returns the faults in order of time */
export function scheduleOf(seed: number, durationMs: number): Injection[] {
  const lanes = (["bids", "archive"] as const).flatMap((lane, i) => {
    const random = randomOf(seed * 2 + i);
    const draw = drawn(lane, random);
    const injections: Omit<Injection, "n">[] = [];
    for (let atMs = 500; atMs < durationMs - 1_000;) {
      const inCycleMs = atMs % CYCLE_MS;
      if (inCycleMs > BUSY_MS - SHORTEST_MS) {
        atMs += CYCLE_MS - inCycleMs;
        continue;
      }
      const drawnKind = draw.next().value as Kind & { target: string };
      const { kind, target, longestMs, costMs } = drawnKind;
      const spreadMs = (longestMs - SHORTEST_MS) * random() ** 2;
      const lastsMs = Math.round(Math.min(SHORTEST_MS + spreadMs, BUSY_MS - inCycleMs));
      injections.push({ lane, kind, target, atMs: Math.round(atMs), lastsMs, dice: random() });
      atMs += lastsMs + costMs + gapMs(durationMs);
    }
    return injections;
  });
  return lanes.sort((a, b) => a.atMs - b.atMs).map((injection, n) => ({ n: n + 1, ...injection }));
}
