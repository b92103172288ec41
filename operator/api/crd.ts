/**
 * Generates the CustomResourceDefinition of an Auction from its schema and rules. Pure. Here the schema is
 * translated into the form that the API server needs: structural schema, defaults, CEL, printer columns.
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
    description: "Sold lots and all lots.",
    jsonPath: ".status.lots.summary",
  },
  {
    name: "Bids",
    type: "integer",
    description: "Number of accepted bids, updated every 15 s at most.",
    jsonPath: ".status.activity.bidsAccepted",
  },
  {
    name: "Closes",
    type: "string", // A column of type date shows a future instant as <invalid>.
    description: "When the last lot closes, including extensions.",
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
      // A CRD may restrict only the name in metadata.
      metadata: {
        type: "object",
        properties: { name: structural(properties.metadata.properties.name) },
      },
      spec: structural(properties.spec),
      status: structural(Status),
    },
  };
  for (const { path, field, rule, message, optionalOldSelf } of AUCTION_RULES) {
    addRule(root, path, {
      rule,
      message,
      ...(field === undefined ? {} : { fieldPath: `.${field}` }),
      ...(optionalOldSelf === undefined ? {} : { optionalOldSelf }),
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
    if (below === undefined) throw new Error(`the path of a rule is not a field: ${path}`);
    at = below as Structural;
  }
  at["x-kubernetes-validations"] = [...((at["x-kubernetes-validations"] as Json[]) ?? []), rule];
}

/** Keywords that a CRD has with the same meaning, in the order of output. */
const COPIED_KEYWORDS = [
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

const TRANSLATED_KEYWORDS = [
  "required",
  "properties",
  "items",
  "additionalProperties",
  "patternProperties",
  "anyOf",
  "x-kubernetes-int-or-string",
];

/** @throws Error at a keyword that a CRD does not have: the API server would drop or refuse it */
function structural(given: object): Structural {
  const schema = given as Json;
  if ("anyOf" in schema) return intOrString(schema);
  const unknownKeywords = Object.keys(schema).filter(
    (key) => !COPIED_KEYWORDS.includes(key) && !TRANSLATED_KEYWORDS.includes(key),
  );
  if (unknownKeywords.length > 0)
    throw new Error(`a CRD has no keyword ${unknownKeywords.join(", ")}`);
  if (schema["type"] === undefined) throw new Error("a field of a CRD needs a type");
  const out: Structural = {};
  for (const key of COPIED_KEYWORDS) if (schema[key] !== undefined) out[key] = schema[key];

  const properties = schema["properties"] as Readonly<Record<string, Json>> | undefined;
  const records = Object.values((schema["patternProperties"] ?? {}) as Record<string, Json>);
  if (records[0] !== undefined) out["additionalProperties"] = structural(records[0]);
  if (properties !== undefined) {
    // A field with a default is never missing, so it is not required of users.
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

/** A quantity, the only union of a structural schema. The constraints of its types move up to the union. */
function intOrString(schema: Json): Structural {
  const options = schema["anyOf"] as Json[];
  const text = options.find(({ type }) => type === "string");
  const integer = options.find(({ type }) => type === "integer");
  const types = options.map(({ type }) => ({ type }));
  if (text === undefined || schema["x-kubernetes-int-or-string"] !== true || types.length !== 2) {
    throw new Error("the only union in a CRD is int-or-string");
  }
  const { pattern, maxLength } = text;
  const minimum = integer?.["minimum"];
  return { anyOf: types, "x-kubernetes-int-or-string": true, minimum, pattern, maxLength };
}

const yamlOf = (value: unknown) => stringify(value, { lineWidth: 0, aliasDuplicateObjects: false });

const GENERATED = "# Generated by `npm run generate` from operator/api/auction-resource.ts.\n";

/** For `kubectl apply -f`, without Helm. */
export function crdYaml(): string {
  return GENERATED + yamlOf(crd());
}

/** The CRD as a template of the chart. Values decide whether it is installed and whether an uninstall keeps it. */
export function crdTemplate(): string {
  const text = yamlOf(crd());
  if (text.includes("{{")) throw new Error("the CRD contains {{, which Helm would interpret");
  const annotations = /^ {2}annotations:\n {4}helm\.sh\/resource-policy: keep\n/m;
  if (!annotations.test(text))
    throw new Error("the annotations of the CRD differ from those that the template expects");
  const conditional = text.replace(
    annotations,
    (lines) => `  {{- if .Values.crds.keep }}\n${lines}  {{- end }}\n`,
  );
  return `${GENERATED}{{- if .Values.crds.enabled }}\n${conditional}{{- end }}\n`;
}
