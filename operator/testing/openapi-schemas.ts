/**
 * JSON schemas for kubeconform, from the OpenAPI documents of a real API server: one file for each kind,
 * without additional properties, as in `kubectl apply`. Nothing is downloaded.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";

type Json = Record<string, unknown>;

interface Document {
  readonly components?: { readonly schemas?: Readonly<Record<string, Json>> };
}

interface GroupVersionKind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
}

/** kubeconform's `-schema-location`. */
export const schemaLocation = (folder: string): string =>
  join(folder, "{{.ResourceKind}}-{{.Group}}-{{.ResourceAPIVersion}}.json");

/**
 * @param get a path of the API server, as an administrator
 * @param paths of /openapi/v3, e.g. `apis/apps/v1`
 */
export async function writeSchemas(
  folder: string,
  get: (path: string) => Promise<unknown>,
  paths: readonly string[],
): Promise<void> {
  for (const path of paths) {
    const { components } = (await get(`/openapi/v3/${path}`)) as Document;
    const schemas = Object.fromEntries(
      Object.entries(components?.schemas ?? {}).map(([name, schema]) => [name, closed(schema)]),
    );
    for (const [name, schema] of Object.entries(schemas)) {
      const kinds = (schema["x-kubernetes-group-version-kind"] ?? []) as GroupVersionKind[];
      const [only, ...others] = kinds;
      if (only === undefined || others.length > 0) continue; // DeleteOptions and the like
      // kubeconform uses the version as the name of the core group.
      const file = `${only.kind.toLowerCase()}-${only.group || only.version}-${only.version}.json`;
      const text = JSON.stringify({
        $ref: `#/components/schemas/${name}`,
        components: { schemas },
      });
      writeFileSync(join(folder, file), text);
    }
  }
}

/** The schema with `additionalProperties: false` for every object that has properties. */
function closed(schema: unknown): Json {
  const walk = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(walk);
    if (typeof value !== "object" || value === null) return value;
    const fields = Object.fromEntries(
      Object.entries(value).map(([key, inner]) => [key, key === "default" ? inner : walk(inner)]),
    ) as Json;
    const isOpen =
      fields["additionalProperties"] !== undefined ||
      fields["x-kubernetes-preserve-unknown-fields"] === true;
    const hasFields = fields["type"] === "object" && typeof fields["properties"] === "object";
    return hasFields && !isOpen ? { ...fields, additionalProperties: false } : fields;
  };
  return walk(schema) as Json;
}
