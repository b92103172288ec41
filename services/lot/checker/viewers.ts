/**
 * What viewers were shown. On a connection, events of a lot come in order and once, and none is left
 * out, unless a snapshot says so: `recovered: false` or `conflated: true`. A resumed connection goes on
 * from where the viewer was; `recovered: true` says that nothing is missing.
 */
import type { LotEvent } from "../events.ts";
import type { ConnectedRecord, FrameRecord } from "./history.ts";
import type { Answers } from "./answers.ts";
import type { VerdictName, Verdicts } from "./verdicts.ts";

type Frame = FrameRecord["frame"];

interface Connection {
  /** How far each lot was shown; null if that is not known any more. */
  readonly shown: Map<string, number | null>;
}

interface Viewer {
  readonly connections: Map<number, Connection>;
  /** The furthest that each lot was shown on any connection. */
  readonly furthest: Map<string, number>;
  last: number;
  isComplete: boolean;
}

const EVENT_TYPES: ReadonlySet<string> = new Set<LotEvent["type"]>([
  "lot_opened",
  "bid_accepted",
  "lot_extended",
  "lot_closed",
  "lot_withdrawn",
]);

export class Viewers {
  #viewers = new Map<number, Viewer>();
  readonly #lots: ReadonlyMap<string, Answers>;
  readonly #verdicts: Verdicts;

  constructor(lots: ReadonlyMap<string, Answers>, verdicts: Verdicts) {
    this.#lots = lots;
    this.#verdicts = verdicts;
  }

  get count(): number {
    return this.#viewers.size;
  }

  /** Viewers who saw every event, or were told of those they did not. */
  get complete(): number {
    return [...this.#viewers.values()].filter(({ isComplete }) => isComplete).length;
  }

  connected(record: ConnectedRecord): void {
    const viewer = this.#viewer(record.viewer);
    const { shown } = this.#connection(viewer, record.connection);
    for (const [lotId, since] of Object.entries(record.since ?? {})) {
      const timeline = this.#lots.get(lotId)?.timeline;
      const logIndex = timeline?.indexOf(since.epoch, since.seq) ?? null;
      shown.set(lotId, logIndex);
      const furthest = viewer.furthest.get(lotId);
      if (logIndex === null || furthest === undefined || logIndex <= furthest) continue;
      this.#add(viewer, "viewer_gap", lotId, "it resumed after an event that it never got", record);
    }
  }

  frame(record: FrameRecord): void {
    const { frame } = record;
    const viewer = this.#viewer(record.viewer);
    const { shown } = this.#connection(viewer, record.connection);
    if (frame.type === "unsubscribed" && Array.isArray(frame["lots"])) {
      for (const lotId of frame["lots"]) shown.delete(String(lotId));
      return;
    }
    const isSnapshot = frame.type === "snapshot";
    if (!isSnapshot && !EVENT_TYPES.has(frame.type)) return;
    const lotId = String(frame["lotId"]);
    const lot = this.#lots.get(lotId);
    const [epoch, seq] = [Number(frame["epoch"]), Number(frame["seq"])];
    const logIndex = lot?.timeline.indexOf(epoch, seq) ?? null;
    const event = logIndex === null ? undefined : lot!.timeline.events[logIndex - 1];
    const isThere = isSnapshot || (event?.epoch === epoch && event.seq === seq);
    if (!lot || logIndex === null || !isThere) {
      return this.#add(
        viewer,
        "viewer_phantom",
        lotId,
        `${epoch}.${seq} is not in the log`,
        record,
      );
    }
    const differing = isSnapshot
      ? differingOfSnapshot(frame, lot.timeline, logIndex)
      : differingOfEvent(frame, event!);
    if (differing !== null) {
      const detail = `${epoch}.${seq}: ${differing} is ${JSON.stringify(frame[differing])}`;
      this.#add(viewer, "viewer_altered", lotId, detail, record);
    }
    const wrong = isSnapshot
      ? afterSnapshot(frame, logIndex, shown.get(lotId))
      : afterEvent(logIndex, shown.get(lotId));
    if (wrong) this.#add(viewer, wrong.name, lotId, `${epoch}.${seq}: ${wrong.detail}`, record);
    shown.set(lotId, logIndex);
    viewer.furthest.set(lotId, Math.max(logIndex, viewer.furthest.get(lotId) ?? 0));
    if (logIndex > 0) lot.order.notAfter(logIndex, record.atMs, "seen", record);
  }

