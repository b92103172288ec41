import { createHash } from "node:crypto";

/** SHA-256, in hex, of a value's JSON with the fields of every object sorted: equal values have equal hashes. */
export function canonicalHash(value: unknown): string {
  const text = JSON.stringify(value, (_, part: unknown) =>
    typeof part === "object" && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
  return createHash("sha256").update(text).digest("hex");
}
