/** A timer beyond 2^31 - 1 ms fires at once: an auction that opens in 30 days would loop. */
const TIMER_MAX_MS = 24 * 60 * 60_000;
/** Replaced entries that the heap may hold, beyond as many again as there are keys. */
const SLACK = 64;

/** Keys with a due time: a binary heap, and one timer for the earliest. */
export class DelayedKeys {
  readonly #onDue: (key: string) => void;
  #due = new Map<string, number>();
  /** May contain entries that `#due` has replaced; they are skipped. */
  #heap: { key: string; atMs: number }[] = [];
  #timer: NodeJS.Timeout | null = null;
  #timerAtMs = Infinity;

  constructor(onDue: (key: string) => void) {
    this.#onDue = onDue;
  }

  get size(): number {
    return this.#due.size;
  }

  /** @param atMs on the clock of performance.now(). A time after the key's present one changes nothing. */
  put(key: string, atMs: number): void {
    if (atMs >= (this.#due.get(key) ?? Infinity)) return;
    this.#due.set(key, atMs);
    push(this.#heap, { key, atMs });
    if (this.#heap.length > 2 * this.#due.size + SLACK) this.#compact();
    this.#setTimer();
  }

  clear(): void {
    this.#due.clear();
    this.#heap = [];
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    this.#timerAtMs = Infinity;
  }

  #compact(): void {
    this.#heap = [];
    for (const [key, atMs] of this.#due) push(this.#heap, { key, atMs });
  }

  #setTimer(): void {
    const first = this.#heap[0];
    if (!first || this.#timerAtMs <= first.atMs) return;
    if (this.#timer) clearTimeout(this.#timer);
    const waitMs = Math.min(TIMER_MAX_MS, Math.max(1, Math.ceil(first.atMs - performance.now())));
    this.#timerAtMs = first.atMs;
    this.#timer = setTimeout(() => this.#fire(), waitMs);
  }

  #fire(): void {
    this.#timer = null;
    this.#timerAtMs = Infinity;
    const nowMs = performance.now();
    for (let first = this.#heap[0]; first && first.atMs <= nowMs; first = this.#heap[0]) {
      pop(this.#heap);
      if (this.#due.get(first.key) !== first.atMs) continue;
      this.#due.delete(first.key);
      this.#onDue(first.key);
    }
    this.#setTimer();
  }
}

interface Due {
  readonly key: string;
  readonly atMs: number;
}

function push(heap: Due[], entry: Due): void {
  let at = heap.push(entry) - 1;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    if (heap[parent]!.atMs <= entry.atMs) break;
    heap[at] = heap[parent]!;
    at = parent;
  }
  heap[at] = entry;
}

function pop(heap: Due[]): void {
  const last = heap.pop()!;
  if (heap.length === 0) return;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && heap[child + 1]!.atMs < heap[child]!.atMs) child++;
    if (heap[child]!.atMs >= last.atMs) break;
    heap[at] = heap[child]!;
    at = child;
  }
  heap[at] = last;
}
