/**
 * Whether an auction is well, as Redis can tell: what archival leaves here every few seconds, and Redis's own
 * word. Any tier answers from it; none has to ask another.
 */
import Type from "typebox";
import { Value } from "typebox/value";
import { type Store, storeClockMs } from "./connect.ts";
import type { Keys } from "./keys.ts";

const Summary = Type.Object({
  /** Redis's clock when it was written. */
  atMs: Type.Integer(),
  /** The archive's watermark. */
  archivedId: Type.String(),
  /** Age of the oldest event that is not archived. */
  lagMs: Type.Integer(),
  violations: Type.Array(Type.Union([Type.Literal("sequence"), Type.Literal("missing")])),
});

/** Of `GET /internal/v1/invariants`. */
export const InvariantsQuery = Type.Object({
  /** An archive that is behind is a violation, too. */
  archive: Type.Optional(Type.Literal("current")),
});

export type Summary = Type.Static<typeof Summary>;

export type Violation =
  | "store unreachable"
  /** The store has no auction (yet, or any more). */
  | "undefined"
  /** An event is missing before another, or the archive has another one in its place. */
  | "sequence"
  /** Something that was decided is not in the archive, and will not come by itself. */
  | "missing"
  /** The archive is behind, or nobody says how far it is. */
  | "archive_lag";

/** A summary older than this tells nothing of the present archive. */
const FRESH_MS = 15_000;
/** Nobody writes it for an auction that is gone. */
const KEPT_SECONDS = 3_600;
/** Behind by more, an archive is not current. */
const LAG_MAX_MS = 10_000;

export async function writeSummary(store: Store, keys: Keys, summary: Summary): Promise<void> {
  await store.set(keys.invariants, JSON.stringify(summary), "EX", KEPT_SECONDS);
}

/** @param archiveCurrent whether an archive that is behind is a violation. Never rejects */
export async function readViolations(
  store: Store,
  keys: Keys,
  archiveCurrent: boolean,
): Promise<Violation[]> {
  try {
    const [uid, text, nowMs] = await Promise.all([
      store.hget(keys.auction, "uid"),
      store.get(keys.invariants),
      storeClockMs(store),
    ]);
    const summary = text === null ? null : readSummary(text);
    const violations: Violation[] = uid === null ? ["undefined"] : [];
    violations.push(...(summary?.violations ?? []));
    const isFresh = summary !== null && nowMs - summary.atMs <= FRESH_MS;
    const isBehind = !isFresh || summary.lagMs > LAG_MAX_MS;
    if (archiveCurrent && isBehind) violations.push("archive_lag");
    return violations;
  } catch {
    return ["store unreachable"];
  }
}

function readSummary(text: string): Summary | null {
  try {
    const value: unknown = JSON.parse(text);
    return Value.Check(Summary, value) ? value : null;
  } catch {
    return null;
  }
}
