/**
 * The invariants of an auction, judged from Redis alone: archival writes a health summary every few seconds, so
 * any tier can answer without a call to another.
 */
import Type from "typebox";
import { Value } from "typebox/value";
import { type Store, storeClockMs } from "./connect.ts";
import type { Keys } from "./keys.ts";
import { classOfRedisError } from "./unreachable.ts";

const Summary = Type.Object({
  /** Time of writing, by Redis's clock. */
  atMs: Type.Integer(),
  /** The archive's watermark. */
  archivedId: Type.String(),
  /** Age of the oldest event that is not archived. */
  lagMs: Type.Integer(),
  violations: Type.Array(Type.Union([Type.Literal("sequence"), Type.Literal("missing")])),
});

/** Query of `GET /internal/v1/invariants`. */
export const InvariantsQuery = Type.Object({
  /** Report an archive that lags as a violation, too. */
  archive: Type.Optional(Type.Literal("current")),
});

export type Summary = Type.Static<typeof Summary>;

type Violation =
  | "store unreachable"
  /** The store has no auction. */
  | "undefined"
  /** An event is missing before another one, or the archive has a different event in its place. */
  | "sequence"
  /** A decided event is not in the archive and will not be archived without an intervention. */
  | "missing"
  /** The archive lags, or its health summary is missing or old. */
  | "archive_lag";

/** An older summary says nothing about the present archive. */
const FRESH_MS = 15_000;
/** When the summary of a deleted auction expires. */
const KEPT_SECONDS = 3_600;
/** An archive with a larger lag is not current. */
const LAG_MAX_MS = 10_000;

export async function writeSummary(store: Store, keys: Keys, summary: Summary): Promise<void> {
  await store.set(keys.healthSummary, JSON.stringify(summary), "EX", KEPT_SECONDS);
}

/** @throws a defect only. @param archiveCurrent whether an archive that lags is a violation */
export async function readViolations(
  store: Store,
  keys: Keys,
  archiveCurrent: boolean,
): Promise<Violation[]> {
  try {
    const [uid, text, nowMs] = await Promise.all([
      store.hget(keys.auction, "uid"),
      store.get(keys.healthSummary),
      storeClockMs(store),
    ]);
    const summary = text === null ? null : readSummary(text);
    const violations: Violation[] = uid === null ? ["undefined"] : [];
    violations.push(...(summary?.violations ?? []));
    const isFresh = summary !== null && nowMs - summary.atMs <= FRESH_MS;
    const lags = !isFresh || summary.lagMs > LAG_MAX_MS;
    if (archiveCurrent && lags) violations.push("archive_lag");
    return violations;
  } catch (error) {
    if (classOfRedisError(error as Error) === "defect") throw error;
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
