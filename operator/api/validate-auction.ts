/** Validates an Auction and reports all of its problems at once. */
import Type from "typebox";
import { Format } from "typebox/format";
import { Settings } from "typebox/system";
import { Value } from "typebox/value";
import { AuctionResource } from "./auction-resource.ts";
import { AUCTION_RULES } from "./auction-rules.ts";
import type { Rule } from "./rule.ts";
import { parseDurationMs } from "./duration.ts";
import { parseInstantMs } from "./instant.ts";

export interface Problem {
  /** For example `spec.lots[1].reserveMinor`. */
  readonly path: string;
  readonly message: string;
}

type Validation =
  | { readonly ok: true; readonly auction: AuctionResource }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** More problems than this are not reported. */
const MAX_PROBLEMS = 200;

// The format "duration" is Go's in Kubernetes and ISO 8601's in JSON Schema. The CRD uses Go's.
Format.Set("duration", (text) => parseDurationMs(text) !== null);
Format.Set("date-time", (text) => parseInstantMs(text) !== null);
Format.Set("int64", () => true);

type Segments = readonly string[];
interface Located {
  readonly at: Segments;
  readonly message: string;
}

/** @returns the Auction with its defaults, or its problems: of single fields, then between fields */
export function validateAuction(input: unknown): Validation {
  const value = Value.Default(AuctionResource, copyOf(input));
  const found = fieldProblems(value);
  found.push(...duplicateProblems(AuctionResource, value, []));
  for (const rule of AUCTION_RULES) found.push(...ruleProblems(rule, value, found));
  if (found.length === 0) return { ok: true, auction: value as AuctionResource };
  const problems = found.map(({ at, message }) => ({ path: pathOf(at), message }));
  return { ok: false, problems: problems.slice(0, MAX_PROBLEMS) };
}

/**
 * A deep copy without shared objects: an object that YAML aliases use twice gets its defaults in each place. Half of
 * a surrogate pair is replaced, as the API server does: no store can hold it.
 */
function copyOf(value: unknown): unknown {
  if (typeof value === "string") return value.toWellFormed();
  if (Array.isArray(value)) return value.map(copyOf);
  if (!isRecord(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, copyOf(part)]));
}

function fieldProblems(value: unknown): Located[] {
  const { maxErrors } = Settings.Get();
  Settings.Set({ maxErrors: MAX_PROBLEMS });
  const errors = Value.Errors(AuctionResource, value) as readonly SchemaError[];
  Settings.Set({ maxErrors });
  const found = errors.flatMap((error) => problemsOfError(error, value));
  // One problem per field: a number in place of a text does not also fail the pattern.
  return found.filter(
    ({ at }, i) => found.findIndex((other) => pathOf(other.at) === pathOf(at)) === i,
  );
}

interface SchemaError {
  readonly keyword: string;
  readonly instancePath: string;
  readonly message: string;
  readonly params: Readonly<Record<string, unknown>>;
}

function problemsOfError(
  { keyword, instancePath, message, params }: SchemaError,
  root: unknown,
): Located[] {
  const at = instancePath
    .split("/")
    .slice(1)
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
  const given = JSON.stringify(valueAt(root, at)) ?? "nothing";
  const problem = (text: string): Located[] => [{ at, message: text }];
  switch (keyword) {
    case "boolean": // Repeats additionalProperties.
      return [];
    case "additionalProperties":
      return (params["additionalProperties"] as string[]).map((name) => ({
        at: [...at, name],
        message: "is not a field of an Auction",
      }));
    case "required":
      return (params["requiredProperties"] as string[]).map((name) => ({
        at: [...at, name],
        message: "is required",
      }));
    case "enum":
      return problem(`must be ${list(params["allowedValues"])}, is ${short(given)}`);
    case "format":
      return problem(`${FORMATS[String(params["format"])] ?? message}, is ${short(given)}`);
    case "pattern":
      return problem(`must match ${String(params["pattern"])}, is ${short(given)}`);
    default:
      return problem(`${message}, is ${short(given)}`);
  }
}

const FORMATS: Readonly<Record<string, string>> = {
  "date-time": 'must be an instant like "2026-12-01T18:00:00Z"',
  duration: "must be a duration like 30s, 2m or 1h30m",
};

function list(values: unknown): string {
  return Array.isArray(values) ? values.map(String).join(" or ") : "one of the allowed values";
}

function short(text: string): string {
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

/** List elements with the same key. Kubernetes has list keys, JSON Schema has not. */
function duplicateProblems(schema: Type.TSchema, value: unknown, at: Segments): Located[] {
  if (Array.isArray(value) && "items" in schema) {
    const { items, ...rest } = schema as Type.TSchema & { items: Type.TSchema };
    const [key] = ((rest as Keyed)["x-kubernetes-list-map-keys"] ?? []) as [string?];
    const isSet = (rest as Keyed)["x-kubernetes-list-type"] === "set";
    const seen = new Set<unknown>();
    return value.flatMap((element: unknown, i) => {
      const here = [...at, String(i)];
      const inside = duplicateProblems(items, element, here);
      const id = key === undefined ? element : isRecord(element) ? element[key] : undefined;
      if ((key === undefined && !isSet) || id === undefined) return inside;
      if (!seen.has(id)) {
        seen.add(id);
        return inside;
      }
      const where = key === undefined ? here : [...here, key];
      return [...inside, { at: where, message: `${JSON.stringify(id)} stands here twice` }];
    });
  }
  if (isRecord(value) && "properties" in schema) {
    const { properties } = schema as Type.TSchema & { properties: Record<string, Type.TSchema> };
    return Object.entries(properties).flatMap(([name, property]) =>
      duplicateProblems(property, value[name], [...at, name]),
    );
  }
  return [];
}

type Keyed = Readonly<Record<string, unknown>>;

/** A rule is evaluated only if the fields that it reads are valid, so that it can rely on their types. */
function ruleProblems(rule: Rule, root: unknown, found: readonly Located[]): Located[] {
  const invalid = found.map(({ at }) => at);
  return placesOf(rule.path, root).flatMap((at) => {
    const reads = rule.reads?.map((name) => [...at, name]) ?? [at];
    if (reads.some((path) => invalid.some((other) => covers(path, other) || covers(other, path)))) {
      return [];
    }
    const self = valueAt(root, at);
    if (self === undefined || (rule.holds as (self: unknown) => boolean)(self)) return [];
    return [{ at: rule.field === undefined ? at : [...at, rule.field], message: rule.message }];
  });
}

/** `spec.lots[]` gives one place per lot. */
function placesOf(scope: string, root: unknown): Segments[] {
  const isEach = scope.endsWith("[]");
  const at = (isEach ? scope.slice(0, -2) : scope).split(".");
  if (!isEach) return [at];
  const elements = valueAt(root, at);
  return Array.isArray(elements) ? elements.map((_, i) => [...at, String(i)]) : [];
}

function covers(outer: Segments, inner: Segments): boolean {
  return outer.every((segment, i) => inner[i] === segment);
}

function valueAt(root: unknown, at: Segments): unknown {
  let value = root;
  for (const segment of at) {
    if (Array.isArray(value)) value = value[Number(segment)] as unknown;
    else if (isRecord(value)) value = value[segment];
    else return undefined;
  }
  return value;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function pathOf(at: Segments): string {
  const path = at.map((segment) => (/^\d+$/.test(segment) ? `[${segment}]` : `.${segment}`));
  return path.join("").replace(/^\./, "") || "(the document)";
}
