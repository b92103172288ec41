/** The invariant monitor: checks each archived event against its lot, and counts and logs violations. */
import { Counter, Gauge, type Registry } from "prom-client";
import { type Logger, SampledLog } from "../../runtime/log.ts";
import type { Batch } from "../postgres/batch.ts";
import type { Archive } from "../postgres/connection.ts";
import type { Tails } from "../postgres/lot-tails.ts";
import { readMonitoredLots } from "../postgres/monitored-lots.ts";
import type { Recorded } from "../postgres/record-batch.ts";
import {
  EventInvariants,
  type LotBefore,
  VIOLATION_KINDS,
  type ViolationKind,
} from "./event-invariants.ts";

/** Without a label for the lot: the log names the lots. */
interface InvariantMetrics {
  readonly violations: Counter<"kind">;
  readonly checkedEvents: Counter;
  readonly checkedIdSeconds: Gauge;
}

export function createInvariantMetrics(registry: Registry): InvariantMetrics {
  const registers = [registry];
  const violations = new Counter({
    name: "gavel_audit_violations_total",
    help: "Archived events that contradict what their lot was before, by kind. Must be 0.",
    labelNames: ["kind"] as const,
    registers,
  });
  for (const kind of VIOLATION_KINDS) violations.inc({ kind }, 0);
  return {
    violations,
    checkedEvents: new Counter({
      name: "gavel_audit_checked_events_total",
      help: "Archived events that the invariant monitor checked.",
      registers,
    }),
    checkedIdSeconds: new Gauge({
      name: "gavel_audit_checked_id_seconds",
      help: "The invariant monitor's watermark: everything up to this outbox id is checked. Its time by Redis's clock, as a Unix time.",
      registers,
    }),
  };
}

/** A violation is counted and logged once, however often the pipeline restarts before it. */
const REPORTED_MAX = 1_000;

export class InvariantMonitor {
  #invariants = new EventInvariants();
  #reported = new Set<string>();
  readonly #metrics: InvariantMetrics;
  readonly #log: SampledLog;

  constructor(metrics: InvariantMetrics, log: Logger) {
    this.#metrics = metrics;
    this.#log = new SampledLog(log);
  }

  /** Begins at the watermark, with the lots as they are in Postgres. @throws when Postgres does not answer */
  async begin(
    archive: Archive,
    auctionUid: string,
    tails: Tails,
    watermark: string,
  ): Promise<void> {
    const lots = new Map<string, LotBefore>();
    for (const [lotId, { epoch, seq, knownGap }] of tails.lots) {
      lots.set(lotId, { ...NOTHING_KNOWN, epoch, seq, knownGap });
    }
    for (const [lotId, lot] of await readMonitoredLots(archive, auctionUid)) {
      lots.set(lotId, { ...lot, knownGap: tails.lots.get(lotId)?.knownGap ?? false });
    }
    this.#invariants = new EventInvariants(lots, tails.initial.knownGap);
    this.#showChecked(watermark);
  }

  /** Checks an archived batch. */
  check(batch: Batch, { insertedEvents, letters }: Recorded): void {
    for (const { reason, lotId, detail } of letters) {
      if (lotId === null || reason === "foreign") continue; // It was not an event of the lot.
      if (reason === "conflict") this.#report("conflict", `${lotId}: ${detail}`, { lotId, detail });
      else this.#invariants.expectGap(lotId);
    }
    for (const { event, outboxId } of insertedEvents) {
      for (const { kind, ...violation } of this.#invariants.check(event)) {
        const { lotId, epoch, seq } = violation;
        this.#report(kind, `${lotId} ${epoch}.${seq}`, { ...violation, outboxId });
      }
    }
    this.#metrics.checkedEvents.inc(insertedEvents.length);
    this.#showChecked(batch.toId);
  }

  /** Takes a gap before an event: the event is not archived, and is delivered again. */
  foundGap(gap: { lotId: string; epoch: number; seq: number; message: string }): void {
    const { lotId, epoch, seq, message: detail } = gap;
    this.#report("sequence", `${lotId} ${epoch}.${seq}`, { lotId, epoch, seq, detail });
  }

  #report(kind: ViolationKind, where: string, fields: object): void {
    const name = `${kind} ${where}`;
    if (this.#reported.has(name)) return;
    if (this.#reported.size >= REPORTED_MAX) this.#reported.clear();
    this.#reported.add(name);
    this.#metrics.violations.inc({ kind });
    this.#log.error({ kind, ...fields }, "invariant violated");
  }

  #showChecked(outboxId: string): void {
    this.#metrics.checkedIdSeconds.set(Number(outboxId.split("-")[0]) / 1_000);
  }
}

/** A lot of which the archive has only dead letters. */
const NOTHING_KNOWN = {
  status: "scheduled",
  atMs: 0,
  closesAtMs: null,
  minimumMinor: null,
  leading: null,
} as const;
