/** A viewer of a random history: it is shown what broadcast shows, loses its socket, and comes back. */
import type { LotEvent } from "../events.ts";
import type { Lot } from "../lot.ts";
import type { Position } from "../position.ts";
import { publicEventOf, viewOf } from "../view.ts";
import type { HistoryRecord } from "./history.ts";

const LOSES_SOCKET = 0.03;
const COMES_BACK = 0.3;
const FALLS_BEHIND = 0.03;
const CATCHES_UP = 0.3;

interface Watched {
  /** What this viewer has seen, and what it will be shown when it comes back. */
  seen: Position;
  missed: LotEvent[];
}

export class RandomViewer {
  #connection = 0;
  #state: "away" | "live" | "behind" = "away";
  #watched = new Map<string, Watched>();
  readonly #viewer: number;
  readonly #random: () => number;
  readonly #tell: (record: HistoryRecord) => void;

  constructor(viewer: number, random: () => number, tell: (record: HistoryRecord) => void) {
    this.#viewer = viewer;
    this.#random = random;
    this.#tell = tell;
  }

  show(events: readonly LotEvent[], lot: Lot, atMs: number): void {
    const watched = this.#watched.get(lot.lotId);
    if (!watched) return;
    if (this.#state !== "live") watched.missed.push(...events);
    else for (const event of events) this.#event(event, watched, atMs);
  }

  move(lots: readonly Lot[], atMs: number): void {
    const chance = this.#random();
    if (this.#state === "away" && (this.#connection === 0 || chance < COMES_BACK)) {
      this.#connect(lots, atMs);
    } else if (this.#state === "live" && chance < LOSES_SOCKET) this.#state = "away";
    else if (this.#state === "live" && chance < LOSES_SOCKET + FALLS_BEHIND) this.#state = "behind";
    else if (this.#state === "behind" && chance < CATCHES_UP) this.#conflate(lots, atMs);
  }

  catchUp(lots: readonly Lot[], atMs: number): void {
    if (this.#state === "away") this.#connect(lots, atMs);
    if (this.#state === "behind") this.#conflate(lots, atMs);
  }

  #connect(lots: readonly Lot[], atMs: number): void {
    const since = Object.fromEntries([...this.#watched].map(([lotId, { seen }]) => [lotId, seen]));
    const resumes = this.#connection > 0;
    this.#connection++;
    const [viewer, connection] = [this.#viewer, this.#connection];
    this.#tell({ op: "connected", viewer, connection, since: resumes ? since : null });
    for (const lot of lots) {
      const watched = this.#watched.get(lot.lotId) ?? { seen: { epoch: 1, seq: 0 }, missed: [] };
      this.#watched.set(lot.lotId, watched);
      const recovered = this.#random() < 0.7;
      if (resumes && recovered) {
        for (const event of watched.missed) this.#event(event, watched, atMs);
      }
      this.#snapshot(lot, watched, atMs, resumes ? { recovered } : {});
    }
    this.#state = "live";
  }

  #conflate(lots: readonly Lot[], atMs: number): void {
    for (const lot of lots) {
      const watched = this.#watched.get(lot.lotId)!;
      if (watched.missed.length > 0) this.#snapshot(lot, watched, atMs, { conflated: true });
    }
    this.#state = "live";
  }

  #event(event: LotEvent, watched: Watched, atMs: number): void {
    this.#frame({ ...publicEventOf(event) }, atMs);
    watched.seen = { epoch: event.epoch, seq: event.seq };
  }

  #snapshot(lot: Lot, watched: Watched, atMs: number, flags: Record<string, boolean>): void {
    this.#frame({ type: "snapshot", ...viewOf(lot), ...flags }, atMs);
    watched.seen = { epoch: lot.epoch, seq: lot.seq };
    watched.missed = [];
  }

  #frame(frame: Record<string, unknown> & { type: string }, atMs: number): void {
    const [viewer, connection] = [this.#viewer, this.#connection];
    this.#tell({ op: "frame", viewer, connection, atMs, frame });
  }
}
