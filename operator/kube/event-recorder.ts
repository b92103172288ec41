/**
 * Kubernetes events: what a human who describes an object should read. They are news, not state: one that
 * cannot be written is dropped and counted, and no reconciliation waits for one or fails by one.
 */
import { randomBytes } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { Counter } from "prom-client";
import type { Logger } from "../../services/runtime/log.ts";
import type { Cluster } from "./client.ts";
import { KINDS, type KubernetesObject } from "./object.ts";
import { microTime } from "./leader-election.ts";

/** The same news within this time is one event that counts. */
const WINDOW_MS = 10 * 60_000;
const KEPT_EVENTS = 1_000;
/** A count is written at once when it becomes 2, later ones so often at most. */
const COUNT_EVERY_MS = 60_000;
/** Different news about one object within the window; more are dropped. */
const NEWS_PER_OBJECT = 25;
/** Writes that wait for the one before; more are dropped. */
const WAITING_MAX = 100;
/** The API's own limit. */
const NOTE_MAX_BYTES = 1_024;

export interface News {
  readonly type: "Normal" | "Warning";
  /** CamelCase, for machines. */
  readonly reason: string;
  /** CamelCase: what was done or tried. */
  readonly action: string;
  /** For people. */
  readonly note: string;
}

interface Kept {
  readonly namespace: string;
  readonly name: string;
  count: number;
  writtenCount: number;
  writtenAtMs: number;
  lastAtMs: number;
}

export interface EventRecorderOptions {
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
  readonly #kept: LRUCache<string, Kept>;
  readonly #newsOf: LRUCache<string, { count: number }>;
  #writes: Promise<void> = Promise.resolve();
  #waiting = 0;

  constructor(options: EventRecorderOptions) {
    this.#options = options;
    const { windowMs = WINDOW_MS } = options;
    this.#kept = new LRUCache({ max: KEPT_EVENTS, ttl: windowMs, updateAgeOnGet: true });
    this.#newsOf = new LRUCache({ max: KEPT_EVENTS, ttl: windowMs });
  }

  /** Never throws and never waits. @param regarding the object as read: with its uid */
  record(regarding: KubernetesObject, news: News): void {
    const { metadata } = regarding;
    const { type, reason, action, note } = news;
    const about = metadata.uid ?? `${metadata.namespace}/${metadata.name}`;
    const id = JSON.stringify([about, type, reason, action, note]);
    const kept = this.#kept.get(id);
    if (kept) {
      kept.count++;
      kept.lastAtMs = Date.now();
      const { countEveryMs = COUNT_EVERY_MS } = this.#options;
      const isDue = performance.now() - kept.writtenAtMs >= countEveryMs;
      if (kept.count === 2 || isDue) this.#later(() => this.#writeCount(id, kept));
      return;
    }
    const newsOf = this.#newsOf.get(about) ?? { count: 0 };
    if (newsOf.count >= NEWS_PER_OBJECT) return this.#drop();
    newsOf.count++;
    // Set anew it would live on: the limit is per window from the first.
    if (newsOf.count === 1) this.#newsOf.set(about, newsOf);
    const suffix = `${Date.now().toString(16)}${randomBytes(3).toString("hex")}`;
    const entry: Kept = {
      // Events about cluster-scoped objects live in "default".
      namespace: metadata.namespace ?? "default",
      name: `${metadata.name.slice(0, 200)}.${suffix}`,
      count: 1,
      writtenCount: 1,
      writtenAtMs: performance.now(),
      lastAtMs: Date.now(),
    };
    this.#kept.set(id, entry);
    this.#later(() => this.#create(entry, regarding, news));
  }

  /** Writes what is left to write, counts included. Never throws. */
  async flush(): Promise<void> {
    for (const [id, kept] of this.#kept.entries()) {
      if (kept.count > kept.writtenCount) this.#later(() => this.#writeCount(id, kept));
    }
    await this.#writes;
  }

  /** One write after the other: news may wait, the API server's other callers should not. */
  #later(write: () => Promise<void>): void {
    if (this.#waiting >= WAITING_MAX) return this.#drop();
    this.#waiting++;
    this.#writes = this.#writes.then(async () => {
      try {
        await write();
      } catch (error) {
        this.#options.log.warn({ err: error }, "an event was not written");
        this.#drop();
      }
      this.#waiting--;
    });
  }

  #drop(): void {
    this.#options.droppedEvents?.inc();
  }

  async #create(entry: Kept, { apiVersion, kind, metadata }: KubernetesObject, news: News) {
    const { controller, instance, cluster } = this.#options;
    const { namespace, name, uid, resourceVersion } = metadata;
    const event = {
      apiVersion: KINDS.Event.apiVersion,
      kind: KINDS.Event.kind,
      metadata: { namespace: entry.namespace, name: entry.name },
      eventTime: microTime(),
      reportingController: controller,
      reportingInstance: instance.slice(0, 128),
      action: news.action,
      reason: news.reason,
      type: news.type,
      note: cut(news.note, NOTE_MAX_BYTES),
      regarding: { apiVersion, kind, namespace, name, uid, resourceVersion },
    };
    await cluster.createIfAbsent(event, { manager: "gavel-operator" });
  }

  async #writeCount(id: string, kept: Kept): Promise<void> {
    const { count } = kept;
    if (count === kept.writtenCount) return;
    kept.writtenCount = count;
    kept.writtenAtMs = performance.now();
    const value = { count, lastObservedTime: microTime(kept.lastAtMs) };
    const { namespace, name } = kept;
    const ref = { ...KINDS.Event, namespace, name };
    const written = await this.#options.cluster.jsonPatch(ref, [
      { op: "add", path: "/series", value },
    ]);
    // It has expired or was never written: the next of its kind is news again.
    if (written === null) this.#kept.delete(id);
  }
}

function cut(text: string, bytes: number): string {
  let short = text.slice(0, bytes);
  while (Buffer.byteLength(short) > bytes) short = short.slice(0, -1);
  return short;
}
