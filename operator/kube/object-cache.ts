/** Objects by key, with an index of some labels. */
import type { KubernetesObject } from "./object.ts";

export class ObjectCache<T extends KubernetesObject> {
  #objects = new Map<string, T>();
  /** label → value → keys */
  readonly #index: ReadonlyMap<string, Map<string, Set<string>>>;

  constructor(indexLabels: readonly string[]) {
    this.#index = new Map(indexLabels.map((label) => [label, new Map()]));
  }

  get(key: string): T | undefined {
    return this.#objects.get(key);
  }

  all(): T[] {
    return [...this.#objects.values()];
  }

  /** @throws Error for a label that is not indexed */
  byLabel(label: string, value: string): T[] {
    const index = this.#index.get(label);
    if (!index) throw new Error(`label ${label} is not indexed`);
    return [...(index.get(value) ?? [])].map((key) => this.#objects.get(key)!);
  }

  set(key: string, object: T): void {
    this.delete(key);
    this.#objects.set(key, object);
    for (const [label, values] of this.#index) {
      const value = object.metadata.labels?.[label];
      if (value === undefined) continue;
      const keys = values.get(value);
      if (keys) keys.add(key);
      else values.set(value, new Set([key]));
    }
  }

  delete(key: string): void {
    const labels = this.#objects.get(key)?.metadata.labels;
    this.#objects.delete(key);
    for (const [label, values] of this.#index) {
      const value = labels?.[label];
      const keys = value === undefined ? undefined : values.get(value);
      if (keys?.delete(key) && keys.size === 0) values.delete(value!);
    }
  }

  /** The keys of all objects that differ between the cache and a list. */
  differences(listed: ReadonlyMap<string, T>): string[] {
    const versionOf = (object: T | undefined) => object?.metadata.resourceVersion;
    const changed = [...listed].filter(
      ([key, object]) => versionOf(this.get(key)) !== versionOf(object),
    );
    const gone = [...this.#objects.keys()].filter((key) => !listed.has(key));
    return [...changed.map(([key]) => key), ...gone];
  }

  /** Replaces the whole cache by a list. @returns the old and new objects that differ */
  replace(listed: ReadonlyMap<string, T>): T[] {
    const changed: T[] = [];
    for (const key of this.differences(listed)) {
      const before = this.#objects.get(key);
      const object = listed.get(key);
      if (before) changed.push(before);
      if (object) changed.push(object);
      if (object) this.set(key, object);
      else this.delete(key);
    }
    return changed;
  }
}
