/**
 * Writes Kubernetes events: what a person reads who describes an object. An event that cannot be written is
 * dropped and counted; no reconcile waits for an event or fails because of one.
 */
import { randomBytes } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { Counter } from "prom-client";
import type { Logger } from "../../services/runtime/log.ts";
import type { Cluster } from "./client.ts";
import { KINDS, type KubernetesObject } from "./object.ts";
import { microTime } from "./leader-election.ts";

/** Equal events within this time are one event with a count. */
const WINDOW_MS = 10 * 60_000;
const REMEMBERED_EVENTS = 1_000;
/** A count of 2 is written at once. Later counts are written at most this often. */
const COUNT_EVERY_MS = 60_000;
/** Different events about one object within the window. More are dropped. */
const EVENTS_PER_OBJECT = 25;
/** Writes in the queue. More are dropped. */
const QUEUE_MAX = 100;
/** The API's limit. */
const NOTE_MAX_BYTES = 1_024;

export interface EventDetails {
  readonly type: "Normal" | "Warning";
  /** CamelCase, for machines. */
  readonly reason: string;
  /** CamelCase: what was done or attempted. */
  readonly action: string;
  /** For people. */
  readonly note: string;
}

interface RecordedEvent {
  readonly namespace: string;
  readonly name: string;
  count: number;
  writtenCount: number;
  writtenAtMs: number;
  lastAtMs: number;
}

interface EventRecorderOptions {
  readonly cluster: Pick<Cluster, "createIfAbsent" | "jsonPatch">;
  /** E.g. "gavel.dev/operator". */
  readonly controller: string;
  /** E.g. the pod's name. */
  readonly instance: string;
  readonly log: Logger;
  /** Counts events that are not written. */
  readonly droppedEvents?: Pick<Counter, "inc">;
  /** For tests. */
  readonly windowMs?: number;
  readonly countEveryMs?: number;
}

export class EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #recorded: LRUCache<string, RecordedEvent>;
  readonly #eventsAbout: LRUCache<string, { count: number }>;
  #writes: Promise<void> = Promise.resolve();
  #queued = 0;

  constructor(options: EventRecorderOptions) {
    this.#options = options;
    const { windowMs = WINDOW_MS } = options;
    this.#recorded = new LRUCache({ max: REMEMBERED_EVENTS, ttl: windowMs, updateAgeOnGet: true });
    this.#eventsAbout = new LRUCache({ max: REMEMBERED_EVENTS, ttl: windowMs });
  }

  /** Never throws and never waits. @param regarding the object as read, with its uid */
  record(regarding: KubernetesObject, details: EventDetails): void {
    const { metadata } = regarding;
    const { type, reason, action, note } = details;
    const about = metadata.uid ?? `${metadata.namespace}/${metadata.name}`;
    const id = JSON.stringify([about, type, reason, action, note]);
    const event = this.#recorded.get(id);
    if (event) {
      event.count++;
      event.lastAtMs = Date.now();
      const { countEveryMs = COUNT_EVERY_MS } = this.#options;
      const isDue = performance.now() - event.writtenAtMs >= countEveryMs;
      if (event.count === 2 || isDue) this.#enqueue(() => this.#writeCount(id, event));
      return;
    }
    const eventCount = this.#eventsAbout.get(about) ?? { count: 0 };
    if (eventCount.count >= EVENTS_PER_OBJECT) return this.#drop();
    eventCount.count++;
    // Not set again: that would restart the window.
    if (eventCount.count === 1) this.#eventsAbout.set(about, eventCount);
    const suffix = `${Date.now().toString(16)}${randomBytes(3).toString("hex")}`;
    const entry: RecordedEvent = {
      // Events about cluster-scoped objects live in "default".
      namespace: metadata.namespace ?? "default",
      name: `${metadata.name.slice(0, 200)}.${suffix}`,
      count: 1,
      writtenCount: 1,
      writtenAtMs: performance.now(),
      lastAtMs: Date.now(),
    };
    this.#recorded.set(id, entry);
    this.#enqueue(() => this.#create(entry, regarding, details));
  }

  /** Writes everything that is queued, and all counts. Never throws. */
  async flush(): Promise<void> {
    for (const [id, event] of this.#recorded.entries()) {
      if (event.count > event.writtenCount) this.#enqueue(() => this.#writeCount(id, event));
    }
    await this.#writes;
  }

  /** One write at a time: events may wait, other requests to the API server should not. */
  #enqueue(write: () => Promise<void>): void {
    if (this.#queued >= QUEUE_MAX) return this.#drop();
    this.#queued++;
    this.#writes = this.#writes.then(async () => {
      try {
        await write();
      } catch (error) {
        this.#options.log.warn({ err: error }, "event not written");
        this.#drop();
      }
      this.#queued--;
    });
  }

  #drop(): void {
    this.#options.droppedEvents?.inc();
  }

  async #create(
    entry: RecordedEvent,
    { apiVersion, kind, metadata }: KubernetesObject,
    details: EventDetails,
  ) {
    const { controller, instance, cluster } = this.#options;
    const { namespace, name, uid, resourceVersion } = metadata;
    const event = {
      apiVersion: KINDS.Event.apiVersion,
      kind: KINDS.Event.kind,
      metadata: { namespace: entry.namespace, name: entry.name },
      eventTime: microTime(),
      reportingController: controller,
      reportingInstance: instance.slice(0, 128),
      action: details.action,
      reason: details.reason,
      type: details.type,
      note: cut(details.note, NOTE_MAX_BYTES),
      regarding: { apiVersion, kind, namespace, name, uid, resourceVersion },
    };
    await cluster.createIfAbsent(event, { manager: "gavel-operator" });
  }

  async #writeCount(id: string, event: RecordedEvent): Promise<void> {
    const { count } = event;
    if (count === event.writtenCount) return;
    event.writtenCount = count;
    event.writtenAtMs = performance.now();
    const value = { count, lastObservedTime: microTime(event.lastAtMs) };
    const { namespace, name } = event;
    const ref = { ...KINDS.Event, namespace, name };
    const written = await this.#options.cluster.jsonPatch(ref, [
      { op: "add", path: "/series", value },
    ]);
    // It has expired or was never written: the next equal event is a new one.
    if (written === null) this.#recorded.delete(id);
  }
}

function cut(text: string, bytes: number): string {
  let short = text.slice(0, bytes);
  while (Buffer.byteLength(short) > bytes) short = short.slice(0, -1);
  return short;
}
