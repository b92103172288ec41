/**
 * The CustomResourceDefinition of an Auction, printed from its one schema and its rules. Pure. What the
 * API server has to be told in its own way is here: a structural schema, defaults, CEL, columns.
 */
import { stringify } from "yaml";
import { API_VERSION, AuctionResource, KIND } from "./auction-resource.ts";
import { AUCTION_RULES } from "./auction-rules.ts";
import { Status } from "./auction-status.ts";
import { AUCTION_KIND } from "./kind.ts";
import { CHANGE_RULES, changeCel } from "./change-rules.ts";

type Json = Readonly<Record<string, unknown>>;
/** A schema on its way into the CRD. */
type Structural = Record<string, unknown>;

const [GROUP, VERSION] = API_VERSION.split("/") as [string, string];

export const CRD_NAME = `${AUCTION_KIND.plural}.${GROUP}`;

const KEEP = "helm.sh/resource-policy";

const condition = (type: string, field: "status" | "reason") =>
  `.status.conditions[?(@.type=="${type}")].${field}`;

const COLUMNS = [
  { name: "Phase", type: "string", jsonPath: ".status.phase" },
  { name: "Ready", type: "string", jsonPath: condition("Ready", "status") },
  {
    name: "Lots",
    type: "string",
    description: "Sold lots of all.",
    jsonPath: ".status.lots.summary",
  },
  {
    name: "Bids",
    type: "integer",
    description: "Accepted bids, refreshed every 15 s at most.",
    jsonPath: ".status.activity.bidsAccepted",
  },
  {
    name: "Closes",
    type: "string", // A column of type date shows an instant to come as <invalid>.
    description: "When the last lot closes, extensions included.",
    jsonPath: ".status.schedule.effectiveClosesAt",
  },
  { name: "Archived", type: "string", jsonPath: condition("ArchiveCurrent", "status") },
  { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
  { name: "Endpoint", type: "string", jsonPath: ".status.endpoints.bids", priority: 1 },
  { name: "Degraded", type: "string", jsonPath: condition("Degraded", "status"), priority: 1 },
  { name: "Reason", type: "string", jsonPath: condition("Ready", "reason"), priority: 1 },
];

/** The object as `kubectl apply` takes it. */
export function crd(): Json {
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: {
      name: CRD_NAME,
      labels: { "app.kubernetes.io/part-of": "gavel" },
      annotations: { [KEEP]: "keep" },
    },
    spec: {
      group: GROUP,
      scope: "Namespaced",
      names: {
        kind: KIND,
        listKind: `${KIND}List`,
        plural: AUCTION_KIND.plural,
        singular: "auction",
        shortNames: ["auc"],
        categories: ["auction"],
      },
      conversion: { strategy: "None" },
      versions: [
        {
          name: VERSION,
          served: true,
          storage: true,
          subresources: { status: {} },
          selectableFields: [{ jsonPath: ".status.phase" }, { jsonPath: ".spec.profile" }],
          additionalPrinterColumns: COLUMNS,
          schema: { openAPIV3Schema: rootSchema() },
        },
      ],
    },
  };
}

function rootSchema(): Structural {
  const { properties } = AuctionResource;
  const root: Structural = {
    type: "object",
    description: "A live auction: its lots and rules, and the tiers that run it.",
    required: ["spec"],
    properties: {
      apiVersion: { type: "string" },
      kind: { type: "string" },
      // Of metadata a CRD may restrict the name, and nothing else.
      metadata: {
        type: "object",
        properties: { name: structural(properties.metadata.properties.name) },
      },
      spec: structural(properties.spec),
      status: structural(Status),
    },
  };
  for (const { path, field, rule, message } of AUCTION_RULES) {
    addRule(root, path, {
      rule,
      message,
      ...(field === undefined ? {} : { fieldPath: `.${field}` }),
    });
  }
  for (const each of CHANGE_RULES) {
    const fieldPath = `.${each.path}`;
    const { message } = each;
    addRule(root, "", { rule: changeCel(each), message, fieldPath, reason: "FieldValueForbidden" });
  }
  return root;
}