  /** @param settled the history went on until all was quiet, so that all viewers must have all */
  finish(settled: boolean): void {
    if (!settled) return;
    for (const [id, viewer] of this.#viewers) {
      for (const [lotId, logIndex] of viewer.connections.get(viewer.last)!.shown) {
        const end = this.#lots.get(lotId)?.timeline.end;
        if (end === undefined || logIndex === end) continue;
        viewer.isComplete = false;
        const detail = `viewer ${id} got ${logIndex ?? 0} of ${end} events`;
        const records = [{ viewer: id, connection: viewer.last }];
        this.#verdicts.add("viewer_behind", lotId, detail, records);
      }
    }
  }

  #viewer(id: number): Viewer {
    let viewer = this.#viewers.get(id);
    if (!viewer) {
      viewer = { connections: new Map(), furthest: new Map(), last: 0, isComplete: true };
      this.#viewers.set(id, viewer);
    }
    return viewer;
  }

  #connection(viewer: Viewer, number: number): Connection {
    let connection = viewer.connections.get(number);
    if (!connection) {
      connection = { shown: new Map() };
      viewer.connections.set(number, connection);
      viewer.last = Math.max(viewer.last, number);
    }
    return connection;
  }

  #add(
    viewer: Viewer,
    name: VerdictName,
    lotId: string,
    detail: string,
    record: FrameRecord | ConnectedRecord,
  ): void {
    viewer.isComplete = false;
    const whose = `viewer ${record.viewer}, connection ${record.connection}`;
    this.#verdicts.add(name, lotId, `${whose}: ${detail}`, [record]);
  }
}

interface Wrong {
  readonly name: VerdictName;
  readonly detail: string;
}

/** @param shown undefined: nothing of this lot yet on this connection; null: it cannot be told */
function afterEvent(logIndex: number, shown: number | null | undefined): Wrong | null {
  if (shown === undefined) return { name: "viewer_gap", detail: "an event before any snapshot" };
  if (shown === null || logIndex === shown + 1) return null;
  return logIndex > shown
    ? { name: "viewer_gap", detail: `${logIndex - shown - 1} events are missing before it` }
    : { name: "viewer_order", detail: "it was shown, or passed over, before" };
}

function afterSnapshot(
  frame: Frame,
  logIndex: number,
  shown: number | null | undefined,
): Wrong | null {
  if (shown === undefined || shown === null || logIndex === shown) return null;
  if (logIndex < shown) {
    return { name: "viewer_order", detail: "a snapshot older than what was shown" };
  }
  const missing = `${logIndex - shown} events are missing before the snapshot`;
  if (frame["recovered"] === true) {
    return { name: "viewer_gap", detail: `${missing}, which says recovered: true` };
  }
  const isTold = frame["recovered"] === false || frame["conflated"] === true;
  return isTold ? null : { name: "viewer_gap", detail: `${missing}, which does not say so` };
}

/** The key is a secret, and the only field that viewers do not get. */
function differingOfEvent(frame: Frame, event: LotEvent): string | null {
  for (const field in event) {
    if (field !== "key" && frame[field] !== event[field as keyof LotEvent]) return field;
  }
  return "key" in frame ? "key" : null;
}

function differingOfSnapshot(
  frame: Frame,
  timeline: Answers["timeline"],
  logIndex: number,
): string | null {
  const leading = timeline.leadingBid(logIndex);
  const lead = frame["leadingBid"] as Record<string, unknown> | null;
  const isSameLead =
    leading === null || lead === null
      ? leading === lead
      : lead["bidId"] === leading.bidId &&
        lead["bidderId"] === leading.bidderId &&
        lead["amountMinor"] === leading.amountMinor;
  if (!isSameLead) return "leadingBid";
  const status = timeline.status[logIndex]!;
  const expected: Record<string, unknown> = {
    status,
    bidCount: timeline.bidCount[logIndex],
    minimumMinor: timeline.minimum[logIndex],
    // Before it opens a lot may be given another close, which no event tells.
    ...(status === "open" && {
      closesAtMs: timeline.closes[logIndex],
      extensions: timeline.extensions[logIndex],
    }),
  };
  for (const [field, value] of Object.entries(expected)) {
    if (!Number.isNaN(value) && frame[field] !== value) return field;
  }
  return null;
}
