/** Generates the field reference of an Auction from the schema and rules of its CRD. Pure. */
import { API_VERSION, KIND, Spec } from "./auction-resource.ts";
import { AUCTION_RULES } from "./auction-rules.ts";
import { Status } from "./auction-status.ts";
import { CHANGE_RULES } from "./change-rules.ts";
import { TEXT_PATTERN } from "./field-schemas.ts";

interface Field {
  readonly type?: string;
  readonly format?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly properties?: Readonly<Record<string, Field>>;
  readonly required?: readonly string[];
  readonly items?: Field;
  readonly patternProperties?: Readonly<Record<string, Field>>;
  readonly anyOf?: readonly Field[];
}

/** The text of docs/auction.md. */
export function auctionReference(): string {
  return `# The fields of an Auction

\`make generate\` writes this page from \`operator/api/auction-resource.ts\` and its rules: change it there. The
\`apiVersion\` is \`${API_VERSION}\`, the \`kind\` is \`${KIND}\`. \`metadata.name\` has at most 40 characters, because
it is a prefix of other names. Fields that are not listed are refused. Amounts are integers in minor units.
A duration is text like \`30s\`, \`2m\` or \`1h30m\`. An instant is text like \`2026-12-01T18:00:00Z\`.

## spec

${tableOf(Spec as unknown as Field, "", true)}

## Rules between fields

The API server and \`make up\` refuse an Auction that breaks one of these rules.

${list(AUCTION_RULES.map(({ path, field, message }) => [[path, field].filter(Boolean).join("."), message]))}

## What may change

All other fields may change at any time. The right column is the phase from which the rule applies.

| field | rule | from |
|---|---|---|
${CHANGE_RULES.map(({ path, message, since }) => `| \`${short(path)}\` | ${message} | ${since} |`).join("\n")}

## status

The operator writes it.

${tableOf(Status as unknown as Field, "", false)}
`;
}

const short = (path: string) => path.replace(/^spec\./, "");

const list = (items: readonly (readonly [string, string])[]) =>
  items.map(([path, message]) => `- \`${short(path)}\`: ${message}`).join("\n");

function tableOf(schema: Field, prefix: string, withDefaults: boolean): string {
  const rows = rowsOf(schema, prefix);
  if (withDefaults) {
    const lines = rows.map(
      (row) => `| ${row.path} | ${row.type} | ${row.defaultText} | ${row.description} |`,
    );
    return ["| field | type | default | meaning |", "|---|---|---|---|", ...lines].join("\n");
  }
  const lines = rows.map(({ path, type, description }) => `| ${path} | ${type} | ${description} |`);
  return ["| field | type | meaning |", "|---|---|---|", ...lines].join("\n");
}

interface Row {
  readonly path: string;
  readonly type: string;
  readonly defaultText: string;
  readonly description: string;
}

function rowsOf(schema: Field, prefix: string): Row[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, field]) => {
    const path = `${prefix}${name}`;
    const row = {
      path: code(path),
      type: typeOf(field),
      defaultText: defaultOf(field, schema.required?.includes(name) ?? false),
      description: cell(field.description ?? ""),
    };
    return [row, ...rowsOf(field, `${path}.`), ...rowsOf(field.items ?? {}, `${path}[].`)];
  });
}

/** The default of an object is not shown: its fields show theirs. */
function defaultOf(field: Field, isRequired: boolean): string {
  if (field.default === undefined) return isRequired ? "required" : "";
  if (field.properties !== undefined) return "";
  return code(typeof field.default === "string" ? field.default : JSON.stringify(field.default));
}

function typeOf(field: Field): string {
  const { type, format, items, pattern, patternProperties } = field;
  const [values] = Object.values(patternProperties ?? {});
  if (field.enum !== undefined) return field.enum.map((word) => code(String(word))).join(", ");
  if (field.anyOf !== undefined) return "quantity";
  if (format === "date-time") return "instant";
  if (format === "duration") return "duration";
  if (type === "integer") return `integer${range(field.minimum, field.maximum)}`;
  if (values !== undefined) return `map to ${typeOf(values)}`;
  if (items !== undefined) {
    const counts = range(field.minItems, field.maxItems);
    return `list of ${items.properties === undefined ? typeOf(items) : "objects"}${counts}`;
  }
  if (type !== "string") return String(type);
  const most = field.maxLength === undefined ? "" : `, at most ${field.maxLength}`;
  return pattern === undefined || pattern === TEXT_PATTERN || pattern.length > 60
    ? `text${most}`
    : `text, ${code(pattern)}`;
}

function range(least: number | undefined, most: number | undefined): string {
  if (least === undefined && most === undefined) return "";
  const figure = (bound: number) => (bound === Number.MAX_SAFE_INTEGER ? "2^53−1" : String(bound));
  if (least === undefined) return `, at most ${figure(most!)}`;
  return most === undefined
    ? `, at least ${figure(least)}`
    : `, ${figure(least)} … ${figure(most)}`;
}

const code = (text: string) => `\`${cell(text)}\``;
const cell = (text: string) => text.replaceAll("|", "\\|").replaceAll("\n", " ");