function addRule(root: Structural, path: string, rule: Json): void {
  let at = root;
  for (const segment of path.split(/\.|(?=\[\])/).filter((part) => part !== "")) {
    const below = segment === "[]" ? at["items"] : (at["properties"] as Structural)[segment];
    if (below === undefined) throw new Error(`a rule stands at ${path}, which is not a field`);
    at = below as Structural;
  }
  at["x-kubernetes-validations"] = [...((at["x-kubernetes-validations"] as Json[]) ?? []), rule];
}

/** Keywords that mean the same in a CRD, in the order in which they are printed. */
const KEPT = [
  "type",
  "format",
  "description",
  "default",
  "enum",
  "pattern",
  "minLength",
  "maxLength",
  "minimum",
  "maximum",
  "minItems",
  "maxItems",
  "minProperties",
  "maxProperties",
  "x-kubernetes-list-type",
  "x-kubernetes-list-map-keys",
];

const REWRITTEN = [
  "required",
  "properties",
  "items",
  "additionalProperties",
  "patternProperties",
  "anyOf",
  "x-kubernetes-int-or-string",
];

/** @throws Error at a keyword that a CRD would not understand, and silently drop or refuse */
function structural(given: object): Structural {
  const schema = given as Json;
  if ("anyOf" in schema) return intOrString(schema);
  const alien = Object.keys(schema).filter(
    (key) => !KEPT.includes(key) && !REWRITTEN.includes(key),
  );
  if (alien.length > 0) throw new Error(`a CRD has no ${alien.join(", ")}`);
  if (schema["type"] === undefined) throw new Error("a field of a CRD needs a type");
  const out: Structural = {};
  for (const key of KEPT) if (schema[key] !== undefined) out[key] = schema[key];

  const properties = schema["properties"] as Readonly<Record<string, Json>> | undefined;
  const records = Object.values((schema["patternProperties"] ?? {}) as Record<string, Json>);
  if (records[0] !== undefined) out["additionalProperties"] = structural(records[0]);
  if (properties !== undefined) {
    // What has a default is never missing; saying that it is required would ask it of people.
    const required = ((schema["required"] ?? []) as string[]).filter(
      (name) => !("default" in properties[name]!),
    );
    if (required.length > 0) out["required"] = required;
    out["properties"] = Object.fromEntries(
      Object.entries(properties).map(([name, property]) => [name, structural(property)]),
    );
  }
  if (schema["items"] !== undefined) out["items"] = structural(schema["items"] as Json);
  return out;
}

/** A quantity: the one union that a structural schema knows. What it says of its text moves up to it. */
function intOrString(schema: Json): Structural {
  const options = schema["anyOf"] as Json[];
  const text = options.find(({ type }) => type === "string");
  const types = options.map(({ type }) => ({ type }));
  if (text === undefined || schema["x-kubernetes-int-or-string"] !== true || types.length !== 2) {
    throw new Error("of unions, a CRD has int-or-string only");
  }
  const { pattern, maxLength } = text;
  return { anyOf: types, "x-kubernetes-int-or-string": true, pattern, maxLength };
}

const yamlOf = (value: unknown) => stringify(value, { lineWidth: 0, aliasDuplicateObjects: false });

const GENERATED = "# Generated by `npm run generate` from operator/api/auction-resource.ts.\n";

/** For `kubectl apply -f`, without Helm. */
export function crdYaml(): string {
  return GENERATED + yamlOf(crd());
}

/** The same as a template of the chart: it may be left out, and an uninstall leaves it unless told otherwise. */
export function crdTemplate(): string {
  const text = yamlOf(crd());
  if (text.includes("{{")) throw new Error("the CRD has text that Helm would take for its own");
  const annotations = /^ {2}annotations:\n {4}helm\.sh\/resource-policy: keep\n/m;
  if (!annotations.test(text)) throw new Error("the CRD has other annotations than the template");
  const conditional = text.replace(
    annotations,
    (lines) => `  {{- if .Values.crds.keep }}\n${lines}  {{- end }}\n`,
  );
  return `${GENERATED}{{- if .Values.crds.enabled }}\n${conditional}{{- end }}\n`;
}
