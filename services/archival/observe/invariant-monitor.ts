/** The audit beside the archive: where it begins, what it takes, and what it tells. */
import { Counter, Gauge, type Registry } from "prom-client";
import { decodeEvent } from "../../lot/events.ts";
import type { LotStatus } from "../../lot/lot.ts";
import { type Logger, SampledLog } from "../../runtime/log.ts";
import { Audit, type AuditedLot, VIOLATION_KINDS, type ViolationKind } from "./event-invariants.ts";
import type { Archive } from "../postgres/connection.ts";
import type { Batch, Partition, Recorded } from "../pipeline/record.ts";
import type { Tails } from "../pipeline/watermark.ts";

/** No label names a lot: the log has the lots. */
export interface AuditMetrics {
  readonly violations: Counter<"kind">;
  readonly checkedEvents: Counter;
  readonly checkedIdSeconds: Gauge;
}

export function createAuditMetrics(registry: Registry): AuditMetrics {
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
      help: "Archived events that were audited.",
      registers,
    }),
    checkedIdSeconds: new Gauge({
      name: "gavel_audit_checked_id_seconds",
      help: "The audit's watermark: everything up to this outbox id is audited. Its time by Redis's clock, as a Unix time.",
      registers,
    }),
  };
}

/** One violation is told and counted once, however often the archive begins anew before it. */
const KNOWN_MAX = 1_000;

export class Audited {
  #audit = new Audit();
  #known = new Set<string>();
  readonly #metrics: AuditMetrics;
  readonly #log: SampledLog;

  constructor(metrics: AuditMetrics, log: Logger) {
    this.#metrics = metrics;
    this.#log = new SampledLog(log);
  }

  /** From where Postgres stands. @throws when it does not answer */
  async begin(archive: Archive, of: Partition, tails: Tails, watermark: string): Promise<void> {
    this.#audit = new Audit(await readAudited(archive, of, tails), tails.unknown.bridged);
    this.#reached(watermark);
  }

  /** A batch was archived. */
  took(batch: Batch, { fresh, letters }: Recorded): void {
    for (const { reason, lotId, detail } of letters) {
      if (lotId === null) continue;
      if (reason === "conflict") this.#found("conflict", `${lotId}: ${detail}`, { lotId, detail });
      else this.#audit.hole(lotId);
    }
    for (const { event, outboxId } of fresh) {
      for (const { kind, ...violation } of this.#audit.check(event)) {
        const { lotId, epoch, seq } = violation;
        this.#found(kind, `${lotId} ${epoch}.${seq}`, { ...violation, outboxId });
      }
    }
    this.#metrics.checkedEvents.inc(fresh.length);
    this.#reached(batch.toId);
  }

  /** The archive stands before an event that does not follow: it is not archived, and comes again. */
  gap(lotId: string, epoch: number, seq: number, detail: string): void {
    this.#found("sequence", `${lotId} ${epoch}.${seq}`, { lotId, epoch, seq, detail });
  }

  #found(kind: ViolationKind, which: string, fields: object): void {
    const name = `${kind} ${which}`;
    if (this.#known.has(name)) return;
    if (this.#known.size >= KNOWN_MAX) this.#known.clear();
    this.#known.add(name);
    this.#metrics.violations.inc({ kind });
    this.#log.error({ kind, ...fields }, "the archive contradicts itself");
  }

  #reached(outboxId: string): void {
    this.#metrics.checkedIdSeconds.set(Number(outboxId.split("-")[0]) / 1_000);
  }
}

interface AuditedRow {
  lot_id: string;
  status: LotStatus;
  epoch: number;
  seq: number;
  at_ms: number;
  closes_ms: number | null;
  leading_bid_id: string | null;
  amount: number | null;
  asked: string | null;
}

const MS = (column: string) => `round(extract(epoch from ${column}) * 1000)::float8`;

/** Each lot by its projection, and the latest event of it that announced a minimum. */
async function readAudited(
  archive: Archive,
  { auctionUid }: Partition,
  tails: Tails,
): Promise<Map<string, AuditedLot>> {
  const { rows } = await archive.query<AuditedRow>(
    `select lots.lot_id, status, lots.epoch::float8, lots.seq::float8, ${MS("last.at")} as at_ms,
       ${MS("closes_at")} as closes_ms, leading_bid_id, leading_amount_minor::float8 as amount,
       asking.body as asked
     from lots
     join events last using (auction_uid, lot_id, epoch, seq)
     left join lateral (
       select body from events e
       where e.auction_uid = lots.auction_uid and e.lot_id = lots.lot_id
         and e.type in ('lot_opened', 'bid_accepted')
       order by e.epoch desc, e.seq desc limit 1
     ) asking on true
     where lots.auction_uid = $1`,
    [auctionUid],
  );
  const lots = new Map(rows.map((row) => [row.lot_id, auditedOf(row, tails)]));
  // A lot of which only a dead letter is known.
  for (const [lotId, { epoch, seq, bridged }] of tails.lots) {
    if (!lots.has(lotId)) {
      const nothing = { status: "scheduled", closesAtMs: null, minimumMinor: null } as const;
      lots.set(lotId, { ...nothing, epoch, seq, atMs: 0, leading: null, holed: bridged });
    }
  }
  return lots;
}

function auditedOf(row: AuditedRow, tails: Tails): AuditedLot {
  const { lot_id: lotId, status, epoch, seq, leading_bid_id: bidId, amount } = row;
  return {
    status,
    epoch,
    seq,
    atMs: row.at_ms,
    closesAtMs: row.closes_ms,
    minimumMinor: row.asked === null ? null : minimumOf(row.asked),
    leading: bidId === null || amount === null ? null : { bidId, amountMinor: amount },
    holed: tails.lots.get(lotId)?.bridged ?? false,
  };
}

function minimumOf(body: string): number | null {
  try {
    const event = decodeEvent(body);
    return "minimumMinor" in event ? event.minimumMinor : null;
  } catch {
    return null; // Whoever wrote that row was not the archive; Verify finds it.
  }
}
