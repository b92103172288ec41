/** The Secrets that the operator writes. What they hold is in no environment, argument or annotation. */
import type { StoredAuction } from "../api/auction-resource.ts";
import { type StoreName, STORES } from "../api/components.ts";
import type { DesiredInputs } from "./inputs.ts";
import type { KubeObject } from "./kube-object.ts";
import { childName, keptMetadata } from "./identity.ts";

export const STORE_PORTS: Readonly<Record<StoreName, number>> = {
  redis: 6379,
  nats: 4222,
  postgres: 5432,
};

/** Of a Managed Postgres: the role and its database. */
export const DATABASE = "gavel";

export function isManaged(store: StoreName, { spec }: StoredAuction): boolean {
  return spec.backing[store].mode === "Managed";
}

/** Which key of which Secret has the URL of a store. */
export function urlSecretOf(store: StoreName, auction: StoredAuction) {
  const { mode, external } = auction.spec.backing[store];
  return mode === "External" && external !== undefined
    ? external.secretRef
    : { name: childName(auction, store), key: "uri" };
}

export function secretsOf(auction: StoredAuction, inputs: DesiredInputs): KubeObject[] {
  const { credentials, definition } = inputs;
  const secret = (
    suffix: string,
    part: Parameters<typeof keptMetadata>[2],
    texts: Readonly<Record<string, string>>,
  ): KubeObject => ({
    apiVersion: "v1",
    kind: "Secret",
    metadata: keptMetadata(auction, suffix, part),
    type: "Opaque",
    data: Object.fromEntries(Object.entries(texts).map(([key, text]) => [key, base64(text)])),
  });
  return [
    ...(definition === null
      ? []
      : [secret("rules", "archival", { "rules.json": JSON.stringify(definition) })]),
    ...(auction.spec.access.jwksUrl === undefined
      ? [secret("access", "auction", { secret: credentials.tokenSecret })]
      : []),
    secret("operator", "archival", { token: credentials.operatorToken }),
    ...STORES.filter((store) => isManaged(store, auction)).map((store) =>
      secret(store, store, storeSecret(store, auction, inputs)),
    ),
  ];
}

/** `uri` for the tiers; the rest is for the store's own pod. */
function storeSecret(
  store: StoreName,
  auction: StoredAuction,
  { credentials }: DesiredInputs,
): Record<string, string> {
  const host = `${childName(auction, store)}.${auction.metadata.namespace}:${STORE_PORTS[store]}`;
  const { redisPassword, natsPassword, postgresPassword } = credentials;
  switch (store) {
    case "redis":
      return {
        uri: `redis://:${encodeURIComponent(redisPassword)}@${host}`,
        "redis.conf": `requirepass ${quoted(redisPassword)}\n`,
        password: redisPassword,
      };
    case "nats":
      return {
        uri: `nats://gavel:${encodeURIComponent(natsPassword)}@${host}`,
        "nats.conf": `authorization { user: gavel, password: ${quoted(natsPassword)} }\n`,
        password: natsPassword,
      };
    case "postgres":
      return {
        uri: `postgres://${DATABASE}:${encodeURIComponent(postgresPassword)}@${host}/${DATABASE}`,
        password: postgresPassword,
      };
  }
}

/** As the configuration files of both Redis and NATS read it. */
function quoted(text: string): string {
  return `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}

function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}
